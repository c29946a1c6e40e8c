"""Renders compose files for `inv lint`, without an engine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from letta_stack.base import process
from letta_stack.errors import BadValue, CommandFailed
from letta_stack.policy import kubernetes
from letta_stack.topology.catalogue import TOPOLOGIES, find
from letta_stack.topology.clustered import Clustered, objects
from letta_stack.topology.project import Project
from letta_stack.topology.render.kubernetes.options import TRIAL

if TYPE_CHECKING:
    from collections.abc import Sequence

KUBERNETES = "kubernetes"


@dataclass(frozen=True)
class Model:
    """A rendered model, and where it comes from."""

    source: str
    file: str
    config: dict[str, Any]


def models(envs: Sequence[str], files: Sequence[str]) -> list[Model]:
    """Render the named topologies and files; without a name every topology.

    Raises:
        BadValue: an unknown topology, or a file that compose cannot read.

    """
    names = list(envs) or ([] if files else [*TOPOLOGIES, KUBERNETES])
    rendered = [_kubernetes() if name == KUBERNETES else _topology(name) for name in names]
    return rendered + [_render(file) for file in files]


def watched(envs: Sequence[str], files: Sequence[str]) -> bool:
    """Say whether alert rules and dashboards belong to what was named; without a name everything does."""
    names = envs or ([] if files else list(TOPOLOGIES))
    return any(find(name).monitoring for name in names if name != KUBERNETES)


def _topology(name: str) -> Model:
    one = find(name)
    return Model(one.name, one.entry, Project.of(one.name).runner.config())


def _kubernetes() -> Model:
    """Return the pods of the cluster's form, with the database that is there only for trials."""
    cluster = Clustered.of(KUBERNETES, database=TRIAL)
    pods = kubernetes.services(objects(cluster).all)
    return Model(KUBERNETES, cluster.topology.entry, pods)


def _render(file: str) -> Model:
    if not Path(file).is_file():
        raise BadValue(f"--file {file!r} is not a file; give a compose file")
    try:
        text = process.capture(["docker", "compose", "--file", file, "config", "--format", "json"])
    except CommandFailed as error:
        raise BadValue(f"compose cannot read {file}: {error.last_line}") from error
    return Model(file, file, json.loads(text))
