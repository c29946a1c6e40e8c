"""Where a language that cannot import the start code repeats one of its facts, it must be the same."""

from __future__ import annotations

import re

import yaml

from letta_stack.base.paths import ROOT
from letta_stack.image import contract

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
