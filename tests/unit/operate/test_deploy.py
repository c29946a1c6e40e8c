"""What a deployment would do, which containers are its own, and what it remembers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.base.process import Completed
from letta_stack.errors import BadReference, BadValue, DeployRefused, NothingToRollBack
from letta_stack.operate import deploy, plan, replicas
from letta_stack.operate.plan import Image, Migration
from letta_stack.operate.replicas import Replica
from letta_stack.topology import deployed
from letta_stack.topology.catalogue import GATEWAY_KEEPS_SECONDS, GATEWAY_RETRY_SECONDS
from letta_stack.topology.deployed import Deployment, Unfinished
from letta_stack.topology.project import Project

if TYPE_CHECKING:
    from pathlib import Path

ADD, DROP = "op.add_column('a')", "op.drop_column('a', 'b')"
ROWS = [["c", "b", DROP], ["a", "", ADD], ["b", "a", ADD]]
IMAGE = Image("me/letta:1", "sha256:" + "0123456789abcdef" * 4, "amd64", "0.16.8")


def deployment(tag: str) -> Deployment:
    return Deployment(
        when="2026-01-01T00:00:00+00:00",
        who="ada@host",
        reference="me/letta:1",
        digest="sha256:1",
        tag=tag,
        letta_version="0.16.8",
        replicas=2,
    )


def replica(name: str, image: str, created: float) -> Replica:
    return Replica(name, image, created, ("10.0.0.1",), "running", "healthy")


@pytest.mark.parametrize(
    ("revision", "expected"),
    [
        ("c", Migration((), ())),
        ("b", Migration(("c",), ("c",))),
        ("a", Migration(("b", "c"), ("c",))),
        ("", Migration(("a", "b", "c"), ("c",))),
    ],
)
def test_a_migration_is_the_way_from_the_schema_to_the_newest_revision(
    revision: str, expected: Migration
) -> None:
    assert plan.migration(revision, ROWS) == expected


def test_an_image_that_is_older_than_the_schema_is_refused() -> None:
    with pytest.raises(DeployRefused, match="used by a newer server"):
        plan.migration("d", ROWS)


def test_the_plan_announces_a_maintenance_window() -> None:
    lines = plan.summary(
        IMAGE, replicas=2, now=["a-1", "a-2"], needed=Migration(("b", "c"), ("c",))
    )

    assert lines == [
        "image      me/letta:1 (0123456789ab, Letta 0.16.8)",
        "replicas   2 new ones beside a-1, a-2; those end their requests and go",
        "migration  2 steps, with a maintenance window: b, c",
    ]


def test_a_tag_stays_on_one_image() -> None:
    assert IMAGE.tag == "letta-stack/deployed:0123456789abcdef"


def test_the_new_replicas_are_those_of_this_deployment() -> None:
    begun = Unfinished(started=100.0, to=deployment("new"))
    found = [replica("1", "old", 50), replica("2", "new", 50), replica("3", "new", 101)]

    new, old = replicas.split(found, begun)

    assert [one.container for one in new] == ["3"]
    assert [one.container for one in old] == ["1", "2"]


def test_the_engine_says_when_a_replica_was_made_and_where_it_is() -> None:
    facts = {
        "Name": "/p-letta-server-3",
        "Created": "1970-01-01T00:01:40.123456789Z",
        "Config": {"Image": "letta-stack/deployed:1"},
        "State": {"Status": "running", "Health": {"Status": "starting"}},
        "NetworkSettings": {"Networks": {"a": {"IPAddress": "10.0.0.9"}, "b": {"IPAddress": ""}}},
    }

    found = replicas.parse(facts)

    assert found == Replica(
        "p-letta-server-3", "letta-stack/deployed:1", 100.0, ("10.0.0.9",), "running", "starting"
    )
    assert not found.ready
    assert not found.failed


def test_the_history_is_what_was_recorded(tmp_path: Path) -> None:
    assert deployed.history("p", state=tmp_path) == []
    for tag in ("one", "two"):
        deployed.record("p", deployment(tag), state=tmp_path)

    assert [one.tag for one in deployed.history("p", state=tmp_path)] == ["one", "two"]


def test_a_history_that_cannot_be_read_is_not_overwritten(tmp_path: Path) -> None:
    deployed.record("p", deployment("one"), state=tmp_path)
    path = tmp_path / "p" / "deployments.json"
    path.write_text("{")

    with pytest.raises(DeployRefused, match="move it out of the way"):
        deployed.record("p", deployment("two"), state=tmp_path)
    assert path.read_text() == "{"


def test_what_has_begun_is_known_until_it_ends(tmp_path: Path) -> None:
    begun = Unfinished(started=1.5, to=deployment("one"))
    assert deployed.unfinished("p", state=tmp_path) is None

    deployed.begin("p", begun, state=tmp_path)
    assert deployed.unfinished("p", state=tmp_path) == begun
    deployed.end("p", state=tmp_path)
    assert deployed.unfinished("p", state=tmp_path) is None


def test_a_topology_with_one_server_has_nothing_to_shift() -> None:
    with pytest.raises(BadValue, match="has one server"):
        deploy.deploy(Project.of("dev", project="operate-unit"), deploy.Order())


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (deploy.Order(), ""),
        (deploy.Order(image="me/letta:2"), "me/letta:2"),
        (deploy.Order(version="0.16.7"), "letta-stack/letta:0.16.7"),
    ],
)
def test_an_image_is_named_by_itself_or_by_its_version(order: deploy.Order, expected: str) -> None:
    assert deploy.wanted(order) == expected


@pytest.mark.parametrize(
    ("order", "error"),
    [
        (deploy.Order(image="me/letta:2", version="0.16.7"), BadValue),
        (deploy.Order(version="0.16.7/x"), BadReference),
    ],
)
def test_two_names_or_a_bad_one_are_refused(order: deploy.Order, error: type[Exception]) -> None:
    with pytest.raises(error):
        deploy.wanted(order)


def test_there_is_nothing_to_go_back_to_without_a_history() -> None:
    with pytest.raises(NothingToRollBack, match="ran no other image"):
        deploy.rollback(Project.of("prod", project="operate-unit"), dry_run=True)


def test_a_deployment_waits_as_long_as_the_gateway_keeps_connections() -> None:
    start = (ROOT / "compose/nginx/start").read_text(encoding="utf-8")

    assert f"keepalive_min_timeout {GATEWAY_KEEPS_SECONDS}s;" in start


def of_two(*, leaving_is_read: bool, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stand for a gateway with a replica that stays and one that leaves; return the list of the commands in it."""
    asked: list[list[str]] = []

    def probe(argv: list[str]) -> Completed:
        asked.append(argv)
        left = "server 10.0.0.1:8283;" if not (leaving_is_read and len(asked) > 2) else ""
        return Completed(0, f"{left}\nserver 10.0.0.11:8283;", "")

    monkeypatch.setattr(replicas, "gateway", lambda _project: "gateway")
    monkeypatch.setattr(replicas, "LEFT_OUT_SECONDS", 0.0)
    monkeypatch.setattr(process, "probe", probe)
    return asked


def test_a_deployment_stops_nobody_whom_the_gateway_still_asks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waited: list[float] = []
    asked = of_two(leaving_is_read=True, monkeypatch=monkeypatch)
    monkeypatch.setattr(time, "sleep", waited.append)
    replicas.leave_out(Project.of("prod"), [replica("old", "one", 1.0)])

    assert asked[1][-1] == "10.0.0.1"
    assert waited == [GATEWAY_KEEPS_SECONDS + GATEWAY_RETRY_SECONDS]
    assert capsys.readouterr().err == ""


def test_a_gateway_from_before_knows_of_no_replica_that_leaves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    of_two(leaving_is_read=False, monkeypatch=monkeypatch)
    replicas.leave_out(Project.of("prod"), [replica("old", "one", 1.0)])

    assert "a message that meets their end will be lost" in capsys.readouterr().err
