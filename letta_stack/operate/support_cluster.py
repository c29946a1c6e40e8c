"""`inv support-bundle --env kubernetes`: what a namespace, its pods and its events say."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from letta_stack.errors import LettaStackError
from letta_stack.operate import support
from letta_stack.operate.doctor import cluster as doctor
from letta_stack.operate.doctor import run
from letta_stack.operate.holders.namespaced import Namespaced
from letta_stack.operate.redact import redact
from letta_stack.topology.runners.kubernetes import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from letta_stack.topology.clustered import Clustered

# Secrets are no part of it.
SHOWN = f"{KINDS},pods,persistentvolumeclaims,ingresses"


def collect(cluster: Clustered) -> dict[str, str]:
    """Return the files of a bundle, redacted. What cannot be had is said in its place."""
    holder = Namespaced(cluster)
    mine = holder.mine
    parts: dict[str, Callable[[], str]] = {
        "versions.txt": lambda: support.versions() + support.command(*mine.argv("version")),
        "doctor.json": lambda: run.as_json(doctor.diagnose(cluster)),
        "objects.yaml": lambda: support.command(*mine.argv("get", SHOWN, "--output", "yaml")),
        "events.txt": lambda: support.command(*mine.argv("events")),
        "nodes.txt": lambda: support.command(*mine.argv("describe", "nodes")),
    }
    try:
        names = [one.container for one in mine.states()]
    except LettaStackError:
        names = []
    for name in names:
        words = ("logs", name, "--timestamps", f"--tail={support.LOG_LINES}")
        parts[f"logs/{name}.txt"] = lambda words=words: support.command(*mine.argv(*words))  # type: ignore[misc]
        before = (*words, "--previous")
        parts[f"logs/{name}.previous.txt"] = lambda words=before: support.command(  # type: ignore[misc]
            *mine.argv(*words)
        )
    known = known_secrets(holder) | support.local_secrets(cluster.name)
    return {name: redact(support.attempt(part), known) for name, part in parts.items()}


def known_secrets(holder: Namespaced) -> set[str]:
    """Return every value that the servers get from a Secret."""
    try:
        found = holder.secrets()
    except LettaStackError:
        return set()
    values = support.values_of(dict(found.environment))
    for encoded in found.files.values():
        values |= support.lines_of(base64.b64decode(encoded).decode(errors="replace"))
    return values
