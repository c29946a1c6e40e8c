"""docs/container.md against the code that it describes."""

from __future__ import annotations

import re

from entrypoint import plan

from letta_stack.base.paths import ROOT

PAGE = (ROOT / "docs/container.md").read_text()


def test_the_page_lists_every_service() -> None:
    documented = re.findall(r"(?m)^\| `([a-z]+)` \| [a-z]+ \(", PAGE)

    assert documented == plan.make_plan({}).services


def test_every_service_has_a_directory_that_can_run() -> None:
    for name in plan.make_plan({}).services:
        directory = ROOT / "rootfs/etc/letta-stack/services" / name
        for script in ("run", "finish"):
            assert (directory / script).stat().st_mode & 0o111
