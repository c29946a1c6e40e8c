"""What a backup and a restore ask of a swarm."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.base import process
from letta_stack.base.process import Completed
from letta_stack.errors import BackupForeign, CommandFailed, HostUnreachable
from letta_stack.operate import secrets_bundle
from letta_stack.operate.holders import choose
from letta_stack.operate.holders.in_swarm import InSwarm
from letta_stack.topology.clustered import Clustered

if TYPE_CHECKING:
    from collections.abc import Sequence

STACK = "letta-stack-swarm"
CLUSTER = Clustered.of("swarm")
MINE = InSwarm(CLUSTER)
ELSEWHERE = ("docker", "--context", "b")


@dataclass
class Engines:
    """Servers here, the database on a host that a context leads to."""

    contexts: tuple[str, ...] = ("b",)
    servers: int = 2
    known: str = "/opt/letta/alembic/versions/x.py\n"
    commands: list[list[str]] = field(default_factory=list)

    def capture(self, argv: Sequence[str], **_: Any) -> str:
        ended = self.probe(argv)
        if not ended.ok:
            raise CommandFailed(argv, ended.exit_code, ended.stderr)
        return ended.stdout

    def probe(self, argv: Sequence[str], **_: Any) -> Completed:  # noqa: PLR0911 - one for each question
        self.commands.append(list(argv))
        match list(argv[1:]):
            case ["ps", "--quiet", label]:
                return said("server" if label.endswith("_letta-server") else "")
            case ["stack", "ps", *_]:
                return said("\n".join(map(json.dumps, self._rows())))
            case ["stack", "services", *_]:
                return said(f"{STACK}_letta-server")
            case ["service", "inspect", *_]:
                mode = {"Replicated": {"Replicas": self.servers}}
                spec = {"Name": f"{STACK}_letta-server", "Mode": mode, "TaskTemplate": {}}
                return said(json.dumps([{"Spec": spec}]))
            case ["service", "scale", _, scaled]:
                self.servers = int(scaled.partition("=")[2])
            case ["context", "inspect", name]:
                return Completed(0 if name in self.contexts else 1, "", "")
            case [*_, "container", "inspect", "--format={{json .}}", _]:
                variables = [
                    "OPENAI_API_KEY=sk-1",
                    "LETTA_ENCRYPTION_KEY_FILE=/run/secrets/key",
                    "A=b",
                ]
                return said(json.dumps({"Config": {"Env": variables}}))
            case [*_, "container", "inspect", _, container]:
                return said(f"image-of-{container.partition('.')[0]} 0.16.8\n")
            case [*_, "grep", _, pattern, _]:
                return said(self.known if "abc" in pattern else "")
            case [*_, "sh", "-c", _]:
                return said("postgres\nletta\n")
            case [*_, "--dbname=letta"]:
                return said("owner\n")
            case _:
                pass
        return said("")

    def _rows(self) -> list[dict[str, str]]:
        usual = {
            "Image": "x",
            "Error": "",
            "DesiredState": "Running",
            "CurrentState": "Running now",
        }
        return [
            *(
                usual | {"ID": str(slot), "Name": f"{STACK}_letta-server.{slot}", "Node": "a"}
                for slot in range(self.servers)
            ),
            usual | {"ID": "9", "Name": f"{STACK}_letta-db.1", "Node": "b"},
        ]


def said(text: str) -> Completed:
    return Completed(0, text, "")


@pytest.fixture(autouse=True)
def engines(monkeypatch: pytest.MonkeyPatch) -> Engines:
    found = Engines()
    for name in ("capture", "probe"):
        monkeypatch.setattr(process, name, getattr(found, name))
    monkeypatch.setattr(process, "run", lambda argv: found.capture(argv) and None)
    return found


def test_a_stack_on_a_swarm_has_its_own_holder() -> None:
    assert choose.of(CLUSTER) == MINE


def test_the_database_is_asked_on_the_host_where_it_runs(engines: Engines) -> None:
    found = MINE.postgres()

    assert (found.container, found.superuser, found.name, found.owner) == (
        f"{STACK}_letta-db.1.9",
        "postgres",
        "letta",
        "owner",
    )
    assert found.argv("psql")[:6] == [*ELSEWHERE, "exec", "--user", "postgres"]
    engines.contexts = ()
    with pytest.raises(HostUnreachable, match="docker context create b"):
        MINE.postgres()


def test_the_secrets_are_those_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    key = base64.b64encode(b"opens\n").decode()
    asked: list[list[str]] = []

    def archived(command: list[str]) -> dict[str, str]:
        asked.append(command)
        return {"run/secrets/key": key}

    monkeypatch.setattr(secrets_bundle, "archived", archived)

    found = MINE.secrets()

    assert found.encryption_key == "opens"
    assert found.environment == {
        "OPENAI_API_KEY": "sk-1",
        "LETTA_ENCRYPTION_KEY_FILE": "/run/secrets/key",
    }
    assert asked[0][:3] == ["docker", "exec", "server"]


def test_a_backup_says_which_images_it_comes_from() -> None:
    found = MINE.origin(MINE.postgres())

    assert (found["server_image"], found["letta_version"]) == ("image-of-server", "0.16.8")
    assert found["database_image"] == f"image-of-{STACK}_letta-db"
    assert (found["project"], found["topology"]) == (STACK, "swarm")


def test_a_server_that_runs_knows_its_migrations() -> None:
    assert MINE.knows("abc")
    assert not MINE.knows("def")


def test_servers_are_gone_for_the_block_and_the_migration_runs_before_they_are_back(
    engines: Engines,
) -> None:
    with MINE.stopped(MINE.postgres()):
        assert engines.servers == 0

    assert engines.servers == 2
    done = [" ".join(one) for one in engines.commands]
    migrated = f"docker service update --force --detach=true {STACK}_letta-migrate"
    assert done.index(migrated) < done.index(
        f"docker service scale --detach=true {STACK}_letta-server=2"
    )


def test_a_key_that_is_a_secret_of_the_swarm_is_not_replaced() -> None:
    with pytest.raises(BackupForeign, match=rf"\.secrets/{STACK}/encryption-key"):
        MINE.install_key("other")
