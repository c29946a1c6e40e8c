"""What telemetry costs the server: turns of a scripted model for each second of its processor time, with and without."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from letta_stack.base import http_wait
from tests.smoke import harness, telemetry
from tests.support.processor import seconds

if TYPE_CHECKING:
    from letta_client import Letta

SECONDS = 600.0
ON = {"LETTA_OTEL_EXPORTER_OTLP_ENDPOINT": f"http://collector:{telemetry.GRPC}"}
OFF = {"LETTA_DISABLE_TRACING": "true"}


def per_second(blocks: int, turns: int) -> dict[str, list[float]]:
    """Return turns for each second of the server's processor time, with telemetry and without."""
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(harness.network(f"{harness.RUN}-turns"))
        stack.enter_context(
            harness.script(
                "turns-stub",
                "llm_stub.py",
                networks=[network],
                network_aliases=[harness.STUB_HOST],
            )
        )
        stack.enter_context(telemetry.collector("turns-collector", network, {}))
        agents: dict[str, tuple[harness.Server, Letta, str]] = {}
        for name, settings in {"off": OFF, "on": ON}.items():
            server = stack.enter_context(
                harness.server(
                    f"turns-{name}",
                    environment=harness.PROVIDER | settings,
                    networks=[network],
                    healthcheck=False,
                )
            )
            http_wait.wait_for_status(harness.health_url(server.url), timeout=SECONDS)
            client = server.client()
            agent = client.agents.create(model=harness.MODEL, embedding=harness.EMBEDDING)
            agents[name] = (server, client, agent.id)
        rates: dict[str, list[float]] = {name: [] for name in agents}
        for block in range(blocks + 1):
            for name, (server, client, talker) in agents.items():
                begin = seconds(server.container)
                for _ in range(turns):
                    client.agents.messages.create(talker, input="Good morning.")
                    client.agents.list()
                if block:
                    rates[name].append(turns / (seconds(server.container) - begin))
    return rates
