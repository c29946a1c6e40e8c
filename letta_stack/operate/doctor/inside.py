"""Checks from where the server is: its database, Redis and collector, and the model providers."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from letta_stack.base import process
from letta_stack.errors import CommandFailed, DatabaseElsewhere, LettaStackError
from letta_stack.operate import postgres
from letta_stack.operate.doctor.model import Finding, fail, ok, skip, warn
from letta_stack.topology.catalogue import COLLECTOR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from letta_stack.operate.doctor.model import ClusterSubject, Subject
    from letta_stack.operate.postgres import Postgres

CLOCK_SECONDS = 2.0
FACTS = """
SELECT json_build_object(
  'revision', (SELECT min(version_num) FROM alembic_version),
  'vector', (SELECT extversion FROM pg_extension WHERE extname = 'vector'),
  'now', extract(epoch FROM clock_timestamp()),
  'bytes', pg_database_size(current_database()),
  'traces', coalesce(pg_total_relation_size(to_regclass('provider_traces')), 0),
  'connections', (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
  'max_connections', current_setting('max_connections')::int,
  'databases', (SELECT json_agg(datname) FROM pg_database),
  'providers', (SELECT coalesce(json_agg(json_build_object('name', name, 'type', provider_type,
      'category', provider_category, 'url', base_url)), '[]') FROM providers WHERE NOT is_deleted),
  'lost', (SELECT coalesce(json_agg(DISTINCT a.llm_config->>'handle'), '[]') FROM agents a WHERE NOT a.is_deleted
      AND a.llm_config->>'handle' IS NOT NULL
      AND NOT EXISTS (SELECT FROM provider_models m WHERE m.handle = a.llm_config->>'handle' AND NOT m.is_deleted)));
"""
# type of a provider -> variable of its key, variables of its base URL
VARIABLES = {
    "openai": ("OPENAI_API_KEY", ("OPENAI_BASE_URL", "OPENAI_API_BASE")),
    "anthropic": ("ANTHROPIC_API_KEY", ()),
    "deepseek": ("DEEPSEEK_API_KEY", ()),
    "groq": ("GROQ_API_KEY", ()),
    "lmstudio_openai": ("", ("LMSTUDIO_BASE_URL",)),
    "ollama": ("", ("OLLAMA_BASE_URL",)),
    "openrouter": ("OPENROUTER_API_KEY", ()),
    "together": ("TOGETHER_API_KEY", ()),
    "vllm": ("OPENAI_API_KEY", ("VLLM_API_BASE",)),
    "xai": ("XAI_API_KEY", ()),
}
REFUSED = {"401", "403"}
LETTA = "letta"  # upstream's own provider, which answers no more


def gather(target: Postgres, server: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Ask the database, then a program inside the server's container; raise what keeps either from answering.

    Args:
        target: the database.
        server: how a command begins that runs in the container and reads from standard input.

    """
    known = facts(target)
    return known, probe(known["providers"], server)


def facts(target: Postgres) -> dict[str, Any]:
    """Ask the database; raise what keeps it from answering."""
    found: dict[str, Any] = json.loads(process.capture(target.psql(), stdin=FACTS, timeout=5))
    found["skew"] = abs(found["now"] - time.time())
    return found


def probe(known: Sequence[Mapping[str, Any]], server: Sequence[str]) -> dict[str, Any]:
    """Ask a program inside a server's container about the providers; ``server`` as for ``gather``."""
    providers = [one for one in known if one["url"] and one["type"] in VARIABLES]
    names = {urlsplit(one["url"]).hostname or "" for one in providers if one["type"] != LETTA}
    asked = {
        "urls": [request(one) for one in providers if one["category"] == "base"],
        "names": sorted(names),
        "variables": sorted({one for _, urls in VARIABLES.values() for one in urls}),
    }
    script = Path(__file__).with_name("probe.py").read_text(encoding="utf-8")
    command = [*server, "/usr/bin/python3", "-IS", "-c", script]
    answer: dict[str, Any] = json.loads(
        process.capture(command, stdin=json.dumps(asked), timeout=10)
    )
    return answer


def request(provider: Mapping[str, str]) -> dict[str, Any]:
    """Say how to ask a provider for its models with the key that the server has."""
    kind = provider["type"]
    headers = {"Authorization": "Bearer {key}"}
    if kind == "anthropic":
        headers = {"x-api-key": "{key}", "anthropic-version": "2023-06-01"}
    url = provider["url"].rstrip("/") + "/models"
    return {"name": provider["name"], "url": url, "key": VARIABLES[kind][0], "headers": headers}


def check(subject: Subject) -> list[Finding]:
    """Look at everything that takes a running server."""
    if not subject.server:
        return [skip("database", "no server runs")]
    server = ["docker", "exec", "--interactive", subject.server]
    try:
        known, answer = gather(postgres.of(subject.project), server)
    except DatabaseElsewhere as error:
        return [skip("database", str(error))]
    except (LettaStackError, CommandFailed, ValueError) as error:
        return [
            fail("database", f"no answer from inside: {error}", "see the check of the services")
        ]
    return [
        *general(known, answer),
        leftovers(known, subject.project.name),
        backends(server),
        collector(answer, subject),
    ]


def general(facts: dict[str, Any], answer: dict[str, Any]) -> list[Finding]:
    """Look at what is the same on one host and on many."""
    return [
        migrations(facts, answer),
        vector(facts),
        connections(facts),
        clock(facts),
        names(answer),
        *providers(facts, answer),
        models(facts),
    ]


def migrations(facts: dict[str, Any], answer: dict[str, Any]) -> Finding:
    """Compare the schema with the migrations of the image."""
    if facts["revision"] == answer["head"]:
        return ok("migrations", f"at head, {answer['head']}")
    seen = f"the schema is at {facts['revision']}, the image leads to {answer['head']}"
    return fail(
        "migrations",
        seen,
        "`inv up` or `inv deploy` migrates; a schema that is ahead needs its newer image",
    )


def vector(facts: dict[str, Any]) -> Finding:
    """Look for pgvector."""
    if facts["vector"]:
        return ok("vector", f"pgvector {facts['vector']}")
    return fail(
        "vector",
        "the extension is missing",
        "as superuser in that database: CREATE EXTENSION vector",
    )


def connections(facts: dict[str, Any]) -> Finding:
    """Look whether connections are left."""
    used, most = facts["connections"], facts["max_connections"]
    seen = f"{used} of {most} connections in use"
    if used > most * 0.8:
        return warn(
            "connections", seen, "raise max_connections of PostgreSQL, or turn the server's pool on"
        )
    return ok("connections", seen)


def clock(facts: dict[str, Any]) -> Finding:
    """Compare the clock of the database with this machine's."""
    seen = f"{facts['skew']:.1f} s between this machine and the database"
    if facts["skew"] > CLOCK_SECONDS:
        return warn("clocks", seen, "let NTP set the clock of the engine's machine")
    return ok("clocks", seen)


def leftovers(facts: dict[str, Any], name: str) -> Finding:
    """Look for databases that an interrupted restore left."""
    stale = [one for one in facts["databases"] if "_restore_" in one or "_before_" in one]
    if stale:
        drop = "DROP DATABASE once you are sure that you do not need them"
        return warn("restores", f"an interrupted restore left {', '.join(stale)}", drop)
    return ok("restores", f"none is unfinished in {name}")


def backends(server: Sequence[str]) -> Finding:
    """Let the image's own health check look at server, PostgreSQL and Redis; ``server`` as for ``gather``."""
    answer = process.probe([*server, "letta-healthcheck"], timeout=10)
    seen = answer.stdout.strip() or answer.stderr.strip()
    if answer.ok:
        return ok("backends", "server, PostgreSQL and Redis answer")
    return fail("backends", seen, "`inv restart --service` with the one that does not answer")


def collector(answer: dict[str, Any], subject: Subject | ClusterSubject) -> Finding:
    """Look whether traces find their collector."""
    if COLLECTOR.name in subject.project.topology.names:
        if container := subject.running(COLLECTOR.name):
            return ok("collector", f"{container} runs; its health is among the services")
        return fail("collector", "does not run", f"`inv up {subject.project.flags}`")
    if answer["collector"]:
        return ok("collector", "takes spans on port 4317 of the server's container")
    return skip("collector", "none in the server's container")


def names(answer: dict[str, Any]) -> Finding:
    """Look whether the hosts of the providers have addresses."""
    lost = [name for name, found in answer["names"].items() if not found]
    if lost:
        return fail(
            "DNS",
            f"no address for {', '.join(lost)}",
            "look at the DNS of the engine: daemon.json, `dns`",
        )
    return ok("DNS", f"{len(answer['names'])} hosts of providers have an address")


def providers(facts: dict[str, Any], answer: dict[str, Any]) -> list[Finding]:
    """Look at each provider as the server reaches it: its URL, its answer, its key."""
    found = []
    for one in facts["providers"]:
        name = f"provider {one['name']}"
        wanted = next(
            (
                url
                for url in map(answer["environment"].get, VARIABLES.get(one["type"], ("", ()))[1])
                if url
            ),
            "",
        )
        seen = answer["statuses"].get(one["name"], "")
        if (
            one["category"] == "base"
            and wanted
            and address(one["type"], wanted) != address(one["type"], one["url"] or "")
        ):
            text = f"the database has {one['url']}, the environment {wanted}: the server never updates it"
            fix = "see docs/operating.md, 'A base URL frozen in the database'"
            found.append(fail(name, text, fix))
        elif seen in REFUSED:
            found.append(
                fail(
                    name,
                    f"{one['url']} refuses the key ({seen})",
                    "give a valid key, then `inv up`",
                )
            )
        elif seen and not seen.isdigit():
            found.append(
                fail(
                    name,
                    f"{one['url']}: {seen}",
                    "the container cannot reach it: address, proxy, firewall",
                )
            )
        elif seen:
            found.append(ok(name, f"{one['url']} answers with {seen}"))
    return found


def address(kind: str, url: str) -> str:
    """Return a base URL in the one form in which two are compared: to vLLM's the server adds what is missing."""
    trimmed = url.rstrip("/")
    return trimmed.removesuffix("/v1") if kind == "vllm" else trimmed


def models(facts: dict[str, Any]) -> Finding:
    """Look for agents whose model no provider lists any more."""
    if facts["lost"]:
        seen = f"agents use models that no provider lists: {', '.join(facts['lost'][:5])}"
        return warn("models", seen, "give these agents another model: PATCH /v1/agents/{id}")
    return ok("models", "every agent's model is listed")
