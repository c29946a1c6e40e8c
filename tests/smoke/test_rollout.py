"""Servers are replaced while clients work: a deployment, one that was killed, one that cannot succeed, and the way back."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

import pytest
import requests

from letta_stack.base import process
from letta_stack.base.paths import ROOT, STATE
from letta_stack.base.wait import wait_until
from letta_stack.errors import DeployFailed
from letta_stack.operate import deploy, replicas
from letta_stack.topology import deployed
from tests.smoke import harness
from tests.smoke.conftest import arguments_of
from tests.smoke.test_agents import WORDS

if TYPE_CHECKING:
    from letta_client import Letta
    from letta_client.types import AgentState

    from tests.smoke.conftest import Deployment
    from tests.smoke.harness import Server

# After the tests that stop one server: what they leave is one more thing that a deployment has to cope with.
pytestmark = [pytest.mark.last, pytest.mark.only("prod")]

EACH_SECOND = 10


class Clients:
    """Requests at a steady rate until the block ends; ``failures`` is what did not go well."""

    def __init__(self, deployment: Server) -> None:
        self.url = f"{deployment.url}/v1/agents/?limit=1"
        self.headers = {"Authorization": f"Bearer {deployment.password}"}
        self.failures: list[str] = []
        self.sent = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        with ThreadPoolExecutor(50) as pool:
            started = time.monotonic()
            while not self._ended.is_set():
                pool.submit(self._one)
                self.sent += 1
                time.sleep(max(0.0, started + self.sent / EACH_SECOND - time.monotonic()))

    def _one(self) -> None:
        try:
            answer = requests.get(self.url, headers=self.headers, timeout=harness.REQUEST_SECONDS)
        except requests.RequestException as error:
            self.failures.append(str(error))
        else:
            if not answer.ok:
                self.failures.append(f"{answer.status_code} {answer.text[:100]}")


def containers(deployment: Deployment) -> list[str]:
    return [one.container for one in replicas.of(deployment.stack)]


def begin_and_kill(deployment: Deployment, image: str) -> None:
    """Run a deployment as an operator does and kill it as soon as there are new replicas."""
    before = containers(deployment)
    command = [sys.executable, "-m", "invoke", "deploy", *arguments_of(deployment.stack)]
    with subprocess.Popen([*command, "--image", image], cwd=ROOT) as child:
        wait_until(
            lambda: len(containers(deployment)) > len(before),
            timeout=harness.START_SECONDS,
            interval=0.2,
            describe="no new replica",
        )
        child.send_signal(signal.SIGKILL)
    assert deployed.unfinished(deployment.stack.name) is not None


# Four times two servers start; the product bounds each wait by itself.
@pytest.mark.timeout(900, func_only=True)
def test_nobody_notices_a_deployment_and_the_way_back(
    deployment: Deployment, client: Letta, agent: AgentState
) -> None:
    stack = deployment.stack
    before = containers(deployment)
    streamed: list[str] = []

    def listen() -> None:
        with client.agents.messages.create(
            agent.id, input=WORDS, streaming=True, stream_tokens=True
        ) as stream:
            streamed.extend(
                str(event.content) for event in stream if event.message_type == "assistant_message"
            )

    try:
        with harness.variant("next", "LABEL smoke=next") as image, Clients(deployment) as clients:
            begin_and_kill(deployment, image)
            listener = threading.Thread(target=listen)
            listener.start()
            deploy.deploy(stack, deploy.Order(image=image))
            listener.join(timeout=harness.REQUEST_SECONDS)
            after = containers(deployment)

            with (
                harness.variant("broken", 'ENTRYPOINT ["false"]') as broken,
                pytest.raises(DeployFailed, match="the old replicas serve on"),
            ):
                deploy.deploy(stack, deploy.Order(image=broken, backup=False))
            assert containers(deployment) == after

            deploy.rollback(stack, dry_run=False)

        assert clients.failures == []
        assert clients.sent > EACH_SECOND
        assert "".join(streamed) == f"STUB:{WORDS}"
        assert len(after) == len(before) == len(containers(deployment))
        assert not set(before) & set(after)
        first, second, third = deployed.history(stack.name)
        assert (first.tag, second.reference) == (third.tag, image)
        assert second.backup
        assert client.agents.retrieve(agent.id).name == agent.name
    finally:
        for one in deployed.history(stack.name):
            process.probe(["docker", "image", "rm", one.tag])
        shutil.rmtree(STATE / stack.name, ignore_errors=True)
