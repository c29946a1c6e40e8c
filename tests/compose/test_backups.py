"""The service that makes backups: only where somebody can open them, and no more than it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.policy.rules import RULES
from letta_stack.topology import backups, metrics
from letta_stack.topology.catalogue import BACKUP

if TYPE_CHECKING:
    from collections.abc import Callable

    Render = Callable[..., dict[str, Any]]

WITH_SECRETS = ["prod", "observability"]
RECIPIENT = {backups.RECIPIENTS_VARIABLE: "age1mine"}


@pytest.mark.parametrize("env", WITH_SECRETS)
def test_without_recipients_there_is_no_service(env: str, render: Render) -> None:
    assert BACKUP not in render(env)["services"]


@pytest.mark.parametrize("env", WITH_SECRETS)
def test_the_service_finds_what_inv_looks_for_and_has_no_more_than_it_needs(
    env: str, render: Render
) -> None:
    model = render(env, **RECIPIENT)
    service = model["services"][BACKUP]

    assert [rule.name for rule in RULES for _ in rule.problems(service)] == ["health-check"]
    assert service["labels"]["letta-stack.waive.health-check"]
    project = model["name"]
    sources = {one["target"]: one["source"] for one in service["volumes"]}
    for name in ("backups", metrics.directory(project).name):
        target = f"/opt/letta-stack/checkout/.state/{project}/{name}"
        assert sources[target].endswith(f"/.state/{project}/{name}")
    assert service["environment"] | backups.DEFAULTS | RECIPIENT == service["environment"]
    assert service["image"] == model["services"]["letta-server"]["image"]
    assert {"source": "encryption-key", "target": "/run/secrets/encryption-key"} in (
        service["secrets"]
    )


def test_other_topologies_take_no_notice(render: Render) -> None:
    assert BACKUP not in render("dev", **RECIPIENT)["services"]
