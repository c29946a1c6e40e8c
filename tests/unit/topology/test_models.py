"""What `inv lint` is given to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from letta_stack.errors import BadValue, CommandFailed
from letta_stack.topology import models as topology_models
from letta_stack.topology.catalogue import TOPOLOGIES
from letta_stack.topology.models import Model, models
from letta_stack.topology.render.kubernetes.manifests import Manifests
from letta_stack.topology.runners.compose import Compose

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@pytest.fixture(autouse=True)
def compose(monkeypatch: pytest.MonkeyPatch) -> None:
    def capture(argv: Sequence[str]) -> str:
        assert argv[:3] == ["docker", "compose", "--file"]
        assert argv[4:] == ["config", "--format", "json"]
        return f'{{"rendered": "{argv[3]}"}}'

    monkeypatch.setattr(process, "capture", capture)
    monkeypatch.setattr(Compose, "config", lambda self: {"rendered": self.entry})


def test_without_a_name_every_topology_is_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology_models, "objects", lambda _: Manifests())

    assert models([], []) == [
        *(Model(one.name, one.entry, {"rendered": one.entry}) for one in TOPOLOGIES.values()),
        Model("kubernetes", "compose.yaml", {"services": {}}),
    ]


def test_only_what_is_named_is_rendered(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.touch()
    single = Model("single", "compose/single.yaml", {"rendered": "compose/single.yaml"})
    mine = Model(str(file), str(file), {"rendered": str(file)})

    assert models(["single"], []) == [single]
    assert models([], [str(file)]) == [mine]
    assert models(["single"], [str(file)]) == [single, mine]


def test_what_cannot_be_rendered_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(argv: Sequence[str]) -> str:
        raise CommandFailed(argv, 1, "noise\nyaml: line 3\n")

    with pytest.raises(BadValue, match="--env 'x' is not a topology"):
        models(["x"], [])
    with pytest.raises(BadValue, match="is not a file"):
        models([], [str(tmp_path)])
    (tmp_path / "a.yaml").touch()
    monkeypatch.setattr(process, "capture", fail)
    with pytest.raises(BadValue, match=r"compose cannot read .*a\.yaml: yaml: line 3"):
        models([], [str(tmp_path / "a.yaml")])
