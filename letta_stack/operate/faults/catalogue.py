"""Every fault there is, by family, and which of them a run takes."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from letta_stack.errors import BadValue
from letta_stack.operate.faults import (
    certificates,
    clock,
    containers,
    databases,
    disk,
    failover,
    network,
    processes,
    providers,
    resources,
    starts,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letta_stack.operate.faults.model import Fault

FAULTS: tuple[Fault, ...] = (
    *processes.FAULTS,
    *containers.FAULTS,
    *databases.FAULTS,
    *network.FAULTS,
    *resources.FAULTS,
    *disk.FAULTS,
    *clock.FAULTS,
    *providers.FAULTS,
    *starts.FAULTS,
    *certificates.FAULTS,
)


def choose(only: Sequence[str], *, members: bool = False) -> Sequence[Fault]:
    """Return the faults of these names; without one all, for a database of several ``members`` those of such a database.

    Raises ``BadValue``.
    """
    known = {one.name: one for one in (*FAULTS, *failover.FAULTS)}
    if unknown := [name for name in only if name not in known]:
        raise BadValue(f"--only {', '.join(unknown)}: no such fault; see `inv faults --list`")
    return [known[name] for name in only] if only else (failover.FAULTS if members else FAULTS)


def sample(seed: int, count: int) -> Sequence[Fault]:
    """Return a few of the short ones, other ones for another seed."""
    quick = [one for one in FAULTS if one.quick]
    return Random(seed).sample(quick, count)  # noqa: S311 - no secret
