"""Which holder a stack has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from letta_stack.operate.holders.in_swarm import InSwarm
from letta_stack.operate.holders.namespaced import Namespaced
from letta_stack.operate.holders.one_host import OneHost
from letta_stack.topology.clustered import Clustered

if TYPE_CHECKING:
    from letta_stack.operate.holders.protocol import Holder
    from letta_stack.topology.project import Project


def of(stack: Project | Clustered) -> Holder:
    """Return what handles data and secrets of a stack."""
    if not isinstance(stack, Clustered):
        return OneHost(stack)
    return InSwarm(stack) if stack.topology.name == "swarm" else Namespaced(stack)
