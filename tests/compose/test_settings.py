"""What a user sets reaches the server, from `.env` and from the shell, and nothing on the way changes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.topology.catalogue import SERVER

if TYPE_CHECKING:
    from pathlib import Path

    from letta_stack.topology.model import Topology

Render = Callable[..., dict[str, Any]]

FRAGMENT = yaml.safe_load((ROOT / "compose/services/server.yaml").read_text())
PASSED = [
    name for name, value in FRAGMENT["services"][SERVER]["environment"].items() if value is None
]


def environment_of(model: dict[str, Any]) -> dict[str, str | None]:
    found: dict[str, str | None] = model["services"][SERVER]["environment"]
    return found


def settable(served: Topology, render: Render) -> list[str]:
    """Return the variables that a topology leaves to the user; `dev` for instance has its own database."""
    unset = environment_of(render(served.name))
    return [name for name in PASSED if unset[name] is None]


def test_every_variable_of_the_list_arrives_from_dotenv_and_from_the_shell(
    served: Topology, render: Render, checkout: Path
) -> None:
    names = settable(served, render)
    (checkout / ".env").write_text("".join(f"{name}=file-{name}\n" for name in PASSED))
    shell = {name: f"shell-{name}" for name in names}

    from_file = environment_of(render(served.name))
    from_shell = environment_of(render(served.name, **shell))

    assert len(names) > 40
    assert {name: from_file[name] for name in names} == {name: f"file-{name}" for name in names}
    assert {name: from_shell[name] for name in names} == shell


def test_any_other_setting_arrives_from_dotenv(
    served: Topology, render: Render, checkout: Path
) -> None:
    (checkout / ".env").write_text("LETTA_SOME_OTHER=1\n")

    assert environment_of(render(served.name))["LETTA_SOME_OTHER"] == "1"


@pytest.mark.parametrize(
    ("written", "value"),
    [("'pa$word1'", "pa$word1"), ('"it\'s pa\\$word1"', "it's pa$word1"), ("#1", "#1")],
)
def test_a_value_arrives_whole(
    written: str, value: str, served: Topology, render: Render, checkout: Path
) -> None:
    (checkout / ".env").write_text(f"LETTA_SERVER_PASSWORD={written}\nOTHER={written}\n")

    environment = environment_of(render(served.name))

    # `config` writes a dollar sign twice, so that its output could be read by compose again.
    assert environment["OTHER"] == value.replace("$", "$$")
    assert environment["LETTA_SERVER_PASSWORD"] == ("" if served.secrets else environment["OTHER"])


def test_the_port_inside_the_container_is_the_topologys(
    served: Topology, render: Render, checkout: Path
) -> None:
    (checkout / ".env").write_text("PORT=3000\nHOST=127.0.0.1\n")

    environment = environment_of(render(served.name))

    assert (environment["HOST"], environment["PORT"]) == ("", "")


def test_dotenv_is_read_without_being_named(served: Topology, checkout: Path) -> None:
    command = ["docker", "compose", "--file", served.entry, "config", "--format", "json"]

    def rendered() -> dict[str, Any]:
        model: dict[str, Any] = json.loads(process.capture(command, cwd=checkout))
        return model

    without = rendered()
    (checkout / ".env").write_text(
        "LETTA_SERVER_PASSWORD=mine\nLETTA_STACK_PORT=9000\nLETTA_STACK_MEMORY=1g\n"
    )
    model = rendered()

    if not served.secrets:
        assert environment_of(without)["LETTA_SERVER_PASSWORD"] is None
        assert environment_of(model)["LETTA_SERVER_PASSWORD"] == "mine"
    assert model["services"][served.published]["ports"][0]["published"] == "9000"
    assert model["services"][SERVER]["deploy"]["resources"]["limits"]["memory"] == str(2**30)
