"""`inv deploy` and `inv rollback` on Kubernetes, with a cluster that answers as a test says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.errors import (
    DeployFailed,
    DeployRefused,
    NothingToRollBack,
    NotRunning,
    RolloutFailed,
)
from letta_stack.image.sources import Sources
from letta_stack.operate import rollout
from letta_stack.operate.deploy import Order
from letta_stack.topology import cluster_lifecycle
from letta_stack.topology.catalogue import SERVER
from letta_stack.topology.cluster_state import refuse_broken
from letta_stack.topology.clustered import Clustered
from letta_stack.topology.deployed import IMAGE_VARIABLE
from letta_stack.topology.runners.compose import Compose
from tests.support import compose_model, fake_cluster
from tests.support.fake_cluster import RUNNING, Cluster

if TYPE_CHECKING:
    from pathlib import Path

SOURCES = Sources(images="auto", otelcol="auto", letta_source=None, ca=None)
CHOSEN = Clustered.of("kubernetes", context="mine")
BROKEN = {
    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
    "ready": False,
    "restartCount": 3,
    "image": "x",
}


@pytest.fixture(autouse=True)
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Replace kubectl; compose renders the image that its variable names."""
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    compose_model.write_files(mounted)

    def config(compose: Compose) -> dict[str, Any]:
        found = compose_model.model(mounted)
        own = found["services"][SERVER]["image"]
        for one in found["services"].values():
            if one["image"] == own:
                one["image"] = compose.variables.get(IMAGE_VARIABLE, own)
        return found

    monkeypatch.setattr(Compose, "config", config)
    return fake_cluster.replaced(monkeypatch, Cluster())


def start(**given: str) -> None:
    with_flags = Clustered.of("kubernetes", context="mine", **given)
    cluster_lifecycle.up(with_flags, SOURCES, yes=False)


def deploy(image: str, *, dry_run: bool = False, maintenance: bool = False) -> None:
    order = Order(image=image, dry_run=dry_run, maintenance=maintenance)
    rollout.deploy(CHOSEN, order, yes=False)


def test_a_deployment_repeats_the_choices_of_up_with_another_image(cluster: Cluster) -> None:
    start(replicas="3", host="a.example.org")

    deploy("me/letta:2")

    server = next(
        one
        for one in reversed(cluster.applied)
        if one["kind"] == "Deployment" and one["metadata"]["name"] == SERVER
    )
    assert server["spec"]["replicas"] == 3
    assert server["spec"]["template"]["spec"]["containers"][0]["image"] == "me/letta:2"
    assert cluster.applied[-1]["kind"] == "Ingress"


def test_a_dry_run_says_what_would_be_and_applies_nothing(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    start()
    before = len(cluster.applied)

    deploy("me/letta:2", dry_run=True)

    assert len(cluster.applied) == before
    (pod,) = cluster.tools  # which reads the migrations of the image
    assert cluster.commands[-1][:3] == ["delete", "pod", pod["metadata"]["name"]]
    assert "-> me/letta:2" in capsys.readouterr().err


def test_what_is_elsewhere_is_not_backed_up_and_that_is_said(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    start()

    deploy("me/letta:2")

    said = capsys.readouterr().err
    assert "backup     none: letta-stack-kubernetes has --database external" in said
    assert "migration  none" in said
    assert cluster.images[cluster.revision] == "me/letta:2"


BREAKING = """[["a", "", ""], ["b", "a", ""], ["c", "b", "op.drop_column('x')"]]"""


def test_a_migration_that_servers_would_not_survive_wants_a_pause(cluster: Cluster) -> None:
    start(replicas="3")
    cluster.migrations = BREAKING
    before = len(cluster.applied)

    with pytest.raises(DeployRefused, match=r"would not survive 1 steps .*\(c\).*--maintenance"):
        deploy("me/letta:2")
    assert cluster.images[cluster.revision] != "me/letta:2"
    assert len(cluster.applied) == before

    deploy("me/letta:2", maintenance=True)
    scaled = [words for words in cluster.commands if words[0] == "scale"]
    assert [words[-1] for words in scaled] == ["--replicas=0", "--replicas=3"]
    assert cluster.images[cluster.revision] == "me/letta:2"


def test_an_image_that_does_not_know_the_schema_is_refused(cluster: Cluster) -> None:
    start()
    deploy("me/letta:2")
    cluster.schema = "newer"

    unknown = "revision newer, which this image does not know"
    with pytest.raises(DeployRefused, match=unknown):
        deploy("me/letta:3")
    with pytest.raises(DeployRefused, match=unknown):
        rollout.rollback(CHOSEN, dry_run=False, yes=False)
    assert cluster.images[cluster.revision] == "me/letta:2"


def test_servers_that_do_not_start_are_taken_back(cluster: Cluster) -> None:
    start()
    cluster.broken = {2: BROKEN}

    with pytest.raises(DeployFailed, match=r"back-off.*the servers run .* again"):
        deploy("me/letta:2")

    assert f"deployment/{SERVER}" in cluster.undone
    assert cluster.revision == 1


def test_what_up_did_not_start_is_not_deployed_to(cluster: Cluster) -> None:
    with pytest.raises(NotRunning, match="inv up --env kubernetes"):
        deploy("me/letta:2")
    start()
    for one in cluster.applied:
        one["metadata"].pop("annotations", None)

    with pytest.raises(DeployRefused, match="`inv up` did not start"):
        deploy("me/letta:2")


def test_a_rollback_takes_the_newest_revision_with_another_image(cluster: Cluster) -> None:
    start()
    with pytest.raises(NothingToRollBack, match="inv deploy --env kubernetes --context mine"):
        rollout.rollback(CHOSEN, dry_run=False, yes=False)
    deploy("me/letta:2")
    deploy("me/letta:3")

    rollout.rollback(CHOSEN, dry_run=True, yes=False)
    assert cluster.undone == []
    rollout.rollback(CHOSEN, dry_run=False, yes=False)

    assert cluster.undone == [f"deployment/{SERVER}"]
    assert cluster.images[cluster.revision] == "me/letta:2"


def test_a_rollback_that_fails_is_taken_back(cluster: Cluster) -> None:
    start()
    deploy("me/letta:2")
    cluster.broken = {1: BROKEN}

    with pytest.raises(DeployFailed, match="the servers run me/letta:2 again"):
        rollout.rollback(CHOSEN, dry_run=False, yes=False)

    assert cluster.images[cluster.revision] == "me/letta:2"


def test_pods_of_an_older_revision_may_be_broken() -> None:
    def labelled(kind: str, template: str, **body: Any) -> dict[str, Any]:
        labels = {"app.kubernetes.io/name": SERVER, "pod-template-hash": template}
        return {"kind": kind, "metadata": {"name": template, "labels": labels}, **body}

    def revised(one: dict[str, Any], number: str) -> dict[str, Any]:
        one["metadata"] |= {
            "annotations": {"deployment.kubernetes.io/revision": number},
            "generation": 2,
        }
        return one

    bad = {"containerStatuses": [BROKEN]}
    good = {"containerStatuses": [RUNNING]}
    seen = [
        revised(labelled("Deployment", "", status={"observedGeneration": 2}), "2"),
        revised(labelled("ReplicaSet", "old"), "1"),
        revised(labelled("ReplicaSet", "new"), "2"),
        labelled("Pod", "old", status=bad),
        labelled("Pod", "new", status=good),
    ]
    refuse_broken(seen)

    seen[-1]["status"] = bad
    with pytest.raises(RolloutFailed, match="back-off"):
        refuse_broken(seen)
    seen[-1]["metadata"]["deletionTimestamp"] = "now"
    refuse_broken(seen)
