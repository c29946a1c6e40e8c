"""What an operator of a cluster counts on: pods that the cluster itself restricts, verbs that reach them, updates that nobody notices."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml

from letta_stack import errors
from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.operate import store
from letta_stack.topology import trial_cluster
from letta_stack.topology.catalogue import GATEWAY, SERVER
from letta_stack.topology.runners.kubernetes import CLUSTER
from tests.smoke import harness, on_kubernetes
from tests.smoke.clients import Clients
from tests.smoke.on_kubernetes import FLAGS, NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

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


def test_the_files_are_what_kubectl_applies(deployment: OnKubernetes, tmp_path: Path) -> None:
    directory = tmp_path / "manifests"
    on_kubernetes.inv("render", "--project", NAMESPACE, "--host", "a.test", "--out", str(directory))

    tried = process.capture(
        deployment.cluster.argv(
            *("apply", "--server-side", "--dry-run=server", "--field-manager=somebody"),
            *("--force-conflicts", "--kustomize", str(directory)),
        )
    )

    assert f"deployment.apps/{SERVER} serverside-applied (server dry run)" in tried
    assert f"ingress.networking.k8s.io/{GATEWAY.name}" in tried


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


@pytest.fixture
def other(deployment: OnKubernetes) -> Iterator[str]:
    """Another namespace, which is there and empty."""
    name = f"{NAMESPACE}-other"
    process.run(deployment.cluster.argv("create", "namespace", name))
    yield name
    process.run(deployment.cluster.argv("delete", "namespace", name, "--wait=false"))


def left(deployment: OnKubernetes, namespace: str) -> list[str]:
    """Return what is in a namespace, but for what the cluster puts into each."""
    kinds = (
        "pods,deployments,statefulsets,jobs,services,networkpolicies,secrets,persistentvolumeclaims"
    )
    asked = deployment.cluster.argv("get", kinds, "--output=name", f"--namespace={namespace}")
    return process.capture(asked).split()


def test_a_quota_that_an_update_would_exceed_is_refused_before_anything_is_there(
    deployment: OnKubernetes, other: str
) -> None:
    where = f"--namespace={other}"
    quota = deployment.cluster.argv("create", "quota", "room", "--hard=pods=10", where)
    process.run(quota)

    trial = ("--context", trial_cluster.CONTEXT, "--project", other, "--database", "trial")
    code, said = refused("up", "--env", "kubernetes", *trial)

    assert code == errors.QuotaTooSmall.exit_code, said
    assert "leaves 10 of pods, and 11 more are needed" in said
    assert left(deployment, other) == []


def test_an_image_that_no_node_gets_is_refused_before_anything_is_there(
    deployment: OnKubernetes, other: str
) -> None:
    # Under another name it is a cluster like any other, whose images come from registries.
    where = ("--context", f"{trial_cluster.CONTEXT}-admin", "--project", other)
    trial = (*where, "--database", "trial")
    code, said = refused("up", "--env", "kubernetes", *trial, config=str(CLUSTER / "config"))

    assert code == errors.NodesCannotPull.exit_code, said
    assert "nothing was applied" in said
    harness.expect(
        lambda: left(deployment, other) == [],
        timeout=harness.START_SECONDS,
        what=lambda: f"{other} still has {left(deployment, other)}",
    )


@pytest.mark.last(order=1)
@pytest.mark.timeout(ROLLOUT_SECONDS, func_only=True)
def test_what_was_deleted_comes_back_from_a_backup(
    deployment: OnKubernetes, client: Letta, agent: AgentState, tmp_path: Path
) -> None:
    there = ("--dir", str(tmp_path / "backups"), "--clear-secrets")
    on_kubernetes.inv("backup.create", *FLAGS, *there)
    on_kubernetes.inv("backup.verify", *FLAGS, *there[:2])
    (before,) = store.every(tmp_path / "backups")
    assert before.verified
    assert before.manifest is not None
    client.agents.delete(agent.id)

    on_kubernetes.inv("backup.restore", *FLAGS, *there, "--backup", str(before.directory), "--yes")

    assert client.agents.retrieve(agent.id).name == agent.name
    assert len(store.every(tmp_path / "backups")) == 2  # with what was there without the agent


@pytest.mark.last(order=1)
@pytest.mark.timeout(3 * ROLLOUT_SECONDS, func_only=True)
def test_nobody_notices_an_update_nor_one_that_fails_nor_the_way_back(
    deployment: OnKubernetes, client: Letta, agent: AgentState
) -> None:
    replaced = (SERVER, GATEWAY.name)
    before = names([one for service in replaced for one in deployment.pods(service)])

    with (
        harness.variant("next", "LABEL smoke=next") as following,
        harness.variant("broken", 'ENTRYPOINT ["false"]') as broken,
        Clients(deployment) as clients,
    ):
        on_kubernetes.inv("restart", *FLAGS, "--service", GATEWAY.name)
        on_kubernetes.inv("deploy", *FLAGS, "--image", following)
        code, said = refused("deploy", *FLAGS, "--image", broken)
        assert (code, "run" in said) == (errors.DeployFailed.exit_code, True), said
        deployed = names(deployment.pods(SERVER))
        on_kubernetes.inv("rollback", *FLAGS)
        harness.expect(
            lambda: not any(one.state == "stopping" for one in deployment.cluster.states()),
            timeout=harness.START_SECONDS,
            what=lambda: f"pods still end: {deployment.cluster.states()}",
        )

    assert clients.failures == [], f"of {clients.sent}"
    after = names([one for service in replaced for one in deployment.pods(service)])
    assert len(after) == len(before)
    assert not after & (before | deployed)
    assert client.agents.retrieve(agent.id).name == agent.name


@pytest.mark.last(order=2)
@pytest.mark.timeout(ROLLOUT_SECONDS, func_only=True)
def test_a_node_that_is_killed_comes_back_with_its_data(
    deployment: OnKubernetes, agent: AgentState
) -> None:
    headers = {"Authorization": f"Bearer {deployment.password}"}
    answers = []

    def remembered() -> bool:
        address = f"{on_kubernetes.outside()}/v1/agents/{agent.id}"
        with contextlib.suppress(requests.RequestException):
            answer = requests.get(address, headers=headers, timeout=harness.REQUEST_SECONDS)
            answers.append(f"{answer.status_code} {answer.text[:100]}")
            return answer.ok and answer.json()["name"] == agent.name
        return False

    process.run(["docker", "kill", trial_cluster.NAME])
    on_kubernetes.inv("cluster.up")
    deployment.up()

    harness.expect(remembered, timeout=harness.START_SECONDS, what=lambda: f"{answers[-1:]}")
