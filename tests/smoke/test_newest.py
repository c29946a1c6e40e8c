"""The newest collector that can be built from Go modules takes the same configurations, and loses nothing: with -m long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from python_on_whales import docker

from tests.smoke import conservation, harness, newest, telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

COUNT = 10


@pytest.fixture(scope="module")
def program(image: str, tmp_path_factory: pytest.TempPathFactory) -> telemetry.Mount:
    assert image
    built = newest.program(tmp_path_factory.mktemp("newest"))
    return (built, "/usr/local/bin/otelcol-contrib", "ro")


@pytest.fixture(scope="module")
def network() -> Iterator[str]:
    with harness.network(f"{harness.RUN}-newest") as one:
        yield one


@pytest.mark.parametrize("prometheus", ["false", "true"])
def test_it_writes_files_as_the_pinned_one_does(
    network: str, program: telemetry.Mount, prometheus: str
) -> None:
    settings = {"LETTA_STACK_TELEMETRY_PROMETHEUS": prometheus}
    with telemetry.collector(f"f-{prometheus}", network, settings, mounts=[program]) as one:
        one.send_spans("before", COUNT)
        one.crash()
        one.send_spans("after", COUNT)
        command = ["sh", "-c", f"cat {telemetry.STORAGE}/telemetry.json"]
        written = str(docker.container.execute(one.container, command))

    assert all(written.count(f'"before {number}"') == 1 for number in range(COUNT))
    assert all(written.count(f'"after {number}"') == 1 for number in range(COUNT))


def test_what_waits_on_disk_survives_an_outage_and_a_kill(
    network: str, program: telemetry.Mount
) -> None:
    assert conservation.otlp("newest", network, mounts=[program]) == set()
