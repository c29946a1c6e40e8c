"""Renders every topology with the real compose; no daemon is asked."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from letta_stack.base.paths import ROOT
from letta_stack.topology.catalogue import SERVER, TOPOLOGIES
from letta_stack.topology.project import Project
from letta_stack.topology.runners import compose

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from letta_stack.topology.model import Topology

Rendered = dict[str, Any]


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Render a copy of the checkout without the settings that the user has in `.env` and in the shell."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    for path in [*ROOT.glob("*compose.yaml"), ROOT / "pins.env"]:
        shutil.copy(path, copy)
    shutil.copytree(ROOT / "compose", copy / "compose", symlinks=True)
    scripts = "rootfs/docker-entrypoint-initdb.d"  # which the database mounts
    shutil.copytree(ROOT / scripts, copy / scripts)
    monkeypatch.setattr(compose, "ROOT", copy)
    fragment = yaml.safe_load((copy / "compose/services/server.yaml").read_text())
    known = set(fragment["services"][SERVER]["environment"])
    for name in os.environ:
        if name in known or name.startswith("LETTA_"):
            monkeypatch.delenv(name)
    return copy


@pytest.fixture
def render() -> Callable[..., Rendered]:
    def render(env: str, **variables: str) -> Rendered:
        return Project.of(env).with_variables(variables).runner.config()

    return render


SERVED = {name: one for name, one in TOPOLOGIES.items() if one.has_server}


@pytest.fixture(params=SERVED.values(), ids=list(SERVED))
def served(request: pytest.FixtureRequest) -> Topology:
    """A topology with a server."""
    found: Topology = request.param
    return found


@pytest.fixture(params=TOPOLOGIES.values(), ids=list(TOPOLOGIES))
def topology(request: pytest.FixtureRequest) -> Topology:
    found: Topology = request.param
    return found
