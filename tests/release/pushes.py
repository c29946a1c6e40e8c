"""Pushes of the tiny image that a test breaks."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from tests.release import support

if TYPE_CHECKING:
    from pathlib import Path

    from tests.release.fault_proxy import FaultProxy, Seen

OLD, NEW = "0.16.7", "0.16.8"
FLOATING = ("0.16", "latest")


def fresh() -> str:
    """Return a repository that nobody else uses."""
    return f"letta/{secrets.token_hex(6)}"


def requests_of_a_push(proxy: FaultProxy, layout: Path, before: Path | None = None) -> list[Seen]:
    """Push once without a fault, on top of ``before``, to learn which requests there are to break."""
    repository = fresh()
    if before is not None:
        quiet_push(proxy.upstream, repository, OLD, before)
    proxy.reset()
    quiet_push(proxy.host, repository, NEW, layout)
    return proxy.seen


def quiet_push(host: str, repository: str, version: str, layout: Path) -> str:
    return support.push(host, repository, version, layout, say=lambda _: None)
