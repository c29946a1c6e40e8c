"""Where a language that cannot import the start code repeats one of its facts, it must be the same."""

from __future__ import annotations

import importlib
import re
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from letta_stack.base import paths
from letta_stack.base.paths import ROOT
from letta_stack.errors import BadPins
from letta_stack.image import contract

if TYPE_CHECKING:
    from pathlib import Path

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_the_image_exposes_the_port_and_has_the_volume() -> None:
    assert re.findall(r"(?m)^EXPOSE (.+)$", DOCKERFILE) == [str(contract.API_PORT)]
    assert re.findall(r"(?m)^VOLUME (.+)$", DOCKERFILE) == [contract.VOLUME]


def test_compose_publishes_the_port_and_keeps_the_volume() -> None:
    fragments = ROOT / "compose/services"
    published = yaml.safe_load((fragments / "server-published.yaml").read_text())
    server = yaml.safe_load((fragments / "server.yaml").read_text())

    (port,) = published["services"]["letta-server"]["ports"]
    assert port["target"] == contract.API_PORT
    named = [one for one in server["services"]["letta-server"]["volumes"] if isinstance(one, str)]
    assert named == [f"letta:{contract.VOLUME}"]


def test_compose_publishes_the_debugger_on_loopback_and_mounts_it_where_the_worker_looks() -> None:
    overlay = yaml.safe_load((ROOT / "compose/overlays/debug.yaml").read_text())
    server = overlay["services"]["letta-server"]

    (port,), (mount,) = server["ports"], server["volumes"]
    assert (port["target"], port["host_ip"]) == (contract.DEBUG_PORT, "127.0.0.1")
    assert (mount["target"], mount["read_only"]) == (contract.DEBUGGER, True)


def test_readme_names_port_volume_and_password() -> None:
    readme = (ROOT / "README.md").read_text()

    assert f"-p 127.0.0.1:{contract.API_PORT}:{contract.API_PORT}" in readme
    assert f"-v letta:{contract.VOLUME} " in readme
    assert f"cat {contract.PASSWORD_FILE}\n" in readme


def test_an_exit_code_of_the_container_has_a_meaning() -> None:
    assert contract.EXIT_CODES[71] == "An environment variable has a value that it cannot have."
    assert set(contract.EXIT_CODES) <= set(range(70, 90))
    assert all(re.fullmatch(r"[A-Z].*\.", text) for text in contract.EXIT_CODES.values())


def test_the_start_code_is_found_after_everything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    start_code = str(ROOT / "rootfs/opt/letta-stack")
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one != start_code])

    importlib.reload(contract)

    assert sys.path.index(start_code) == len(sys.path) - 1


def test_outside_of_a_checkout_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)

    with pytest.raises(BadPins, match="is not a checkout of letta-stack; change into one"):
        importlib.reload(contract)


def test_the_secrets_of_the_image_are_in_its_volume() -> None:
    assert contract.SECRETS.startswith(f"{contract.VOLUME}/")
    assert contract.PASSWORD_FILE.startswith(f"{contract.SECRETS}/")
    assert "false" in contract.OFF


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, ""),
        ({"LETTA_PG_URI": ""}, ""),
        ({"LETTA_PG_URI": "mysql://u:p@h/d"}, "must begin with postgresql://"),
        ({"LETTA_PG_URI_FILE": "/run/secrets/uri"}, ""),
        ({"LETTA_PG_URI_FILE": "/f", "LETTA_PG_URI": "postgresql://u:p@h/d"}, "both LETTA_PG_URI"),
        ({"LETTA_REDIS_HOST": "redis", "LETTA_REDIS_PORT_FILE": "/run/secrets/port"}, ""),
        ({"LETTA_REDIS_HOST": "redis", "LETTA_REDIS_PORT": "x"}, "must be a whole number"),
        ({"LETTA_SERVER_PASSWORD_FILE": "/run/secrets/password"}, ""),
    ],
)
def test_the_host_knows_what_the_container_would_refuse(
    given: dict[str, str], problem: str
) -> None:
    found = contract.problem_of_settings(given)

    assert problem in found
    assert bool(found) == bool(problem)
