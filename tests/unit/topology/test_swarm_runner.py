"""What is read of a swarm's answers."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from letta_stack.base import process
from letta_stack.base.process import Completed
from letta_stack.topology import encryption_probe
from letta_stack.topology.runners.swarm import Swarm, update_of

ROW = {"ID": "1", "Node": "a", "Image": "x", "Error": "", "DesiredState": "Running"}


def test_a_task_of_a_host_that_is_lost_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        ROW | {"Name": "mine_web.1", "CurrentState": "Running 2 seconds ago"},
        ROW
        | {"Name": "mine_web.2", "CurrentState": "Running 1 hour ago", "DesiredState": "Shutdown"},
        ROW
        | {"Name": "mine_job.1", "CurrentState": "Complete 1 hour ago", "DesiredState": "Complete"},
        ROW
        | {"Name": "mine_bad.1", "CurrentState": "Failed 1 hour ago", "DesiredState": "Shutdown"},
    ]
    text = "\n".join(map(json.dumps, rows))
    monkeypatch.setattr(process, "probe", lambda _: Completed(0, text, ""))

    assert [one.container for one in Swarm("mine").states()] == [
        "mine_web.1",
        "mine_job.1",
        "mine_bad.1",
    ]


def service(*, image: str = "new", **more: Any) -> dict[str, Any]:
    before = {"TaskTemplate": {"Image": "old"}, "Mode": {"Replicated": {"Replicas": 1}}}
    return {"Spec": {**before, "TaskTemplate": {"Image": image}}, "PreviousSpec": before, **more}


@pytest.mark.parametrize(
    ("one", "state"),
    [
        (service(), "updating"),
        (service(image="old"), ""),
        (service(UpdateStatus={"State": "completed"}), "completed"),
        (service(PreviousSpec=None), ""),
    ],
)
def test_an_update_that_is_about_to_begin_is_under_way(one: dict[str, Any], state: str) -> None:
    assert update_of(one) == state


def test_what_the_swarm_fills_in_and_where_a_task_may_be_are_no_change() -> None:
    one = service(
        PreviousSpec={"TaskTemplate": {"Image": "new", "Resources": {}, "Policy": {"Any": 1}}}
    )
    one["Spec"]["TaskTemplate"] = {
        "Placement": {"Constraints": ["node.labels.a == b"]},
        "Image": "new",
        "DNSConfig": {},
        "Policy": {"Any": 1, "Delay": 5},
    }

    assert update_of(one) == ""


@pytest.mark.parametrize("mode", [{"ReplicatedJob": {}}, {"Replicated": {"Replicas": 0}}])
def test_what_has_nothing_to_replace_is_not_updated(mode: dict[str, Any]) -> None:
    one = service()
    one["Spec"]["Mode"] = mode

    assert update_of(one) == ""


def test_the_kernel_is_asked_for_the_cipher_of_the_engine() -> None:
    state = encryption_probe.state()
    length, kind = struct.unpack_from("=HH", state, 224)

    assert (224 + length, kind) == (len(state), encryption_probe.AEAD)
    assert state[228:].startswith(b"rfc4106(gcm(aes))\0")
