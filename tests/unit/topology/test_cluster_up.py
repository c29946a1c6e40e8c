"""`inv up --env kubernetes` and what is between, with a cluster that answers as a test says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from letta_stack.base.paths import ROOT
from letta_stack.errors import (
    BadValue,
    ClusterLacks,
    ClusterTooOld,
    ClusterUnreachable,
    ContextUnknown,
    LettaStackError,
    NodesCannotPull,
    NotConfirmed,
    NotExpressible,
    NotRunning,
    QuotaTooSmall,
    RightsMissing,
    RolloutFailed,
)
from letta_stack.image.sources import Sources
from letta_stack.secrets import store
from letta_stack.topology import cluster_lifecycle
from letta_stack.topology.clustered import Clustered
from letta_stack.topology.runners.compose import Compose
from tests.support import compose_model, fake_cluster
from tests.support.fake_cluster import RUNNING, Cluster

if TYPE_CHECKING:
    from pathlib import Path

QUOTA = {
    "kind": "ResourceQuota",
    "metadata": {"name": "room"},
    "spec": {"hard": {"pods": "1"}},
}
SOURCES = Sources(images="auto", otelcol="auto", letta_source=None, ca=None)


@pytest.fixture(autouse=True)
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    compose_model.write_files(mounted)
    found = compose_model.model(mounted)
    monkeypatch.setattr(Compose, "config", lambda _: found)
    return found


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return fake_cluster.replaced(monkeypatch, Cluster())


def chosen(**given: str) -> Clustered:
    return Clustered.of("kubernetes", context="mine", **given)


def up(**given: str) -> None:
    cluster_lifecycle.up(chosen(**given), SOURCES, yes=False)


def test_all_is_tried_by_the_api_server_before_it_is_applied(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    up()

    assert [one["kind"] for one in cluster.tried] == [one["kind"] for one in cluster.applied[1:]]
    said = capsys.readouterr()
    assert "port-forward service/letta-nginx 8283:80" in said.out
    assert "values of the model have no counterpart on Kubernetes" in said.err


def test_the_migration_ends_before_the_servers_are_applied(cluster: Cluster) -> None:
    up()

    order = [one["metadata"]["name"] for one in cluster.applied]
    (job,) = [name for name in order if name.startswith("letta-migrate-")]
    assert order.index(job) < order.index("letta-server", order.index("letta-server") + 1)
    apply = [number for number, words in enumerate(cluster.commands) if words[0] == "apply"]
    jobs = [
        number for number, words in enumerate(cluster.commands) if words[:2] == ["get", "jobs,pods"]
    ]
    assert apply[-2] < jobs[0] < apply[-1]


def test_a_trial_makes_its_own_passwords_and_hands_them_over_on_standard_input(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: dict[str, Any]
) -> None:
    monkeypatch.setattr(store, "SECRETS", tmp_path / "secrets")
    directory = tmp_path / "secrets" / "letta-stack-kubernetes"
    for name, file in (("database-uri", "database-uri"), ("database-login", "database-login.sql")):
        model["secrets"][name]["file"] = str(directory / file)

    up(database="trial")

    (secret,) = [one for one in cluster.applied if one["kind"] == "Secret"]
    assert set(secret["data"]) == {"database-uri", "database-login"}
    password = (directory / "server-password").read_text().strip()
    assert not any(password in word for words in cluster.commands for word in words)


def test_keys_of_the_environment_are_a_secret(cluster: Cluster, model: dict[str, Any]) -> None:
    model["services"]["letta-server"]["environment"]["OPENAI_API_KEY"] = "sk-1"

    up()

    (secret,) = [one for one in cluster.applied if one["kind"] == "Secret"]
    assert secret["metadata"]["name"] == "letta-server-environment"
    assert secret["stringData"] == {"OPENAI_API_KEY": "sk-1"}


@pytest.mark.parametrize(
    ("differs", "given", "error", "said"),
    [
        ({"contexts": ()}, {}, ContextUnknown, "there are: none"),
        ({"contexts": ("other",)}, {}, ContextUnknown, "there are: other"),
        ({"silent": True}, {}, ClusterUnreachable, "connection refused"),
        ({"version": ("1", "33+")}, {}, ClusterTooOld, "v1.33"),
        ({}, {"host": "a", "gateway": "b"}, ClusterLacks, "no gateway.networking.k8s.io/v1"),
        (
            {"forbidden": ["create deployments.apps"]},
            {},
            RightsMissing,
            "may not create deployments.apps",
        ),
        (
            {"forbidden": ["patch networkpolicies.networking.k8s.io"]},
            {},
            RightsMissing,
            "networkpolicies",
        ),
        ({"classes": {"slow": False}}, {}, ClusterLacks, "no default storage class"),
        (
            {},
            {"storage_class": "other"},
            ClusterLacks,
            "--storage-class 'other': the cluster has fast",
        ),
        ({"secret_keys": ()}, {}, ClusterLacks, "the Secret letta-secrets"),
        ({"refuses": "exceeded quota"}, {}, NotExpressible, "exceeded quota"),
        (
            {"limits": [QUOTA]},
            {},
            QuotaTooSmall,
            "the quota room of letta-stack-kubernetes leaves 1",
        ),
        (
            {"pull": {"waiting": {"reason": "ErrImagePull"}}},
            {},
            NodesCannotPull,
            "nothing was applied",
        ),
    ],
)
def test_a_cluster_that_cannot_take_it_is_refused_before_anything_runs(
    cluster: Cluster,
    differs: dict[str, Any],
    given: dict[str, str],
    error: type[LettaStackError],
    said: str,
) -> None:
    vars(cluster).update(differs)

    with pytest.raises(error) as refused:
        up(**given)

    assert said in str(refused.value)
    assert {one["kind"] for one in cluster.applied} <= {"Namespace"}


def test_a_namespace_of_somebody_else_is_used_as_it_is(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.prepared = True
    cluster.forbidden = ["create namespaces", "patch namespaces", "list storageclasses"]

    up()

    assert "Namespace" not in {one["kind"] for one in cluster.applied}
    assert "is not yours" in capsys.readouterr().err


def test_a_context_that_looks_like_production_must_be_meant(cluster: Cluster) -> None:
    cluster.contexts = ("eu-production",)
    with pytest.raises(ContextUnknown, match="looks like production; add --yes"):
        cluster_lifecycle.up(Clustered.of("kubernetes"), SOURCES, yes=False)
    assert cluster.applied == []

    cluster_lifecycle.up(Clustered.of("kubernetes"), SOURCES, yes=True)
    assert cluster.applied != []


def waiting(reason: str, restarts: int = 0) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": f"because of {reason}"}}
    return {**RUNNING, "ready": False, "state": state, "restartCount": restarts}


@pytest.mark.parametrize(
    ("differs", "error", "said"),
    [
        ({"pod": waiting("ErrImagePull")}, NodesCannotPull, "because of ErrImagePull"),
        ({"pod": waiting("CrashLoopBackOff", 3)}, RolloutFailed, "because of CrashLoopBackOff"),
        (
            {"pod": waiting("CreateContainerConfigError")},
            RolloutFailed,
            "CreateContainerConfigError",
        ),
        (
            {"job": {"conditions": [{"type": "Failed", "status": "True"}]}},
            RolloutFailed,
            "the migration failed",
        ),
        (
            {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "quota"}]},
            RolloutFailed,
            "quota; what ran before serves on",
        ),
        (
            {"conditions": [{"type": "Progressing", "status": "False", "message": "deadline"}]},
            RolloutFailed,
            "deadline",
        ),
    ],
)
def test_what_does_not_come_up_ends_the_wait(
    cluster: Cluster, differs: dict[str, Any], error: type[LettaStackError], said: str
) -> None:
    vars(cluster).update(differs)

    with pytest.raises(error) as refused:
        up()

    assert said in str(refused.value)


def test_what_takes_too_long_is_said_pod_by_pod(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.job = {}
    monkeypatch.setattr(cluster_lifecycle, "MIGRATION_SECONDS", 0.0)

    with pytest.raises(RolloutFailed, match=r"not ready after 0 s: .*letta-migrate"):
        up()


def test_the_pods_are_handled_by_their_names(cluster: Cluster) -> None:
    up()
    cluster.commands.clear()

    assert cluster_lifecycle.ps(chosen()) == 0
    assert cluster_lifecycle.logs(chosen(), service="letta-db", tail=5, follow=True) == 0
    assert cluster_lifecycle.execute(chosen(), service="", command=["id"]) == 0
    cluster_lifecycle.restart(chosen(), service="letta-server")

    said = [" ".join(words) for words in cluster.commands]
    assert any("--tail 5 --follow" in line and "name=letta-db" in line for line in said)
    assert any(line.startswith("exec --stdin letta-") and line.endswith("-- id") for line in said)
    assert "rollout restart deployment/letta-server" in said


def test_what_does_not_run_cannot_be_handled(cluster: Cluster) -> None:
    with pytest.raises(NotRunning, match="inv up --env kubernetes --context mine"):
        cluster_lifecycle.restart(chosen(), service="")
    with pytest.raises(BadValue, match="no command given"):
        cluster_lifecycle.execute(chosen(), service="", command=[])
    with pytest.raises(BadValue, match="--service 'x'"):
        cluster_lifecycle.restart(chosen(), service="x")


def test_down_keeps_the_data_unless_it_is_told_to_delete_them(cluster: Cluster) -> None:
    cluster_lifecycle.down(chosen(), volumes=False, yes=False)
    removed, awaited = cluster.commands[-2:]
    assert removed[0] == "delete"
    assert "persistentvolumeclaims" not in removed[1]
    assert awaited[:3] == ["wait", "--for=delete", "pods"]

    with pytest.raises(NotConfirmed):
        cluster_lifecycle.down(chosen(), volumes=True, yes=False)
    cluster_lifecycle.down(chosen(), volumes=True, yes=True)
    assert cluster.commands[-1][:3] == ["delete", "namespace", "letta-stack-kubernetes"]


def test_the_trial_cluster_s_own_files_parse() -> None:
    directory = ROOT / "images" / "kubernetes" / "node"
    kinds = [
        yaml.safe_load((directory / name).read_text().replace("@NUMBER@", "1"))["kind"]
        for name in ("kubelet.yaml", "class.yaml", "volume.yaml")
    ]

    assert kinds == ["KubeletConfiguration", "StorageClass", "PersistentVolume"]
