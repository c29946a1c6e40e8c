"""Prometheus' and Alertmanager's own programs read what is theirs, and the alerts' tests hold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from python_on_whales import docker
from python_on_whales.exceptions import DockerException

from letta_stack.base.paths import ROOT
from letta_stack.engine import inspect
from letta_stack.image.sources import Sources
from letta_stack.secrets import receivers

if TYPE_CHECKING:
    from pathlib import Path

CONFIGURATION = ROOT / "observability/prometheus"
GIVEN = {
    receivers.SLACK: "https://hooks.slack.example/T/B/x",
    receivers.TEAMS: "https://teams.example/x",
    receivers.PAGERDUTY: "0" * 32,
    receivers.SMTP: "smtp://me:x@mail.example.org:587?from=a@example.org&to=b@example.org",
}


@pytest.fixture(scope="module")
def images() -> dict[str, str]:
    sources = Sources.of(images="auto", otelcol="auto", letta_source="", ca="")
    return sources.prepare(["PROMETHEUS_IMAGE", "ALERTMANAGER_IMAGE"], inspect.require())


def run(image: str, program: str, *arguments: str, mounted: Path = CONFIGURATION) -> str:
    return str(
        docker.container.run(
            image,
            list(arguments),
            entrypoint=f"/bin/{program}",
            volumes=[(mounted, "/given", "ro")],
            networks=["none"],
            remove=True,
            pull="never",
        )
    )


def test_prometheus_takes_its_configuration_and_every_rule(images: dict[str, str]) -> None:
    answer = run(images["PROMETHEUS_IMAGE"], "promtool", "check", "config", "/given/prometheus.yml")

    assert answer.count("rules found") == len(list(CONFIGURATION.glob("rules/*.yaml")))


def test_a_rule_that_cannot_be_read_is_refused(images: dict[str, str], tmp_path: Path) -> None:
    text = (CONFIGURATION / "rules/errors.yaml").read_text(encoding="utf-8")
    (tmp_path / "broken.yaml").write_text(text.replace("sum(rate(", "sum(rate(("))
    tmp_path.chmod(0o755)

    with pytest.raises(DockerException):
        run(
            images["PROMETHEUS_IMAGE"],
            *("promtool", "check", "rules", "/given/broken.yaml"),
            mounted=tmp_path,
        )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", sorted(path.name for path in CONFIGURATION.glob("tests/*.yaml")))
def test_the_alerts_fire_when_they_must_and_only_then(name: str, images: dict[str, str]) -> None:
    run(images["PROMETHEUS_IMAGE"], "promtool", "test", "rules", f"/given/tests/{name}")


@pytest.mark.parametrize("given", [{}, GIVEN], ids=["nobody", "everybody"])
def test_alertmanager_takes_what_is_made_of_the_receivers(
    given: dict[str, str], images: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "alertmanager.yml").write_text(json.dumps(receivers.configuration(given)))
    tmp_path.chmod(0o755)

    answer = run(
        images["ALERTMANAGER_IMAGE"],
        *("amtool", "check-config", "/given/alertmanager.yml"),
        mounted=tmp_path,
    )

    assert "SUCCESS" in answer
