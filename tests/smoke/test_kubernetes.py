"""What an operator of a cluster counts on: pods that the cluster itself restricts, verbs that reach them, updates that nobody notices."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from letta_stack import errors
from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.topology import trial_cluster
from letta_stack.topology.catalogue import GATEWAY, SERVER
from letta_stack.topology.runners.kubernetes import CLUSTER
from tests.smoke import harness, on_kubernetes
from tests.smoke.on_kubernetes import FLAGS, NAMESPACE
from tests.smoke.test_rollout import Clients

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letta_client import Letta
    from letta_client.types import AgentState

    from tests.smoke.on_kubernetes import OnKubernetes

pytestmark = pytest.mark.only("kubernetes")

# The product bounds each wait by itself.
ROLLOUT_SECONDS = 900


def names(pods: Sequence[Any]) -> set[str]:
    return {one.container for one in pods}


def refused(*arguments: str, config: str = "") -> tuple[int, str]:
    """Run a task that must fail; return its exit code and what it says last."""
    environment = {**os.environ, **({"KUBECONFIG": config} if config else {})}
    command = [sys.executable, "-m", "invoke", *arguments]
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    return ended.returncode, ended.stderr.strip().splitlines()[-1]


def test_every_pod_runs_and_the_cluster_refuses_one_with_rights(deployment: OnKubernetes) -> None:
    running = [one.service for one in deployment.pods() if one.ready]
    assert running.count(SERVER) == running.count(GATEWAY.name) == 2

    pod = yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "root"},
            "spec": {"containers": [{"name": "root", "image": "root"}]},
        }
    )
    tried = process.probe(
        deployment.cluster.argv("apply", "--dry-run=server", "--filename", "-"), stdin=pod
    )
    assert not tried.ok
    assert 'violates PodSecurity "restricted' in tried.stderr


def test_no_server_has_a_token_or_what_others_need(deployment: OnKubernetes) -> None:
    assert deployment.execute("id", "-u").strip() == "10001"
    files = deployment.execute("sh", "-c", "ls /run/secrets /var/run/secrets/*").split()
    assert "server-password" in files
    assert not {"token", "redis-users", "database-login.sql"} & set(files)
    assert "_SERVICE_HOST" not in deployment.execute("env").replace("KUBERNETES_SERVICE_HOST", "")


def test_the_verbs_of_one_host_reach_the_pods(deployment: OnKubernetes) -> None:
    command = [sys.executable, "-m", "invoke"]
    where = [*FLAGS, "--service", SERVER]

    shown = process.capture([*command, "ps", *FLAGS], cwd=ROOT)
    assert names(deployment.pods()) <= set(shown.split())
    logged = process.capture([*command, "logs", *where, "--tail", "5"], cwd=ROOT).splitlines()
    assert {line.partition("]")[0] for line in logged} == {
        f"[pod/{one.container}/{SERVER}" for one in deployment.pods(SERVER)
    }
    assert process.capture([*command, "exec", *where, "--", "id", "-u"], cwd=ROOT) == "10001\n"
    assert refused("exec", *where, "--", "sh", "-c", "exit 7")[0] == 7


@pytest.mark.timeout(ROLLOUT_SECONDS, func_only=True)
def test_a_second_up_replaces_no_pod(deployment: OnKubernetes) -> None:
    before = names(deployment.pods())

    deployment.up()

    assert names(deployment.pods()) == before


@pytest.mark.parametrize(
    ("flags", "error", "said"),
    [
        (("--context", "nowhere"), errors.ContextUnknown, "nowhere"),
        (("--context", "letta-stack-nobody"), errors.RightsMissing, "may not create"),
        (("--storage-class", "fast"), errors.ClusterLacks, "the cluster has local"),
        (("--host", "a.test", "--gateway", "g"), errors.ClusterLacks, "HTTPRoute"),
        (("--database", "external"), errors.ClusterLacks, "the Secret letta-secrets"),
    ],
)
def test_what_a_cluster_cannot_take_is_refused_before_anything_is_there(
    deployment: OnKubernetes, flags: Sequence[str], error: type[errors.LettaStackError], said: str
) -> None:
    other = f"{NAMESPACE}-refused"
    given = dict(zip(flags[::2], flags[1::2], strict=True))
    usual = {"--context": trial_cluster.CONTEXT, "--project": other, "--database": "trial"}
    words = [word for pair in (usual | given).items() for word in pair]

    code, text = refused("up", "--env", "kubernetes", *words, config=str(CLUSTER / "config"))

    assert (code, said in text) == (error.exit_code, True), text
    assert not process.probe(deployment.cluster.argv("get", "namespace", other)).ok


@pytest.mark.last(order=1)
@pytest.mark.timeout(ROLLOUT_SECONDS, func_only=True)
def test_nobody_notices_that_servers_and_gateways_are_replaced(
    deployment: OnKubernetes, client: Letta, agent: AgentState
) -> None:
    before = names(deployment.pods(SERVER) + deployment.pods(GATEWAY.name))

    with Clients(deployment) as clients:
        for service in (SERVER, GATEWAY.name):
            on_kubernetes.inv("restart", *FLAGS, "--service", service)
        harness.expect(
            lambda: not any(one.state == "stopping" for one in deployment.cluster.states()),
            timeout=harness.START_SECONDS,
            what=lambda: f"pods still end: {deployment.cluster.states()}",
        )

    assert clients.failures == []
    after = names(deployment.pods(SERVER) + deployment.pods(GATEWAY.name))
    assert len(after) == len(before)
    assert not after & before
    assert client.agents.retrieve(agent.id).name == agent.name


@pytest.mark.last(order=2)
@pytest.mark.timeout(ROLLOUT_SECONDS, func_only=True)
def test_a_database_that_loses_its_pod_keeps_its_data(
    deployment: OnKubernetes, client: Letta, agent: AgentState
) -> None:
    process.run(
        deployment.cluster.argv("delete", "pod", "letta-db-0", "--grace-period=0", "--force")
    )

    deployment.up()

    assert client.agents.retrieve(agent.id).name == agent.name
