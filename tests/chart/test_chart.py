"""The Helm chart in the hands of Helm: what it makes of every choice, and a release with an upgrade on a real cluster."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import yaml

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.topology.catalogue import GATEWAY, GATEWAY_HEALTH_PATH, SERVER
from letta_stack.topology.clustered import Clustered
from letta_stack.topology.render import choices, files
from letta_stack.topology.render.kubernetes import manifests
from letta_stack.topology.render.kubernetes.options import DATABASES
from tests.support import helm_text

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chart.conftest import Helm, Place

PAGE = ROOT / "docs" / "topologies" / "kubernetes.md"
RELEASE = ROOT / ".github" / "workflows" / "release.yml"
PUBLISHED: list[dict[str, Any]] = [
    {},
    {"host": "a.example"},
    {"host": "a.example", "tls_secret": "tls"},
    {"host": "a.example", "gateway": "there/gate"},
]


def test_helm_finds_nothing_wrong(helm: Helm, chart: Path) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(chart))


def test_the_archive_of_a_release_is_a_chart(helm: Helm, chart: Path) -> None:
    (packs,) = re.findall(r"(?m)^ +(tar .*\.tgz .*)$", RELEASE.read_text())
    subprocess.run(["sh", "-euc", packs], cwd=chart.parent, check=True)

    (archive,) = chart.parent.glob("*.tgz")
    assert yaml.safe_load(helm("show", "chart", str(archive)))["name"] == "letta-stack"
    assert helm.template(archive) == helm.template(chart)


def test_helm_gives_the_objects_that_kubectl_gets(helm: Helm, chart: Path) -> None:
    model = Clustered.of("kubernetes").model()
    mounted = files.read(model)
    usual = choices.kubernetes("mine", {})
    numbers = itertools.cycle([(1, 0), (3, 6), (3, 0), (1, 6)])
    for database, published, upgrade in itertools.product(DATABASES, PUBLISHED, (False, True)):
        replicas, most = next(numbers)
        storage = "fast" if upgrade else ""
        options = replace(
            usual,
            database=database,
            replicas=replicas,
            most=most,
            storage_class=storage,
            **published,
        )
        values = {
            "database": database,
            "replicas": replicas,
            "maxReplicas": most,
            "storageClass": storage,
            "host": options.host,
            "tlsSecret": options.tls_secret,
            "gateway": options.gateway,
        }
        flags = [f"--set-json={name}={json.dumps(value)}" for name, value in values.items()]

        found = helm.template(chart, *flags, *(["--is-upgrade"] if upgrade else []))

        wanted = manifests.render(model, mounted, options)
        assert helm_text.as_kubectl(found) == helm_text.as_chart(wanted.all), values
        text = {path.relative_to(chart).as_posix(): path.read_text() for path in chart.rglob("*.*")}
        ours = helm_text.objects(text, values, namespace="mine", install=not upgrade)
        assert helm_text.as_kubectl(ours) == helm_text.as_chart(wanted.all), values


def test_what_contradicts_itself_is_refused(helm: Helm, chart: Path) -> None:
    for flag, said in (
        ("--set=maxReplicas=1", "maxReplicas is less than replicas"),
        ("--set=gateway=a", "set host"),
        ("--set=database=other", "values don't meet the specifications of the schema"),
        ("--kube-version=1.33", "chart requires kubeVersion: >=1.34.0-0"),
    ):
        ended = helm.probe("template", "letta", str(chart), flag)
        assert ended.returncode != 0
        assert said in ended.stderr


def secrets(place: Place) -> None:
    """Do what the page says about the Secret."""
    (script,) = re.findall(r"(?s)```sh\n(namespace=.*?)```", PAGE.read_text())
    script = re.sub(r"(?m)^namespace=.*", f"namespace={place.helm.namespace}", script)
    script = re.sub(r"(?m)^database=.*# trial: (.*)", r"database=\1", script)
    subprocess.run(["sh", "-euc", script], env=dict(place.helm.environment), check=True)


def answers(place: Place) -> bool:
    service = f"/api/v1/namespaces/{place.helm.namespace}/services/{GATEWAY.name}:80/proxy"
    asked = place.cluster.argv("get", "--raw", service + GATEWAY_HEALTH_PATH)
    return process.probe(asked).ok


def jobs(place: Place) -> list[Any]:
    return place.cluster.get("jobs")


def test_a_release_serves_and_its_upgrade_migrates_first(
    place: Place, chart: Path, tmp_path: Path
) -> None:
    helm = place.helm
    tried = ("install", "letta", str(chart), "--dry-run=server", "--namespace=default")
    assert "has no Secret" in helm.probe(*tried).stderr
    secrets(place)
    usual = yaml.safe_load((chart / "values.yaml").read_text())["resources"]
    # The cluster may have another stack to run.
    modest = {
        name: {**one, "requests": {"cpu": "10m", "memory": "0"}} for name, one in usual.items()
    }
    chosen = {**place.values, "database": "trial", "replicas": 1, "resources": modest}
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(chosen))
    given = (str(chart), "--values", str(values), "--wait", "--timeout", "15m")

    helm("install", "letta", *given)

    assert answers(place)
    (job,) = jobs(place)
    assert job["status"]["succeeded"] == 1
    first = {one.container for one in place.cluster.states() if one.service == SERVER}

    helm("upgrade", "letta", *given, "--set", "replicas=2")

    assert answers(place)
    assert jobs(place) == []  # the hook ended well
    status = json.loads(helm("status", "letta", "--output", "json"))
    assert status["version"] == 2
    (migration,) = [one for one in status["hooks"] if one["kind"] == "Job"]
    assert migration["last_run"]["phase"] == "Succeeded"
    servers = {
        one.container for one in place.cluster.states() if one.service == SERVER and one.ready
    }
    assert len(servers) == 2
    assert first < servers

    helm("uninstall", "letta", "--wait")

    claims = {one["metadata"]["name"] for one in place.cluster.get("persistentvolumeclaims")}
    assert claims == {"collector", "db-letta-db-0"}
