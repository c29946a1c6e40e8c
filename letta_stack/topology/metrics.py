"""What only `inv`, and the service that makes backups, can say in metrics: a file each, which the host's exporter reads."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from letta_stack.base.paths import STATE

if TYPE_CHECKING:
    from pathlib import Path

BACKUP = "letta_backup_last_success_timestamp_seconds"
MIGRATED = "letta_migration_success"


def directory(project: str) -> Path:
    """Return where a project's metrics are for the host's exporter."""
    return STATE / project / "metrics"


def gauge(project: str, name: str, value: float) -> None:
    """Say something in a metric, in a project that is watched; another one has nobody to read it."""
    target = directory(project) / f"{name}.prom"
    if not target.parent.is_dir():
        return
    temporary = target.with_suffix(".tmp")
    temporary.write_text(f"# TYPE {name} gauge\n{name} {value:.0f}\n", encoding="ascii")
    temporary.chmod(0o644)
    temporary.replace(target)


def backed_up(project: str) -> None:
    """Say that a backup was made just now."""
    gauge(project, BACKUP, time.time())
