"""A namespace's own limits, held against what `inv up --env kubernetes` would apply."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.errors import QuotaTooSmall
from letta_stack.topology import cluster_needs, cluster_quota
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
GIB = 1024**3


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return fake_cluster.replaced(monkeypatch, Cluster())


@pytest.fixture
def model(tmp_path: Path) -> Object:
    compose_model.write_files(tmp_path)
    found = compose_model.model(tmp_path)
    for service in found["services"].values():
        service["deploy"] = {
            **service.get("deploy", {}),
            "resources": {
                "limits": {"cpus": 1, "memory": str(2 * GIB)},
                "reservations": {"cpus": 0.5, "memory": str(GIB)},
            },
        }
    return found


def objects(model: Object, **options: Any) -> list[Object]:
    chosen = Options("mine", **{"database": TRIAL, **options})
    return manifests.render(model, files.read(model), chosen).all


def quota(used: dict[str, str] | None = None, **spec: Any) -> Object:
    return {
        "kind": "ResourceQuota",
        "metadata": {"name": "room"},
        "spec": spec,
        "status": {"used": used or {}},
    }


def limit_range(kind: str, **limits: Any) -> Object:
    return {
        "kind": "LimitRange",
        "metadata": {"name": "l"},
        "spec": {"limits": [{"type": kind, **limits}]},
    }


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("500m", "0.5"),
        ("2", "2"),
        ("1Gi", "1073741824"),
        ("1.5k", "1500"),
        ("4096", "4096"),
        ("1e3", "1000"),
    ],
)
def test_quantities_are_read_as_kubernetes_does(text: str, number: str) -> None:
    assert cluster_needs.quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["Gi", "x", "1 Gi", "1Zi"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        cluster_needs.quantity(text)


def test_the_peak_of_an_update_has_one_more_pod_of_what_is_replaced_one_by_one(
    model: Object,
) -> None:
    counts = {name: count for name, count, _ in cluster_needs.pods(objects(model, replicas=3))}

    migration = next(name for name in counts if name.startswith("letta-migrate"))
    assert counts == {
        "letta-collector": 1,  # recreated, for its volume
        "letta-db": 1,
        "letta-nginx": 4,
        "letta-redis": 2,
        "letta-server": 4,
        migration: 1,
    }


def test_the_autoscaler_begins_with_its_least(model: Object) -> None:
    counts = {
        name: count for name, count, _ in cluster_needs.pods(objects(model, replicas=2, most=9))
    }

    assert counts["letta-server"] == 3


# With two servers: 3 + 3 + 2 + 1 + 1 + 1 pods of half a processor and a gibibyte each.
@pytest.mark.parametrize(
    ("hard", "said"),
    [
        ({"pods": "10"}, r"quota room of mine leaves 10 of pods, and 11 more are needed"),
        ({"count/pods": "10"}, r"leaves 10 of count/pods"),
        ({"requests.cpu": "5"}, r"leaves 5 of requests.cpu, and 5.5 more"),
        ({"cpu": "5400m"}, r"leaves 5.4 of cpu, and 5.5 more"),
        ({"memory": "10Gi"}, r"leaves 10Gi of memory, and 11Gi more"),
        ({"limits.memory": "21Gi"}, r"leaves 21Gi of limits.memory, and 22Gi more"),
        ({"requests.storage": "21Gi"}, r"leaves 21Gi of requests.storage, and 22Gi more"),
        ({"persistentvolumeclaims": "1"}, r"leaves 1 of persistentvolumeclaims, and 2 more"),
        ({"count/deployments.apps": "3"}, r"leaves 3 of count/deployments.apps, and 4 more"),
        ({"services": "2"}, r"leaves 2 of services, and \d+ more"),
    ],
)
def test_a_quota_that_is_too_small_is_found(
    cluster: Cluster, model: Object, hard: dict[str, str], said: str
) -> None:
    cluster.limits = [quota(hard=hard)]

    with pytest.raises(QuotaTooSmall, match=said):
        cluster_quota.check(RUNNER, objects(model))


def test_a_quota_with_just_enough_is_enough(cluster: Cluster, model: Object) -> None:
    hard = {
        "pods": "11",
        "cpu": "5500m",
        "limits.memory": "22Gi",
        "requests.storage": "22Gi",
        "configmaps": "99",
    }
    cluster.limits = [quota(hard=hard)]

    cluster_quota.check(RUNNER, objects(model))


def test_what_others_use_counts_and_what_this_project_uses_does_not_count_twice(
    cluster: Cluster, model: Object
) -> None:
    given = objects(model)
    # What runs: one pod for each workload, six in all.
    cluster.applied = given
    cluster.limits = [quota({"pods": "8"}, hard={"pods": "13"})]
    cluster_quota.check(RUNNER, given)

    cluster.limits = [quota({"pods": "9"}, hard={"pods": "13"})]
    with pytest.raises(QuotaTooSmall, match="leaves 4 of pods, and 5 more are needed"):
        cluster_quota.check(RUNNER, given)


def test_a_quota_of_one_storage_class_is_held_against_its_volumes(
    cluster: Cluster, model: Object
) -> None:
    cluster.limits = [quota(hard={"fast.storageclass.storage.k8s.io/requests.storage": "1Gi"})]

    cluster_quota.check(RUNNER, objects(model, storage_class="slow"))
    with pytest.raises(QuotaTooSmall, match=r"fast\.storageclass"):
        cluster_quota.check(RUNNER, objects(model, storage_class="fast"))


def test_a_quota_about_other_pods_is_none_of_ours(cluster: Cluster, model: Object) -> None:
    cluster.limits = [
        quota(hard={"pods": "1"}, scopes=["BestEffort"]),
        quota(hard={"pods": "1"}, scopeSelector={"matchExpressions": []}),
    ]
    cluster_quota.check(RUNNER, objects(model))

    cluster.limits = [quota(hard={"pods": "1"}, scopes=["NotTerminating"])]
    with pytest.raises(QuotaTooSmall):
        cluster_quota.check(RUNNER, objects(model))


def test_what_a_quota_counts_must_be_said(cluster: Cluster, model: Object) -> None:
    del model["services"]["letta-redis"]["deploy"]["resources"]["limits"]["cpus"]
    counts = quota(hard={"limits.cpu": "99"})
    cluster.limits = [counts]
    with pytest.raises(QuotaTooSmall, match=r"counts limits\.cpu, and letta-redis has none"):
        cluster_quota.check(RUNNER, objects(model))

    cluster.limits = [counts, limit_range("Container", default={"cpu": "1"})]
    cluster_quota.check(RUNNER, objects(model))


@pytest.mark.parametrize(
    ("kind", "limits", "said"),
    [
        (
            "Container",
            {"max": {"memory": "1Gi"}},
            "limits.memory=2Gi, and a limit range of mine allows 1Gi",
        ),
        ("Pod", {"max": {"cpu": "500m"}}, "a pod of letta-.* takes limits.cpu=1, .* allows 500m"),
        ("Container", {"min": {"cpu": "600m"}}, r"requests.cpu=0.5, .* asks for 600m"),
        (
            "Container",
            {"maxLimitRequestRatio": {"memory": "1.5"}},
            "allows 1.5 times the request of 1Gi",
        ),
        (
            "PersistentVolumeClaim",
            {"max": {"storage": "10Gi"}},
            "the volume db-letta-db-0 takes limits.storage=20Gi",
        ),
        (
            "PersistentVolumeClaim",
            {"min": {"storage": "5Gi"}},
            "the volume collector takes requests.storage=2Gi",
        ),
        ("Container", {"max": {"ephemeral-storage": "1Gi"}}, "limits.ephemeral-storage=none"),
    ],
)
def test_a_limit_range_that_would_refuse_a_pod_is_found(
    cluster: Cluster, model: Object, kind: str, limits: Object, said: str
) -> None:
    cluster.limits = [limit_range(kind, **limits)]

    with pytest.raises(QuotaTooSmall, match=said):
        cluster_quota.check(RUNNER, objects(model))


def test_a_limit_range_that_allows_all_is_no_matter(cluster: Cluster, model: Object) -> None:
    cluster.limits = [
        limit_range(
            "Container",
            max={"memory": "2Gi"},
            min={"cpu": "500m"},
            maxLimitRequestRatio={"cpu": "2"},
        ),
        limit_range("Pod", max={"memory": "2Gi"}),
        limit_range("PersistentVolumeClaim", max={"storage": "20Gi"}),
    ]

    cluster_quota.check(RUNNER, objects(model))


def test_who_may_not_see_quotas_is_told(
    cluster: Cluster, model: Object, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.forbidden = ["list resourcequotas"]

    cluster_quota.check(RUNNER, objects(model))

    assert "may not see quotas" in capsys.readouterr().err
