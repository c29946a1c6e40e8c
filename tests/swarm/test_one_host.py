"""The stack on a real swarm of one host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from letta_stack.topology.catalogue import SERVER

if TYPE_CHECKING:
    from tests.swarm.conftest import Stack


def test_the_api_answers_with_the_password_and_not_without(stack: Stack) -> None:
    gateway = stack.gateway()

    assert gateway.status(gateway.password) == 200
    assert gateway.status() == 401


def test_a_second_up_changes_no_server(stack: Stack) -> None:
    before = stack.tasks(SERVER)

    stack.inv("up", "--replicas", "1")

    assert stack.tasks(SERVER) == before
    assert stack.gateway().status(stack.gateway().password) == 200


def test_a_command_runs_in_the_server_as_its_user(stack: Stack) -> None:
    assert stack.inv("exec", "--", "id", "-u").strip() == "10001"
