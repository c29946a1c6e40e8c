"""The examples of docs/overrides.md: compose takes them, they keep to the policy, and the page names the right files."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

import pytest
import yaml

from letta_stack.base.paths import ROOT
from letta_stack.policy import lint
from letta_stack.topology.catalogue import TOPOLOGIES
from letta_stack.topology.runners.compose import override_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.compose.conftest import Rendered

PAGE = (ROOT / "docs/overrides.md").read_text()
BLOCKS = [textwrap.dedent(block) for block in re.findall(r"(?m)((?:^    .*\n|^\n(?=    ))+)", PAGE)]
EXAMPLES = [block.strip() for block in BLOCKS if block.lstrip().startswith("services:")]


def test_the_page_has_its_examples() -> None:
    assert len(EXAMPLES) == 4


@pytest.mark.parametrize(
    ("example", "env"),
    # `single` has one service.
    [(one, "prod") for one in EXAMPLES]
    + [(one, "single") for one in EXAMPLES if "letta-db" not in one],
)
def test_an_example_arrives_and_keeps_to_the_policy(
    example: str, env: str, checkout: Path, render: Callable[..., Rendered]
) -> None:
    topology = TOPOLOGIES[env]
    services = yaml.safe_load(example)["services"]
    ((name, change),) = services.items()
    if env == "single":
        change.pop("networks", None)  # as the page says
    (checkout / override_of(topology.entry)).write_text(yaml.safe_dump({"services": services}))

    model = render(env)

    rendered = model["services"][name]
    assert [one for one in lint.check(env, model) if not one.waiver] == []
    assert rendered["image"] == change.get("image", rendered["image"])
    assert (change.get("environment") or {}).items() <= (rendered.get("environment") or {}).items()
    for mount in change.get("volumes", ()):
        assert mount["source"] in {one.get("source") for one in rendered["volumes"]}


@pytest.mark.parametrize("env", TOPOLOGIES)
def test_the_page_names_the_override_file_of_each_topology(env: str) -> None:
    file = override_of(TOPOLOGIES[env].entry)
    (row,) = [line for line in PAGE.splitlines() if line.startswith("| `") and f"`{env}`" in line]

    assert f"`{file}`" in row.replace("<topology>", env)
