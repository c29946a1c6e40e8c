"""What is asked of every running stack, whatever runs it, before something is done with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from letta_stack.errors import BadValue, NotRunning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letta_stack.topology.clustered import Clustered
    from letta_stack.topology.project import Project
    from letta_stack.topology.runners.protocol import State


def require(stack: Project | Clustered, states: Sequence[State]) -> None:
    """Raise ``NotRunning`` if the stack has no container."""
    if not states:
        raise NotRunning(f"{stack.name} is not up; start it with `inv up {stack.flags}`")


def require_service(stack: Project | Clustered, service: str) -> None:
    """Raise ``BadValue`` if the topology has no such service; "" means all of them."""
    names = stack.topology.names
    if service and service not in names:
        raise BadValue(
            f"--service {service!r} is not in {stack.topology.name}; use one of: {', '.join(names)}"
        )


def require_command(command: Sequence[str]) -> None:
    """Raise ``BadValue`` if there is nothing to run."""
    if not command:
        raise BadValue("no command given; write it after --, for instance `inv exec -- id`")
