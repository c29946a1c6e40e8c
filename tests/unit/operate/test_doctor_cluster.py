"""What the checks of a namespace make of its objects."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from letta_stack.base import process
from letta_stack.base.process import Completed
from letta_stack.certs import issue
from letta_stack.errors import Unhealthy
from letta_stack.operate.doctor import cluster, objects
from letta_stack.operate.doctor.model import FAIL, OK, SKIP, WARN, ClusterSubject
from letta_stack.topology.clustered import Clustered
from letta_stack.topology.runners.kubernetes import Kubernetes
from tests.support import fake_cluster
from tests.support.fake_cluster import Cluster

if TYPE_CHECKING:
    from pathlib import Path

CLUSTER = Clustered.of("kubernetes", project="mine", context="mine")
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


def subject(tmp_path: Path, **given: Any) -> ClusterSubject:
    return ClusterSubject(CLUSTER, tmp_path, Kubernetes("mine", "mine"), **given)


def workload(name: str, *, ready: int = 2, **spec: Any) -> dict[str, Any]:
    return {
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": 2, **spec},
        "status": {"readyReplicas": ready, "updatedReplicas": 2},
    }


def pod(name: str, *, conditions: Any = (), **status: Any) -> dict[str, Any]:
    running = {"state": {"running": {}}, "ready": True, "restartCount": 0, "image": "me/letta:1"}
    return {
        "metadata": {"name": f"{name}-1", "labels": {"app.kubernetes.io/name": name}},
        "spec": {"nodeName": "node"},
        "status": {"conditions": conditions, "containerStatuses": [running | status]},
    }


def test_every_workload_has_to_have_its_pods(tmp_path: Path) -> None:
    assert objects.pods(subject(tmp_path)).state == FAIL
    good = objects.pods(subject(tmp_path, objects=[workload("a")], pods=[pod("a"), pod("a")]))
    assert (good.state, good.seen) == (OK, "2 pods of 1 workloads do their work")

    homeless = [{"type": "PodScheduled", "status": "False", "message": "Insufficient cpu"}]
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
    found = objects.pods(
        subject(
            tmp_path,
            objects=[workload("a", ready=1)],
            pods=[pod("b", conditions=homeless), pod("c", state=waiting)],
        )
    )
    assert found.state == FAIL
    assert found.seen == "a has 1 of 2 ready, 2 new; b-1: Insufficient cpu; c-1: not found"


def test_a_container_that_ended_within_a_day_is_named_with_its_reason(tmp_path: Path) -> None:
    def ended(hours: int) -> dict[str, Any]:
        at = (NOON - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
        last = {"terminated": {"finishedAt": at, "reason": "OOMKilled", "exitCode": 137}}
        return pod("a", lastState=last, restartCount=3)

    found = objects.restarts(subject(tmp_path, pods=[ended(2), pod("b")]), NOON)
    assert found.state == WARN
    assert (
        found.seen == "a-1 ended at 10:00 UTC (OOMKilled, code 137) and was started again (no. 3)"
    )
    assert objects.restarts(subject(tmp_path, pods=[ended(25)]), NOON).state == OK


def test_pods_of_one_service_run_one_image(tmp_path: Path) -> None:
    same = [pod("a", imageID="1"), pod("a", imageID="1"), pod("letta-server", imageID="2")]
    found = objects.images(subject(tmp_path, pods=same))
    assert (found.state, found.seen) == (OK, "one of each service, me/letta:1")

    leaving = pod("a", imageID="2")
    leaving["metadata"]["deletionTimestamp"] = "now"
    assert objects.images(subject(tmp_path, pods=[*same, leaving])).state == OK
    found = objects.images(subject(tmp_path, pods=[*same, pod("a", imageID="2")]))
    assert (found.state, found.seen) == (WARN, "a: the pods run different images")


@pytest.mark.parametrize(
    ("jobs", "state"), [([], SKIP), ([{"succeeded": 1}], OK), ([{"failed": 4}], FAIL)]
)
def test_the_job_of_the_migration(tmp_path: Path, jobs: list[Any], state: str) -> None:
    found = [{"kind": "Job", "metadata": {"name": "m"}, "status": one} for one in jobs]
    assert objects.migration(subject(tmp_path, objects=found)).state == state


def test_each_key_that_a_pod_gets_has_a_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = {"secret": {"secretName": "s", "items": [{"key": "one"}, {"key": "two"}]}}
    one = workload("a", template={"spec": {"volumes": [volume, {"emptyDir": {}}]}})
    values = {"one": "eA==", "two": "eA=="}
    monkeypatch.setattr(ClusterSubject, "secret", lambda _, __: values)

    assert objects.secrets(subject(tmp_path, objects=[one])).seen == "2 keys in s"
    values["two"] = ""
    found = objects.secrets(subject(tmp_path, objects=[one]))
    assert (found.state, found.seen) == (FAIL, "s lacks two")


def test_an_autoscaler_without_figures_is_said(tmp_path: Path) -> None:
    def scaler(status: str) -> dict[str, Any]:
        condition = {"type": "ScalingActive", "status": status, "message": "no metrics"}
        return {"kind": "HorizontalPodAutoscaler", "status": {"conditions": [condition]}}

    assert objects.autoscaler(subject(tmp_path)).state == SKIP
    assert objects.autoscaler(subject(tmp_path, objects=[scaler("True")])).state == OK
    assert objects.autoscaler(subject(tmp_path, objects=[scaler("False")])).seen == "no metrics"


@pytest.mark.parametrize(
    ("phase", "fills", "states"),
    [
        ("Pending", None, [FAIL]),
        ("Bound", None, [OK]),
        ("Bound", {"a": (10, 100), "b": (80, 100), "c": (95, 100)}, [OK, WARN, FAIL]),
    ],
)
def test_volumes_are_bound_and_have_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str, fills: Any, states: list[str]
) -> None:
    claims = [{"metadata": {"name": "a"}, "status": {"phase": phase}}]
    monkeypatch.setattr(ClusterSubject, "fills", lambda _: fills)

    assert [one.state for one in objects.volumes(subject(tmp_path, claims=claims))] == states


def test_the_nodes_say_how_full_a_volume_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def volume(namespace: str) -> dict[str, Any]:
        claim = {"namespace": namespace, "name": "db"}
        return {"pvcRef": claim, "usedBytes": 1, "capacityBytes": 100, "availableBytes": 30}

    summary = {"pods": [{"volume": [volume("mine"), volume("other"), {"name": "tmp"}]}, {}]}
    answers = [Completed(0, json.dumps(summary), ""), Completed(1, "", "Forbidden")]
    monkeypatch.setattr(process, "probe", lambda _: answers.pop(0))
    monkeypatch.setattr(Kubernetes, "argv", lambda _, *words: list(words))

    assert subject(tmp_path, pods=[pod("a")]).fills() == {"db": (70, 100)}
    assert subject(tmp_path, pods=[pod("a")]).fills() is None


@pytest.mark.parametrize(("days", "state"), [(90, OK), (20, WARN), (-1, FAIL)])
def test_the_certificate_of_an_ingress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, state: str
) -> None:
    pair = issue.authority("mine", NOON)
    now = pair.certificate.not_valid_after_utc - timedelta(days=days)
    text = base64.b64encode(pair.certificate.public_bytes(Encoding.PEM)).decode()
    monkeypatch.setattr(ClusterSubject, "secret", lambda _, __: {"tls.crt": text})
    ingress = {"kind": "Ingress", "spec": {"tls": [{"secretName": "cert"}]}}

    (found,) = objects.certificates(subject(tmp_path, objects=[ingress]), now)
    assert (found.name, found.state) == ("certificate cert", state)
    assert objects.certificates(subject(tmp_path))[0].state == SKIP


def test_a_secret_without_a_certificate_is_said() -> None:
    assert objects.certificate("cert", "", NOON).state == FAIL


def test_a_node_that_is_not_ready_or_lacks_room_is_named() -> None:
    def node(**conditions: str) -> dict[str, Any]:
        return {
            "metadata": {"name": "n"},
            "status": {
                "nodeInfo": {"kubeletVersion": "v1.34.4"},
                "conditions": [
                    {"type": kind, "status": status, "reason": "Why"}
                    for kind, status in conditions.items()
                ],
            },
        }

    assert objects.nodes(None).state == SKIP
    assert objects.nodes([node(Ready="True", DiskPressure="False")]).seen == "1 ready, v1.34.4"
    assert objects.nodes([node(Ready="Unknown")]).seen == "n: Ready is Unknown (Why)"
    assert objects.nodes([node(Ready="True", DiskPressure="True")]).state == FAIL


def test_without_a_cluster_only_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_cluster.replaced(monkeypatch, Cluster(silent=True))

    with pytest.raises(Unhealthy, match="mine: context"):
        cluster.doctor(CLUSTER, as_data=True, fix=False)

    (found,) = json.loads(capsys.readouterr().out)
    assert (found["name"], found["state"]) == ("context", FAIL)
    assert "connection refused" in found["seen"]
