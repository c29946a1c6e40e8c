"""Servers are replaced while clients work: a deployment, one that was killed, one that cannot succeed, and the way back."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from letta_stack.base.paths import ROOT, STATE
from letta_stack.base.wait import wait_until
from letta_stack.errors import DeployFailed
from letta_stack.operate import deploy, replicas
from letta_stack.topology import deployed
from tests.smoke import harness
from tests.smoke.clients import EACH_SECOND, Clients
from tests.smoke.conftest import arguments_of
from tests.smoke.test_agents import WORDS

if TYPE_CHECKING:
    from letta_client import Letta
    from letta_client.types import AgentState

    from tests.smoke.conftest import Deployment

# After the tests that stop one server: what they leave is one more thing that a deployment has to cope with.
pytestmark = [pytest.mark.last, pytest.mark.only("prod")]


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
