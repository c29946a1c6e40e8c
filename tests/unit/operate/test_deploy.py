"""What a deployment would do, which containers are its own, and what it remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from letta_stack.errors import BadReference, BadValue, DeployRefused, NothingToRollBack
from letta_stack.operate import deploy, plan, replicas
from letta_stack.operate.plan import Image, Migration
from letta_stack.operate.replicas import Replica
from letta_stack.topology import deployed
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
