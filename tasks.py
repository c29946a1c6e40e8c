"""What an operator does: `inv --list`. The tasks are in letta_stack/cli/, one file per noun."""

from __future__ import annotations

from invoke.collection import Collection

from letta_stack.cli import (
    build,
    certs,
    engine,
    lint,
    otelcol,
    pins,
    release,
    secrets,
    topology,
    wait,
)

ns = Collection(
    engine.engine,
    build.build,
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
    build.version,
    pins.pins,
    lint.lint,
    certs.certs,
    secrets.secrets,
    otelcol.otelcol,
)
