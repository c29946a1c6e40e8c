"""What `inv up` refuses of what is set, mounted and kept, before anything starts."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.base import process
from letta_stack.base.process import Completed
from letta_stack.errors import BadSettings, OtherPostgres, WrongOwner
from letta_stack.topology import inputs
from letta_stack.topology.project import Project
from letta_stack.topology.runners.compose import Compose
from letta_stack.topology.runners.protocol import State

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = {"POSTGRES_IMAGE": "postgres:15"}


def server(**environment: str | None) -> dict[str, Any]:
    return {"services": {"letta-server": {"environment": environment}}}


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"LETTA_PG_HOST": "h", "LETTA_PG_USER": "u"}, "set LETTA_PG_DB, LETTA_PG_PASSWORD"),
        ({"CLICKHOUSE_ENDPOINT": "http://c:8123"}, "CLICKHOUSE_PASSWORD is not; set it"),
        ({"SIGNOZ_INGESTION_KEY": "k"}, "SIGNOZ_ENDPOINT is not; set it"),
        ({"LETTA_PG_URI": "mysql://u:p@h/d"}, "must begin with postgresql://"),
        ({"LETTA_SERVER_SECURE": "maybe"}, "must be true or false, not 'maybe'"),
        ({"LETTA_SERVER_SECURE": "may$$be"}, "must be true or false, not 'may$be'"),
        (
            {"LETTA_SERVER_PASSWORD": "p", "LETTA_SERVER_PASSWORD_FILE": "/f"},
            "both LETTA_SERVER_PASSWORD and LETTA_SERVER_PASSWORD_FILE are set",
        ),
    ],
)
def test_settings_that_are_half_given_or_contradict_are_refused_on_this_side(
    environment: dict[str, str], says: str
) -> None:
    with pytest.raises(BadSettings) as raised:
        inputs.settings(server(**environment))

    assert says in str(raised.value)
    assert str(raised.value).endswith("(in .env or the shell)")


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"LETTA_PG_HOST": "", "LETTA_PG_USER": None},
        {"LETTA_PG_URI": "postgresql://u:pa$$word@h/d"},
        {"LETTA_PG_URI_FILE": "/run/secrets/database-uri", "LETTA_PG_URI": ""},
        {
            "LETTA_PG_DB": "d",
            "LETTA_PG_USER": "u",
            "LETTA_PG_HOST": "h",
            "LETTA_PG_PORT_FILE": "/port",
            "LETTA_PG_PASSWORD_FILE": "/password",
        },
        {"LETTA_REDIS_PORT": "tcp://10.0.0.1:6379"},
    ],
)
def test_settings_that_the_container_takes_pass(environment: dict[str, str | None]) -> None:
    inputs.settings(server(**environment))
    inputs.settings({"services": {}})


def mounting(source: Path, *, user: str = "999:999", read_only: bool = False) -> dict[str, Any]:
    mount = {"type": "bind", "source": str(source), "target": "/data", "read_only": read_only}
    named = {"type": "volume", "source": "db", "target": "/other"}
    return {"services": {"letta-db": {"user": user, "volumes": [named, mount]}}}


def test_a_directory_of_another_owner_is_refused_where_it_is_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    mine = f"{tmp_path.stat().st_uid}:{tmp_path.stat().st_gid}"

    with pytest.raises(
        WrongOwner, match=r"letta-db runs as user 999 and cannot write to .* mode 755\); run `chown"
    ):
        inputs.bind_mounts(mounting(tmp_path))
    inputs.bind_mounts(mounting(tmp_path, user=mine))
    inputs.bind_mounts(mounting(tmp_path, read_only=True))
    tmp_path.chmod(0o777)
    inputs.bind_mounts(mounting(tmp_path))


def test_what_a_service_cannot_read_is_refused_as_well(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    file = tmp_path / "file"
    file.touch(0o600)
    try:
        for source in (tmp_path, file):
            with pytest.raises(WrongOwner, match=f"cannot read {source} "):
                inputs.bind_mounts(mounting(source, read_only=True))
        file.chmod(0o644)
        inputs.bind_mounts(mounting(file, read_only=True))
    finally:
        tmp_path.chmod(0o755)


@pytest.mark.parametrize(
    ("mode", "owner", "group", "writes", "lacking"),
    [
        (0o700, True, False, True, ""),
        (0o700, False, True, True, "write to"),
        (0o770, False, True, True, ""),
        (0o707, True, True, True, ""),
        (0o077, True, True, True, "write to"),
        (0o707, False, True, True, "write to"),
        (0o777, False, False, True, ""),
        (0o775, False, False, True, "write to"),
        (0o300, True, False, True, "read"),
        (0o600, True, False, True, "read"),
        (0o500, True, False, False, ""),
        (0o400, True, False, False, "read"),
    ],
)
def test_a_directory_is_used_by_owner_group_or_others_as_its_mode_says(
    mode: int, owner: bool, group: bool, writes: bool, lacking: str
) -> None:
    assert inputs._lacking(stat.S_IFDIR | mode, owner, group, writes=writes) == lacking  # noqa: SLF001


@pytest.mark.parametrize(("mode", "lacking"), [(0o400, ""), (0o100, "read")])
def test_a_file_needs_no_permission_to_enter(mode: int, lacking: str) -> None:
    assert inputs._lacking(stat.S_IFREG | mode, True, False, writes=False) == lacking  # noqa: FBT003, SLF001


def test_the_group_is_the_users_own_unless_it_is_given(tmp_path: Path) -> None:
    gid = tmp_path.stat().st_gid
    tmp_path.chmod(0o070)
    try:
        inputs.bind_mounts(mounting(tmp_path, user=f"77:{gid}"))
        with pytest.raises(WrongOwner, match=r"`chown -R 77:77 "):
            inputs.bind_mounts(mounting(tmp_path, user="77"))
    finally:
        tmp_path.chmod(0o755)


def test_what_the_engine_says_itself_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs.bind_mounts(mounting(tmp_path / "missing", read_only=True))
    inputs.settings({"services": {"letta-server": {"environment": None}}})
    inputs.bind_mounts({"services": {"a": {"user": "7"}, "b": {"user": "7", "volumes": None}}})

    def refuse(_: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(type(tmp_path), "stat", refuse)
    inputs.bind_mounts(mounting(tmp_path))


def test_a_directory_that_the_engine_would_make_for_root_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "missing"

    with pytest.raises(WrongOwner, match="which does not exist, and the engine would make it"):
        inputs.bind_mounts(mounting(missing))
    monkeypatch.setattr("sys.platform", "darwin")
    inputs.bind_mounts(mounting(missing))
    monkeypatch.undo()
    # Services that begin as root take what they need.
    inputs.bind_mounts(mounting(missing, user=""))


class Engine:
    """What the engine has: volumes, and what a look into one says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
        self.commands: list[list[str]] = []
        self.states: list[State] = []
        self.volumes = ["mine_db", "mine_letta"]
        self.answer = answer
        monkeypatch.setattr(process, "probe", self.probe)
        monkeypatch.setattr(Compose, "states", lambda _: self.states)

    def probe(self, command: list[str]) -> Completed:
        if command[:3] == ["docker", "volume", "inspect"]:
            return Completed(0 if command[3] in self.volumes else 1, "", "")
        self.commands.append(command)
        return Completed(0, self.answer, "")


def keeping(kind: str = "volume", source: str = "db") -> dict[str, Any]:
    mounts = [{"type": kind, "source": source, "target": "/var/lib/postgresql/data"}]
    return {
        "services": {"letta-db": {"volumes": mounts}, "letta-server": {"image": "server"}},
        "volumes": {"db": {"name": "mine_db"}},
    }


PROD = Project.of("prod", project="mine")
OLD = "14\npostgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"


def test_data_of_another_major_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    Engine(monkeypatch, OLD)

    with pytest.raises(OtherPostgres) as raised:
        inputs.data_directory(PROD, keeping(), IMAGE)

    assert str(raised.value).startswith(
        "mine_db has the data of PostgreSQL 14, and postgres:15 is PostgreSQL 15, which cannot read them"
    )
    assert "`inv upgrade --env prod --project mine`" in str(raised.value)


def test_data_in_a_directory_of_this_machine_count_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(monkeypatch, OLD)

    with pytest.raises(OtherPostgres, match="/srv/pgdata has the data of PostgreSQL 14"):
        inputs.data_directory(PROD, keeping("bind", "/srv/pgdata"), IMAGE)
    assert "--volume=/srv/pgdata:/data:ro" in engine.commands[0]
    assert engine.commands[0][-1] == "/data"


def test_other_mounts_and_containers_that_have_ended_are_no_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Engine(monkeypatch, OLD)
    engine.states = [
        State("letta-db", "mine-letta-db-1", "exited", "", 0),
        State("letta-server", "mine-letta-server-1", "running", "healthy", 0),
    ]
    config = keeping()
    (data,) = config["services"]["letta-db"]["volumes"]
    other = {"type": "volume", "source": "x", "target": "/x"}

    config["services"]["letta-db"]["volumes"] = [other]
    inputs.data_directory(PROD, config, IMAGE)
    config["services"]["letta-db"]["volumes"] = None
    inputs.data_directory(PROD, config, IMAGE)
    assert engine.commands == []
    config["services"]["letta-db"]["volumes"] = [other, data]
    with pytest.raises(OtherPostgres):
        inputs.data_directory(PROD, config, IMAGE)


def test_a_project_without_server_and_database_has_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(monkeypatch, OLD)

    inputs.data_directory(PROD, {"services": {}}, {})

    assert engine.commands == []


def test_the_embedded_database_is_looked_at_in_the_servers_volume(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Engine(monkeypatch, OLD)
    mounts = [{"type": "volume", "source": "letta", "target": "/var/lib/letta"}]
    config = {
        "services": {"letta-server": {"image": "letta:1", "volumes": mounts}},
        "volumes": {"letta": {"name": "mine_letta"}},
    }

    with pytest.raises(OtherPostgres, match="mine_letta has the data of PostgreSQL 14"):
        inputs.data_directory(Project.of("single", project="mine"), config, {})
    (command,) = engine.commands
    assert command == [
        *("docker", "run", "--rm", "--network=none", "--pull=never", "--user=0", "--entrypoint=sh"),
        *("--volume=mine_letta:/data:ro", "letta:1", "-c", inputs.VERSIONS),
        *("sh", "/data/postgres"),
    ]


@pytest.mark.parametrize(
    "answer",
    ["15\npostgres (PostgreSQL) 15.14\n", "none\npostgres (PostgreSQL) 15.14\n", ""],
    ids=["the same", "empty", "no answer"],
)
def test_other_data_pass(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    Engine(monkeypatch, answer)

    inputs.data_directory(PROD, keeping(), IMAGE)


def test_nobody_looks_without_a_volume_or_into_a_database_that_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Engine(monkeypatch, OLD)
    engine.volumes = []
    inputs.data_directory(PROD, keeping(), IMAGE)
    engine.volumes = ["mine_db"]
    engine.states = [State("letta-db", "mine-letta-db-1", "running", "healthy", 0)]
    engine.answer = IMAGE["POSTGRES_IMAGE"] + "\n"
    inputs.data_directory(PROD, keeping(), IMAGE)

    assert [command[1] for command in engine.commands] == ["inspect"]


def test_a_database_that_runs_with_another_image_is_looked_into(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Engine(monkeypatch, OLD)
    engine.states = [State("letta-db", "mine-letta-db-1", "running", "healthy", 0)]

    with pytest.raises(OtherPostgres):
        inputs.data_directory(PROD, keeping(), IMAGE)

    assert [command[1] for command in engine.commands] == ["inspect", "run"]
