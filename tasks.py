"""What an operator does: `inv --list`. The tasks are in letta_stack/cli/, one file per noun."""

from __future__ import annotations

from invoke.collection import Collection

from letta_stack.cli import (
    adopt,
    backup,
    build,
    certs,
    cluster,
    engine,
    faults,
    lint,
    operate,
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
    release.checks,
    topology.up,
    topology.down,
    topology.ps,
    topology.logs,
    topology.restart,
    topology.execute,
    topology.config,
    topology.exports,
    cluster.render,
    wait.wait,
    build.version,
    pins.pins,
    lint.lint,
    certs.certs,
    secrets.secrets,
    otelcol.otelcol,
    operate.doctor,
    operate.support_bundle,
    operate.deploy,
    operate.rollback,
    operate.trim,
    faults.faults,
    adopt.adopt,
    adopt.upgrade,
)

ns.add_collection(Collection("cluster", cluster.up, cluster.down))
ns.add_collection(
    Collection("backup", backup.create, backup.list_, backup.verify, backup.restore, backup.prune)
)
