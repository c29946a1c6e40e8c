"""Who is refused, what is counted, and what the command ends with; on a stack that answers at once."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.errors import BadValue, CommandFailed, FaultsFailed, FaultsRefused
from letta_stack.operate import postgres
from letta_stack.operate.faults import audit, catalogue, load, report, run, starts, workload
from letta_stack.operate.faults.client import Answer, Client
from letta_stack.operate.faults.model import Expect, Fault
from letta_stack.operate.faults.run import Order
from letta_stack.secrets import kinds, store
from letta_stack.topology.catalogue import find
from tests.support import fake_engine
from tests.support.fake_engine import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from letta_stack.operate.faults.scene import Scene
    from letta_stack.operate.faults.stack import Stack

SERVER = "stack-letta-server-1"
INSPECTED = {
    "Name": f"/{SERVER}",
    "Config": {"Image": "me/letta:1"},
    "Created": "2026-01-01T00:00:00.123Z",
    "State": {"Status": "running", "Health": {"Status": "healthy"}},
    "NetworkSettings": {"Networks": {"edge": {"IPAddress": "10.0.0.1"}}},
}


def answers(environment: str) -> dict[str, str]:
    return {
        "Config.Env": json.dumps([f"LETTA_ENVIRONMENT={environment}", "HOME=/"]),
        f"inspect {SERVER}": json.dumps([INSPECTED]),
        "8443/tcp": "",
        "8080/tcp": "127.0.0.1:8283\n",
        "printf": "postgres\nletta\n",
    }


class Staged:
    """A client whose messages are stored at once, except for those that ``loses`` says."""

    def __init__(self) -> None:
        self.rows: list[list[str]] = []
        self.loses: Callable[[int], bool] = lambda _: False
        self.called: list[str] = []

    def read(self, _trace: str) -> Answer:
        return Answer(200, "[]", done=True)

    def message(self, _agent: str, text: str, _trace: str) -> Answer:
        if not self.loses(len(self.rows)):
            self.rows += [[role, text.split(maxsplit=1)[0]] for role in ("user", "assistant")]
        return Answer(200, "", done=True)

    def call(self, method: str, path: str, _body: Any = None) -> Any:
        self.called.append(f"{method} {path}")
        return [{"id": "old-1"}] if method == "GET" else {"id": f"agent-{len(self.called)}"}


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return a running `prod` with a password."""
    monkeypatch.setattr(store, "SECRETS", tmp_path)
    (tmp_path / fake_engine.PROJECT).mkdir()
    (tmp_path / fake_engine.PROJECT / kinds.SERVER).write_text("a-password-of-the-stack\n")
    return fake_engine.project(topology=find("prod"), flags="--env prod", expected={})


@pytest.fixture
def staged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Staged:
    found = Staged()
    monkeypatch.setattr(Client, "read", found.read)
    for name in ("message", "stream"):
        monkeypatch.setattr(Client, name, found.message)
    monkeypatch.setattr(Client, "call", found.call)
    monkeypatch.setattr(Client, "answers", lambda _: True)
    monkeypatch.setattr(postgres.Postgres, "query", lambda *_, **__: found.rows)
    monkeypatch.setattr(audit, "traces", lambda *_: None)
    for name, value in (("BEFORE_SECONDS", 0.05), ("AFTER_SECONDS", 0.0), ("LOOK_SECONDS", 0.01)):
        monkeypatch.setattr(run, name, value)
    monkeypatch.setattr(load, "PAUSE_SECONDS", 0.01)
    short = tuple(dataclasses.replace(one, seconds=0.05) for one in catalogue.FAULTS)
    monkeypatch.setattr(catalogue, "FAULTS", short)
    monkeypatch.setattr(report, "REPORTS", tmp_path)
    monkeypatch.setattr(report, "LOG", tmp_path / "faults.log")
    return found


@contextlib.contextmanager
def nothing(_: Scene) -> Iterator[None]:
    yield


def impossible(_: Scene) -> contextlib.AbstractContextManager[None]:
    raise CommandFailed(["docker", "kill"], 1, "no such container")


def stack_of(project: Any, monkeypatch: pytest.MonkeyPatch, environment: str = "staging") -> Stack:
    FakeEngine(answers(environment)).install(monkeypatch)
    return run.of(project)


def test_a_running_project_is_found_with_its_address_and_image(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = stack_of(project, monkeypatch)

    assert stack.client.url == "http://localhost:8283"
    assert stack.client.password == "a-password-of-the-stack"
    assert stack.image == "me/letta:1"
    assert len(stack.names) == len(fake_engine.SERVICES)


def test_https_comes_first(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeEngine({**answers("staging"), "8443/tcp": "0.0.0.0:443\n"}).install(monkeypatch)

    assert run.of(project).client.url == "https://localhost:443"


def test_a_topology_without_a_gateway_is_refused(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.topology = find("single")

    with pytest.raises(FaultsRefused, match="use --env prod"):
        stack_of(project, monkeypatch)


def test_a_stack_that_is_broken_already_is_refused(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = fake_engine.container_states()
    sick = type(states[0])("letta-redis", "stack-letta-redis-4", "running", "unhealthy", 0)
    project.runner.states = lambda: [*states, sick]

    with pytest.raises(FaultsRefused, match="is not healthy before any fault"):
        stack_of(project, monkeypatch)


@pytest.mark.parametrize("environment", ["", "production"])
def test_what_is_no_staging_stack_is_refused(
    environment: str, project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeEngine(answers(environment)).install(monkeypatch)

    with pytest.raises(FaultsRefused, match="set LETTA_ENVIRONMENT=staging"):
        run.faults(project, Order(yes=True))


def test_without_yes_nothing_happens(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine(answers("staging")).install(monkeypatch)

    with pytest.raises(FaultsRefused, match="add --yes"):
        run.faults(project, Order())
    assert not [line for line in engine.said if "docker run" in line or "docker kill" in line]


def test_a_name_that_is_no_fault_is_refused_first(project: Any) -> None:
    with pytest.raises(BadValue, match="no such fault"):
        run.faults(project, Order(only=["rain"], yes=True))


def test_a_dry_run_says_what_cannot_be_done_here(
    project: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    FakeEngine(answers("staging"), broken=["command -v tc"]).install(monkeypatch)

    run.faults(project, Order(dry_run=True, only=["database-slow", "redis-gone"]))

    out = capsys.readouterr().out
    assert "skipped: the engine's machine has no tc" in out
    assert "no read fails" in out


def test_a_fault_is_caused_counted_and_written_down(
    project: Any,
    staged: Staged,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    engine = FakeEngine(answers("staging")).install(monkeypatch)

    run.faults(
        project, Order(only=["redis-frozen", "provider-gone"], seed=7, yes=True, as_json=True)
    )

    found = json.loads(capsys.readouterr().out)
    assert [one["fault"] for one in found["faults"]] == ["redis-frozen", "provider-gone"]
    assert all(one["passed"] and one["acknowledged"] and not one["lost"] for one in found["faults"])
    assert json.loads((tmp_path / "faults.json").read_text()) == found
    assert "seed 7" in (tmp_path / "faults.md").read_text()
    assert any("docker rm --force --volumes stack-faults-model" in line for line in engine.said)
    # Those of a run that was killed.
    assert staged.called[:4] == [
        "GET /v1/agents/?tags=letta-stack-faults&limit=1000",
        "DELETE /v1/agents/old-1",
        "GET /v1/providers/?name=letta-stack-faults",
        "DELETE /v1/providers/old-1",
    ]


def test_a_lost_message_ends_the_command_with_a_failure(
    project: Any, staged: Staged, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    FakeEngine(answers("staging")).install(monkeypatch)
    staged.loses = lambda stored: stored == 2

    with pytest.raises(FaultsFailed, match="1 of 1 faults did more than they may: provider-gone"):
        run.faults(project, Order(only=["provider-gone"], seed=7, yes=True))
    assert "acknowledged messages are lost" in (tmp_path / "faults.md").read_text()


def test_a_fault_that_cannot_be_caused_is_no_success(
    project: Any, staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = stack_of(project, monkeypatch)

    outcome = run.one(stack, workload.Model("m"), Fault("x", "y", impossible), 7)

    (breach,) = outcome.breaches
    assert breach.startswith("it could not be caused: `docker kill` failed")


def test_the_way_back_is_measured_from_the_undo_on(
    project: Any, staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = stack_of(project, monkeypatch)
    fault = Fault("x", "y", nothing, undo="nothing", seconds=0.3, expect=Expect(healthy=0.2))

    outcome = run.one(stack, workload.Model("m"), fault, 7)

    assert outcome.passed, outcome.breaches
    assert outcome.spans_lost is None


def test_spans_that_do_not_come_are_lost(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = stack_of(project, monkeypatch)
    FakeEngine({"grep -ohE": "aa1\naa2\n"}).install(monkeypatch)
    monkeypatch.setattr(audit, "FLUSH_SECONDS", 0.05)

    assert audit.spans_lost(stack, "aa", {"aa1", "aa2"}) == 0
    assert audit.spans_lost(stack, "aa", {"aa1", "aa3"}) == 1


def test_without_a_file_nobody_knows_what_is_lost(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = stack_of(project, monkeypatch)
    FakeEngine(broken=["telemetry"]).install(monkeypatch)

    assert audit.spans_lost(stack, "aa", {"aa1"}) is None


def test_an_address_with_a_password_is_in_no_command(
    project: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = stack_of(project, monkeypatch)
    engine = FakeEngine({"Config.User": "10001:10001\n", "docker run": "it says why\n"}).install(
        monkeypatch
    )

    assert starts.run(stack, "migrate", [], {"LETTA_PG_URI": "postgresql://a:secret@b/c"}) == 0
    assert "--env=LETTA_PG_URI" in engine.said[-1]
    assert "--user=10001:10001" in engine.said[-1]
    assert "secret" not in " ".join(engine.said)
    assert "it says why" in capsys.readouterr().err
