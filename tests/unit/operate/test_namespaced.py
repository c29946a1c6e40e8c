"""Data and secrets of a namespace: what is read from its objects, what is written to them, and what must not pass unseen."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.base import process
from letta_stack.base.process import Completed
from letta_stack.errors import BackupForeign, CommandFailed, DatabaseElsewhere, NotRunning
from letta_stack.operate.holders import choose, tool_pod
from letta_stack.operate.holders.in_pod import InPod
from letta_stack.operate.holders.namespaced import Namespaced, again
from letta_stack.operate.holders.one_host import OneHost
from letta_stack.topology.clustered import Clustered
from letta_stack.topology.project import Project
from letta_stack.topology.runners import kubernetes
from letta_stack.topology.runners.kubernetes import Kubernetes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CLUSTER = Clustered.of("kubernetes", project="mine", context="there")
KUBECTL = Kubernetes("mine", "there")
SERVER = {
    "spec": {
        "template": {
            "spec": {
                "serviceAccountName": "letta-stack",
                "securityContext": {"runAsUser": 10001, "runAsNonRoot": True},
                "containers": [
                    {
                        "image": "me/letta:1",
                        "imagePullPolicy": "IfNotPresent",
                        "securityContext": {"allowPrivilegeEscalation": False},
                        "env": [
                            {"name": "LETTA_ENCRYPTION_KEY", "value": ""},
                            {"name": "LETTA_ENCRYPTION_KEY_FILE", "value": "/run/secrets/key"},
                            {"name": "HOST", "value": "here"},
                        ],
                        "envFrom": [{"secretRef": {"name": "environment", "optional": True}}],
                    }
                ],
                "volumes": [
                    {"name": "memory", "emptyDir": {}},
                    {
                        "name": "secrets",
                        "secret": {
                            "secretName": "letta-secrets",
                            "items": [{"key": "encryption-key", "path": "key"}],
                        },
                    },
                ],
            }
        }
    }
}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Answer `kubectl get KIND/NAME`; what is not there is nothing, as with --ignore-not-found."""
    there: dict[str, Any] = {
        "deployment/letta-server": SERVER,
        "secret/environment": {"data": {"OPENAI_API_KEY": encoded("sk-1"), "PLAIN": encoded("x")}},
        "secret/letta-secrets": {
            "data": {"encryption-key": encoded("key\n"), "redis-users": encoded("theirs")}
        },
    }

    def capture(argv: Sequence[str], **_: object) -> str:
        words = argv[argv.index("--namespace") + 2 :]
        if words[1] == "pods":
            return json.dumps({"items": []})
        return json.dumps(there[words[1]]) if words[1] in there else ""

    monkeypatch.setattr(process, "capture", capture)
    monkeypatch.setattr(kubernetes, "program", lambda **_: "kubectl")
    return there


def test_a_stack_has_the_holder_of_what_runs_it() -> None:
    assert isinstance(choose.of(CLUSTER), Namespaced)
    assert isinstance(choose.of(Project.of("dev")), OneHost)


@pytest.mark.usefixtures("objects")
def test_the_secrets_are_those_that_the_servers_get() -> None:
    found = Namespaced(CLUSTER).secrets()

    assert found.encryption_key == "key"
    assert found.files == {"run/secrets/key": encoded("key\n")}
    assert found.environment == {
        "LETTA_ENCRYPTION_KEY_FILE": "/run/secrets/key",
        "OPENAI_API_KEY": "sk-1",
    }


def test_a_secret_that_is_optional_may_be_missing(objects: dict[str, Any]) -> None:
    del objects["secret/environment"]

    assert "OPENAI_API_KEY" not in Namespaced(CLUSTER).secrets().environment


def test_what_is_not_there_is_said(objects: dict[str, Any]) -> None:
    with pytest.raises(DatabaseElsewhere, match="mine has --database external"):
        Namespaced(CLUSTER).postgres()
    objects["statefulset/letta-db"] = {}
    with pytest.raises(NotRunning, match="letta-db of mine does not run"):
        Namespaced(CLUSTER).postgres()
    with pytest.raises(NotRunning, match="no letta-server of mine is ready"):
        Namespaced(CLUSTER).server()
    del objects["deployment/letta-server"]
    with pytest.raises(NotRunning, match="inv up --env kubernetes --project mine --context there"):
        Namespaced(CLUSTER).secrets()
    with pytest.raises(BackupForeign):
        Namespaced(CLUSTER).install_key("other")


@pytest.mark.parametrize("said", ["3 bytes copied, 1 s", ""])
def test_a_dump_that_was_cut_on_its_way_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str
) -> None:
    """The API server may end a stream early, and the command ends with success all the same."""
    monkeypatch.setattr(kubernetes, "program", lambda **_: "kubectl")

    def stream(argv: Sequence[str], *, stdout: Any) -> str:
        assert argv[argv.index("--") + 1 : argv.index("--") + 3] == ["bash", "-c"]
        stdout.write(b"dump")
        return said

    monkeypatch.setattr(process, "stream", stream)
    database = InPod("letta-db-0", "postgres", "letta", "letta", KUBECTL)

    with (tmp_path / "dump").open("xb") as file, pytest.raises(CommandFailed, match="4 bytes came"):
        database.dump(file)


def test_a_dump_is_whole_if_as_much_came_as_was_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(kubernetes, "program", lambda **_: "kubectl")

    def stream(_: Sequence[str], *, stdout: Any) -> str:
        stdout.write(b"dump")
        return "0+1 records in\n0+1 records out\n4 bytes copied, 1 s\n"

    monkeypatch.setattr(process, "stream", stream)
    with (tmp_path / "dump").open("xb") as file:
        InPod("letta-db-0", "postgres", "letta", "letta", KUBECTL).dump(file)

    assert (tmp_path / "dump").read_bytes() == b"dump"


def test_a_job_is_applied_again_without_what_the_cluster_wrote() -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "a", "namespace": "mine", "labels": {"l": "1"}, "uid": "7"},
        "spec": {
            "backoffLimit": 3,
            "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "7"}},
            "template": {
                "metadata": {
                    "creationTimestamp": None,
                    "labels": {
                        "mine": "1",
                        "batch.kubernetes.io/job-name": "a",
                        "batch.kubernetes.io/controller-uid": "7",
                        "controller-uid": "7",
                        "job-name": "a",
                    },
                },
                "spec": {"containers": []},
            },
        },
        "status": {"succeeded": 1},
    }

    assert again(job) == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "a", "namespace": "mine", "labels": {"l": "1"}},
        "spec": {
            "backoffLimit": 3,
            "template": {"metadata": {"labels": {"mine": "1"}}, "spec": {"containers": []}},
        },
    }


def test_a_pod_for_one_piece_of_work_has_the_rights_of_its_workload_and_nobody_selects_it(
    objects: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    applied: list[dict[str, Any]] = []
    monkeypatch.setattr(Kubernetes, "apply", lambda _, given: applied.extend(given))

    def probe(argv: Sequence[str]) -> Completed:
        seen.append(list(argv))
        return Completed(0, "", "")

    monkeypatch.setattr(process, "probe", probe)
    running = {"state": {"running": {}}, "restartCount": 0}

    def get(_: Kubernetes, name: str) -> list[dict[str, Any]]:
        return [
            {
                "kind": "Pod",
                "metadata": {"name": name, "labels": {}},
                "status": {"containerStatuses": [running]},
            }
        ]

    monkeypatch.setattr(Kubernetes, "get", get)
    with tool_pod.started(KUBECTL, objects["deployment/letta-server"], image="me/letta:2") as name:
        assert seen == []
    (pod,) = applied

    assert seen[0][-5:] == ["pod", name, "--now", "--wait=false", "--ignore-not-found"]
    assert pod["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "letta-stack"}
    assert pod["spec"]["securityContext"] == {"runAsUser": 10001, "runAsNonRoot": True}
    assert pod["spec"]["automountServiceAccountToken"] is False
    (container,) = pod["spec"]["containers"]
    assert container["image"] == "me/letta:2"
    assert container["securityContext"] == {"allowPrivilegeEscalation": False}
