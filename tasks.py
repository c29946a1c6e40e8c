"""What an operator does: `inv --list`. The tasks are in letta_stack/cli/, one file per noun."""

from __future__ import annotations

from invoke.collection import Collection

from letta_stack.cli import engine, pins, release, topology, wait

ns = Collection(
    engine.engine,
    release.build,
    release.promote,
    release.tags,
    release.notes,
    topology.up,
    topology.down,
    topology.ps,
    topology.logs,
    topology.restart,
    topology.execute,
    topology.config,
    topology.exports,
    wait.wait,
    release.version,
    pins.pins,
)
