"""What `inv adopt` finds under a name, what it refuses, and what has to be there afterwards."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.base import process
from letta_stack.base.process import Completed
from letta_stack.errors import (
    AdoptFailed,
    BackupNoRoom,
    BadValue,
    SourceForeign,
    SourceInUse,
    SourceKeyMissing,
    SourceNewer,
    SourceOlder,
    SourceUnknown,
    WrongOwner,
)
from letta_stack.operate import plan, secrets_bundle
from letta_stack.operate.adopt import (
    copied,
    examine,
    facts,
    load,
    place,
    run,
    sealing,
    source,
    switch,
)
from letta_stack.operate.adopt.copied import Looks
from letta_stack.operate.adopt.facts import Facts
from letta_stack.operate.adopt.place import Place
from letta_stack.operate.adopt.sealing import Values
from letta_stack.operate.adopt.source import Source
from letta_stack.operate.postgres import Postgres
from letta_stack.operate.tables import Table
from letta_stack.topology.project import Project

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

DATA = "/var/lib/postgresql/data"
READER = Postgres("there", "letta", "letta", "letta")
LOOKS = Looks("/source", 15, 15, 1024, 10 * 1024**2, 0, 0)
FACTS = Facts(15, "15.4", "0.5.1", 1000, "b", "mine", "letta", {"agents": 2, "messages": 9})


def container(
    name: str, *mounts: tuple[str, str, str], running: bool = True, **variables: str
) -> dict[str, Any]:
    """Write what the engine says of a container; a mount is type, source and destination."""
    return {
        "Id": name,
        "Name": f"/{name}",
        "Image": f"image-of-{name}",
        "State": {"Running": running},
        "Config": {
            "Env": [f"{key}={value}" for key, value in variables.items()],
            "Labels": {"com.docker.compose.project": "letta"},
            "ExposedPorts": {"8283/tcp": {}} if "server" in name else None,
        },
        "Mounts": [
            {"Type": kind, "Name": one, "Source": one, "Destination": where}
            for kind, one, where in mounts
        ],
    }


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what gives the engine containers and volumes."""

    def has(*containers: dict[str, Any], volumes: Sequence[str] = ()) -> None:
        by_name = {one["Id"]: one for one in containers}

        def probe(argv: list[str], **_: Any) -> Completed:
            kind, name = argv[1], argv[3]
            found = by_name if kind == "container" else {one: {"Name": one} for one in volumes}
            known = name in found
            return Completed(0 if known else 1, json.dumps([found[name]]) if known else "[]", "")

        monkeypatch.setattr(process, "probe", probe)
        monkeypatch.setattr(process, "capture", lambda *_, **__: " ".join(by_name))

    return has


def test_upstreams_single_container_has_data_and_key(engine: Callable[..., None]) -> None:
    engine(container("letta-server", ("volume", "abc", DATA), LETTA_ENCRYPTION_KEY="k", TZ="UTC"))

    found = place.find("letta-server")

    assert found.container == "letta-server"
    assert (found.mount, found.image, found.key) == ("abc", "image-of-letta-server", "k")
    assert found.environment["TZ"] == "UTC"
    assert "k" not in repr(found).split("key")[0]


def test_a_stopped_container_leads_to_its_data(engine: Callable[..., None]) -> None:
    engine(container("letta-server", ("bind", "/srv/data", DATA), running=False))

    found = place.find("letta-server")

    assert (found.container, found.mount, found.key) == ("", "/srv/data", "")
    assert "stopped" in found.what


@pytest.mark.parametrize("named", ["letta_server", "letta_db"])
def test_upstreams_compose_is_found_by_either_container(
    engine: Callable[..., None], named: str
) -> None:
    # The server's image has an anonymous volume at the same place, in which nothing ever is.
    engine(
        container(
            "letta_server",
            ("volume", "anonymous", DATA),
            LETTA_PG_URI="postgresql://letta-db",
            LETTA_ENCRYPTION_KEY="k",
        ),
        container("letta_db", ("bind", "/srv/.persist/pgdata", DATA)),
    )

    found = place.find(named)

    assert (found.container, found.mount, found.key) == ("letta_db", "/srv/.persist/pgdata", "k")


def test_a_database_without_its_server_leaves_the_key_open(engine: Callable[..., None]) -> None:
    engine(container("db", ("volume", "data", DATA)))

    assert place.find("db").key is None


def test_the_key_of_our_own_container_is_on_its_volume(
    engine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(container("our-server", ("volume", "letta", "/var/lib/letta")))
    own = secrets_bundle.Secrets("generated", {}, {})
    monkeypatch.setattr(secrets_bundle, "collect", lambda _: own)

    assert place.find("our-server").key == "generated"


def test_a_volume_a_directory_and_a_uri_are_told_apart(
    engine: Callable[..., None], tmp_path: Path
) -> None:
    engine(volumes=["data"])

    assert place.find("data").mount == "data"
    assert place.find(str(tmp_path)).mount == str(tmp_path)
    uri = place.find("postgresql://u:secret@h/d")
    assert uri.uri == "postgresql://u:secret@h/d"
    assert "secret" not in repr(uri)


@pytest.mark.parametrize("text", ["nothing", "/no/such/directory"])
def test_a_name_of_nothing_is_refused(engine: Callable[..., None], text: str) -> None:
    engine()

    with pytest.raises(SourceUnknown, match="no container, volume or directory"):
        place.find(text)


def test_a_container_without_a_database_is_refused(engine: Callable[..., None]) -> None:
    engine(container("letta-server", LETTA_PG_URI="postgresql://elsewhere"))

    with pytest.raises(SourceUnknown, match="name the PostgreSQL itself"):
        place.find("letta-server")


def test_no_name_at_all_is_a_bad_value() -> None:
    with pytest.raises(BadValue, match="--from"):
        place.find("")


def test_a_look_is_read() -> None:
    text = "/source/pgdata\n15\n15\n1024\n2048\n2\n77\n"

    assert Looks.parse(text) == Looks("/source/pgdata", 15, 15, 1024, 2048, 2, 77)


@pytest.mark.parametrize(
    ("code", "error", "says"),
    [
        (3, SourceForeign, "no PG_VERSION"),
        (4, WrongOwner, "as its owner"),
        (1, SourceUnknown, "oh"),
    ],
)
def test_a_directory_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, code: int, error: type[Exception], says: str
) -> None:
    monkeypatch.setattr(process, "probe", lambda _: Completed(code, "", "oh"))

    with pytest.raises(error, match=says):
        copied.look("/srv/data", "image")


@pytest.fixture
def unused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no container have anything mounted."""
    monkeypatch.setattr(process, "capture", lambda *_, **__: "")


@pytest.mark.parametrize(
    ("found", "error", "says"),
    [
        (replace(LOOKS, links=1), SourceForeign, "tablespaces"),
        (replace(LOOKS, free_kib=2048), BackupNoRoom, "2 MiB free, and a copy of data needs 513"),
    ],
)
@pytest.mark.usefixtures("unused")
def test_what_cannot_be_copied_is_refused(found: Looks, error: type[Exception], says: str) -> None:
    copied.refuse("data", LOOKS)

    with pytest.raises(error, match=says):
        copied.refuse("data", found)


def test_a_directory_that_a_container_writes_to_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = [{"Source": "/srv/data", "RW": True}, {"Source": "/", "RW": True}]

    def capture(argv: Sequence[str]) -> str:
        return "" if any("filter" in one for one in argv) else "db\n"

    monkeypatch.setattr(process, "capture", capture)
    answer = json.dumps([{"Name": "/db", "Mounts": mounts}])
    monkeypatch.setattr(process, "probe", lambda _: Completed(0, answer, ""))

    for mount in ("/srv/data", "/srv/data/pgdata", "/srv"):
        with pytest.raises(SourceInUse, match="the container db"):
            copied.refuse(mount, LOOKS)
    copied.refuse("/srv/other", LOOKS)


@pytest.mark.usefixtures("unused")
def test_a_directory_that_a_process_works_in_is_in_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "77").mkdir()
    (tmp_path / "77" / "cwd").symlink_to(tmp_path / "data")
    monkeypatch.setattr(copied, "PROCESSES", tmp_path)

    with pytest.raises(SourceInUse, match="the process 77"):
        copied.refuse(str(tmp_path / "data"), replace(LOOKS, pid=77))
    copied.refuse(str(tmp_path / "data"), replace(LOOKS, pid=78))
    copied.refuse(str(tmp_path / "other"), replace(LOOKS, pid=77))


def test_data_of_another_major_want_an_image_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copied, "look", lambda *_: replace(LOOKS, major=17))

    with (
        pytest.raises(SourceNewer, match="--postgres-image"),
        source.opened(Place("the volume x", mount="x"), database="", image="ours"),
    ):
        pass


@pytest.mark.parametrize(
    ("databases", "wanted", "error", "says"),
    [
        ({"postgres": 0, "app": 0}, "", SourceForeign, "none of postgres, app is"),
        ({"one": 2, "two": 2}, "", SourceForeign, "--database"),
        ({"one": 2}, "two", SourceForeign, "there is no database 'two'"),
        ({"one": 2, "app": 1}, "app", SourceForeign, "none of app is"),
    ],
)
def test_what_is_no_database_of_a_letta_server_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    databases: dict[str, int],
    wanted: str,
    error: type[Exception],
    says: str,
) -> None:
    answer(monkeypatch, databases)

    with pytest.raises(error, match=says):
        source.chosen(READER, wanted)


@pytest.mark.parametrize(("there", "refused"), [("150004", False), ("170002", True)])
def test_a_server_that_our_clients_do_not_dump_is_refused(
    monkeypatch: pytest.MonkeyPatch, *, there: str, refused: bool
) -> None:
    monkeypatch.setattr(Postgres, "value", lambda *_: there)
    monkeypatch.setattr(process, "capture", lambda _: "pg_dump (PostgreSQL) 15.4 (Debian 15.4-2)")

    with pytest.raises(SourceNewer) if refused else contextlib.nullcontext():
        source.refuse_newer(READER)


def answer(monkeypatch: pytest.MonkeyPatch, databases: dict[str, int]) -> None:
    """Let a PostgreSQL have these databases, each with so many of the tables that it takes."""
    monkeypatch.setattr(Postgres, "query", lambda *_, **__: [[name] for name in databases])

    def value(_: Postgres, sql: str, *, database: str = "") -> str:
        return "somebody" if sql == source.OWNER else str(databases[database])

    monkeypatch.setattr(Postgres, "value", value)


def test_the_one_database_of_a_letta_server_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, {"app": 0, "mine": 2})

    assert source.chosen(READER, "") == replace(READER, name="mine", owner="somebody")


@pytest.mark.parametrize(
    ("values", "key", "expected"),
    [
        (Values(0, 0, 0), None, ""),
        (Values(3, 0, 0), None, ""),
        (Values(3, 0, 0), "k", "k"),
        (Values(3, 2, 1), "k", "k"),
        (Values(3, 2, 0), "", ""),
    ],
)
def test_the_key_of_the_values(values: Values, key: str | None, expected: str) -> None:
    assert sealing.decide(values, key) == expected


@pytest.mark.parametrize(
    ("values", "key", "says"),
    [(Values(3, 2, 0), None, "2 values"), (Values(3, 2, 0), "k", "any of 2")],
)
def test_values_without_their_key_are_refused(values: Values, key: str | None, says: str) -> None:
    with pytest.raises(SourceKeyMissing, match=says):
        sealing.decide(values, key)


def test_only_what_was_encrypted_anew_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    rows = [("providers", "api_key_enc", "a'b", "old"), ("providers", "api_key_enc", "c", "lost")]
    monkeypatch.setattr(sealing, "cells", lambda *_: rows)
    monkeypatch.setattr(sealing, "run", lambda *_: ["new", None])
    monkeypatch.setattr(Postgres, "query", lambda _, sql, **__: written.append(sql))

    assert sealing.renew(READER, "fresh", key="k", new="n", image="i") == (2, 1)
    assert written == [
        "BEGIN;\nUPDATE public.\"providers\" SET \"api_key_enc\" = 'new' WHERE id = 'a''b';\nCOMMIT;\n"
    ]


def test_a_table_that_was_restored_to_something_else_is_refused() -> None:
    load.compare({"letta.agents": Table(1, "a")}, {"letta.agents": Table(1, "a")})

    with pytest.raises(AdoptFailed, match="agents has 0 rows instead of 1"):
        load.compare({"letta.agents": Table(1, "a")}, {"letta.agents": Table(0, "a")})


def test_tables_in_two_schemas_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Postgres, "query", lambda *_: [["letta"], ["public"]])

    with pytest.raises(SourceForeign, match="letta, public"):
        facts.of(READER)


@pytest.mark.parametrize(
    ("revision", "error"), [("", SourceOlder), ("ffff", SourceNewer)], ids=["none", "unknown"]
)
def test_a_schema_that_this_server_does_not_know_is_refused(
    monkeypatch: pytest.MonkeyPatch, revision: str, error: type[Exception]
) -> None:
    monkeypatch.setattr(facts, "of", lambda _: replace(FACTS, revision=revision))
    monkeypatch.setattr(plan, "migrations_of", lambda _: [["a", "", ""], ["b", "a", ""]])

    with pytest.raises(error):
        examine.look(Source(Place("x"), READER, live=False), examine.Order("x"), "image")


def test_the_key_in_a_file_goes_before_that_of_the_container(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("mine\n")
    monkeypatch.setattr(facts, "of", lambda _: replace(FACTS, revision="a"))
    monkeypatch.setattr(plan, "migrations_of", lambda _: [["a", "", ""], ["b", "a", ""]])
    monkeypatch.setattr(sealing, "cells", lambda *_: [])

    order = examine.Order("x", key_file=str(tmp_path / "key"))
    found = examine.look(Source(Place("x", key="its"), READER, live=False), order, "image")

    assert (found.key, found.steps) == ("mine", ("b",))
    with pytest.raises(BadValue, match="--key-file"):
        examine.read_key(str(tmp_path / "none"))


def test_the_report_names_settings_that_are_not_here_and_no_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ["OPENAI_API_KEY", "GROQ_API_KEY", "LETTA_PG_URI", "LETTA_ENCRYPTION_KEY"]
    monkeypatch.setattr(examine, "settable", lambda _: names)
    project = Project.of("single").with_variables({"GROQ_API_KEY": "there"})
    environment = dict.fromkeys([*names, "PATH"], "sk-old")
    where = Place("the container x", key="k-old", environment=environment)
    found = examine.Found(Source(where, READER, live=True), FACTS, "k-old", ("b", "c"))

    lines = examine.report(project, found, new=False)

    assert lines == [
        "source      the container x; it works on, so stop its server first if nothing may be lost",
        "PostgreSQL  15.4, pgvector 0.5.1, 1000 B in schema letta",
        "revision    b, 2 migrations behind this server",
        "rows        2 agents, 9 messages",
        "providers   mine",
        "key         there is one",
        "settings    set for the old server and not here (.env): OPENAI_API_KEY",
        "target      letta-stack-single is backed up, then its data are replaced",
    ]


def test_a_project_does_not_take_itself_over(engine: Callable[..., None]) -> None:
    engine(container("db"))

    with pytest.raises(BadValue, match="names letta itself"):
        run.refuse_own(Project.of("single", project="letta"), Place("x", container="db"))


@pytest.mark.parametrize(
    ("now", "served", "says"),
    [
        ({"agents": 2, "messages": 8}, 2, "'messages': 8"),
        ({"agents": 2, "messages": 9}, 1, "serves 1 agents, and the database has 2"),
    ],
)
def test_rows_or_agents_that_are_missing_afterwards_are_noticed(
    monkeypatch: pytest.MonkeyPatch, now: dict[str, int], served: int, says: str
) -> None:
    monkeypatch.setattr(facts, "counts", lambda *_: now)
    monkeypatch.setattr(Postgres, "value", lambda *_: "2")
    monkeypatch.setattr(switch, "agents", lambda _: served)

    with pytest.raises(AdoptFailed, match=says):
        switch.prove(READER, "server", {"agents": 2, "messages": 9})


def test_a_table_that_a_migration_renamed_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "counts", lambda *_: {"agents": 2})
    monkeypatch.setattr(Postgres, "value", lambda *_: "2")
    monkeypatch.setattr(switch, "agents", lambda _: 2)

    switch.prove(READER, "server", {"agents": 2, "agent_passages": 5})
