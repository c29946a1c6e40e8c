"""What the load needs inside the stack: a scripted model, a provider that points to it, agents; and no trace of them later."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from letta_stack.base import process
from letta_stack.base.wait import wait_until
from letta_stack.operate.faults import scripted_model
from letta_stack.operate.faults.stack import docker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from letta_stack.operate.faults.stack import Stage

TAG = "letta-stack-faults"  # of the agents; the provider's name as well
AGENTS = 4
MODEL_SECONDS = 30.0
SCRIPT = Path(scripted_model.__file__)
NOBODY = "65534:65534"


@dataclass(frozen=True)
class Model:
    """The scripted model's container."""

    container: str

    def behave(self, mode: str = "") -> None:
        """Set how it misbehaves, "" for not at all."""
        command = f"printf %s '{mode}' > {scripted_model.MODE}"
        docker("exec", self.container, "sh", "-c", command)


@contextlib.contextmanager
def model(stack: Stage) -> Iterator[Model]:
    """Run the model on the servers' network and make it known to the server; take both back afterwards."""
    found = Model(f"{stack.name}-faults-model")
    clear(stack, found)
    try:
        docker(
            *("run", "--detach", "--name", found.container, "--user", NOBODY, "--no-healthcheck"),
            *stack.beside(),
            *("--volume", f"{SCRIPT}:/model.py:ro", "--entrypoint", "/usr/bin/python3"),
            *(stack.image, "/model.py"),
        )
        wait_until(
            lambda: process.probe(["docker", "exec", found.container, "python3", "-c", _ASK]).ok,
            timeout=MODEL_SECONDS,
            interval=0.3,
            describe="the scripted model does not listen",
        )
        provider = {
            "name": TAG,
            "provider_type": "vllm",
            "api_key": "none",
            "base_url": f"http://{stack.address(found.container)}:{scripted_model.PORT}",
        }
        stack.client.call("POST", "/v1/providers/", provider)
        yield found
    finally:
        clear(stack, found)


_ASK = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{scripted_model.PORT}/v1/models')"


def clear(stack: Stage, found: Model) -> None:
    """Remove the model's container, the provider and the agents, also those of a run that was killed."""
    process.probe(["docker", "rm", "--force", "--volumes", found.container])
    with contextlib.suppress(
        requests.RequestException
    ):  # a broken stack keeps them for the next run
        for one in stack.client.call("GET", f"/v1/agents/?tags={TAG}&limit=1000"):
            stack.client.call("DELETE", f"/v1/agents/{one['id']}")
        for one in stack.client.call("GET", f"/v1/providers/?name={TAG}"):
            stack.client.call("DELETE", f"/v1/providers/{one['id']}")


@contextlib.contextmanager
def agents(stack: Stage) -> Iterator[Sequence[str]]:
    """Make new agents, for each fault its own, so that none begins with what the last one left."""
    body = {
        "name": TAG,
        "tags": [TAG],
        "model": f"{TAG}/{scripted_model.NAME}",
        "include_base_tools": False,
    }
    made: list[str] = []
    try:
        while len(made) < AGENTS:
            made += [str(stack.client.call("POST", "/v1/agents/", body)["id"])]
        yield made
    finally:
        with contextlib.suppress(requests.RequestException):  # `clear` comes by again
            for one in made:
                stack.client.call("DELETE", f"/v1/agents/{one}")
