"""The nodes are asked for the images before anything is applied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.errors import NodesCannotPull
from letta_stack.topology import cluster_pull
from letta_stack.topology.render import files
from letta_stack.topology.render.kubernetes import manifests
from letta_stack.topology.render.kubernetes.options import TRIAL, Options
from letta_stack.topology.runners.kubernetes import Kubernetes
from tests.support import compose_model, fake_cluster
from tests.support.fake_cluster import Cluster

if TYPE_CHECKING:
    from pathlib import Path

Object = dict[str, Any]
RUNNER = Kubernetes("mine", "")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return fake_cluster.replaced(monkeypatch, Cluster())


@pytest.fixture
def objects(tmp_path: Path) -> list[Object]:
    compose_model.write_files(tmp_path)
    found = compose_model.model(tmp_path)
    return manifests.render(found, files.read(found), Options("mine", database=TRIAL)).all


def removed(cluster: Cluster) -> list[str]:
    return [words[2] for words in cluster.commands if words[:2] == ["delete", "pod"]]


def test_each_image_is_tried_once_and_the_pod_is_removed(
    cluster: Cluster, objects: list[Object]
) -> None:
    cluster_pull.check(RUNNER, objects)

    (pod,) = cluster.trying
    images = [one["image"] for one in pod["spec"]["containers"]]
    assert images == sorted({compose_model.IMAGE, "nginx:1", "pgvector:1", "redis:7"})
    assert removed(cluster) == [pod["metadata"]["name"]]


def test_the_pod_is_one_that_a_restricted_namespace_with_a_quota_takes(
    cluster: Cluster, objects: list[Object]
) -> None:
    cluster_pull.check(RUNNER, objects)

    spec = cluster.trying[0]["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert not spec["automountServiceAccountToken"]
    for container in spec["containers"]:
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"] == container["resources"]["limits"]


def test_images_of_ready_pods_are_not_asked_for(cluster: Cluster, objects: list[Object]) -> None:
    cluster.applied = objects

    cluster_pull.check(RUNNER, objects)

    assert cluster.trying == []


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"])
def test_an_image_that_no_node_gets_is_refused_and_the_pod_is_removed(
    cluster: Cluster, objects: list[Object], reason: str
) -> None:
    cluster.pull = {"waiting": {"reason": reason, "message": "not found"}}

    with pytest.raises(NodesCannotPull, match=r"not found; .* nothing was applied"):
        cluster_pull.check(RUNNER, objects)

    assert len(removed(cluster)) == 1
    assert cluster.applied == []


def test_a_program_that_is_missing_in_an_image_says_that_the_image_is_there(
    cluster: Cluster, objects: list[Object]
) -> None:
    cluster.pull = {"waiting": {"reason": "CreateContainerError"}}

    cluster_pull.check(RUNNER, objects)

    assert len(removed(cluster)) == 1


def test_what_takes_too_long_is_left_to_the_rollout(
    cluster: Cluster,
    objects: list[Object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cluster_pull, "PULL_SECONDS", 0)
    cluster.pull = {"waiting": {"reason": "ContainerCreating"}}

    cluster_pull.check(RUNNER, objects)

    assert "the rollout waits for them" in capsys.readouterr().err
    assert len(removed(cluster)) == 1


def test_who_may_not_make_pods_is_told(
    cluster: Cluster, objects: list[Object], capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.forbidden = ["create pods"]

    cluster_pull.check(RUNNER, objects)

    assert "may not make a pod" in capsys.readouterr().err
    assert cluster.trying == []
