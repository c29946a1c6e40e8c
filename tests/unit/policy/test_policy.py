from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.errors import PolicyBroken
from letta_stack.policy import lint, report
from letta_stack.policy.rules import RULES

if TYPE_CHECKING:
    from letta_stack.policy.model import Finding

GOOD: dict[str, Any] = {
    "image": "example/server:1.2",
    "user": "1000:1000",
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "restart": "unless-stopped",
    "deploy": {"resources": {"limits": {"memory": "1073741824", "pids": 100}}},
    "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "5"}},
    "healthcheck": {"test": ["CMD", "true"]},
    "environment": {"LETTA_PG_PASSWORD_FILE": "/run/secrets/x", "OPENAI_API_KEY": None},
    "ports": [{"host_ip": "0.0.0.0", "published": "8283", "target": 8080}],
}
POSTGRES = {"image": "docker.io/pgvector/pgvector:0.8.1-pg15"}
DATA = "/var/lib/postgresql/data"


def findings(**changes: Any) -> list[Finding]:
    return lint.check("prod", {"services": {"one": {**GOOD, **changes}}})


def test_a_service_that_keeps_to_every_rule_has_no_finding() -> None:
    assert findings() == []


@pytest.mark.parametrize(
    ("rule", "changes", "says"),
    [
        ("user", {"user": ""}, "no user is named"),
        ("user", {"user": "0:0"}, "runs as root"),
        ("user", {"user": "root"}, "runs as root"),
        ("read-only", {"read_only": False}, "writable"),
        ("capabilities", {"cap_drop": ["NET_RAW"]}, "default capabilities"),
        ("capabilities", {"cap_add": ["CAP_SYS_ADMIN"]}, "adds the capability CAP_SYS_ADMIN"),
        ("new-privileges", {"security_opt": ["no-new-privileges:false"]}, "set-uid"),
        ("isolation", {"privileged": True}, "is privileged"),
        ("isolation", {"network_mode": "host"}, "the host's network namespace"),
        ("isolation", {"pid": "host"}, "the host's pid namespace"),
        ("memory-limit", {"deploy": {"resources": {"limits": {"pids": 9}}}}, "all memory"),
        ("process-limit", {"deploy": {"resources": {"limits": {"memory": "1"}}}}, "without end"),
        (
            "log-rotation",
            {"logging": {"driver": "json-file", "options": {"max-size": "1m"}}},
            "log",
        ),
        ("log-rotation", {"logging": None}, "its log grows"),
        ("health-check", {"healthcheck": None}, "nobody notices"),
        ("health-check", {"healthcheck": {"disable": True}}, "turned off"),
        ("health-check", {"healthcheck": {"test": ["NONE"]}}, "turned off"),
        ("restart", {"restart": None}, "stays down"),
        ("data-port", {"ports": [{"published": "5432", "target": 5432}]}, "on 0.0.0.0:5432"),
        (
            "data-port",
            {"ports": [{"host_ip": "10.0.0.5", "published": "1", "target": 6379}]},
            "Redis is published on 10.0.0.5:1",
        ),
        ("pinned-image", {"image": "redis"}, "another image tomorrow"),
        ("pinned-image", {"image": "host:5000/redis:latest"}, "another image tomorrow"),
        ("data-volume", POSTGRES, f"not on a volume at {DATA}"),
        (
            "data-volume",
            {**POSTGRES, "volumes": [{"type": "tmpfs", "target": DATA}]},
            "not on a volume",
        ),
        ("data-volume", {**POSTGRES, "volumes": [{"type": "volume", "target": DATA}]}, "no name"),
        ("secret", {"environment": {"POSTGRES_PASSWORD": "x"}}, "POSTGRES_PASSWORD holds"),
        ("secret", {"environment": {"OPENAI_API_KEY": "x"}}, "OPENAI_API_KEY holds"),
        ("secret", {"environment": {"X_URI": "redis://:pw@host:6379"}}, "a URL with a password"),
        (
            "engine-socket",
            {"volumes": [{"source": "/run/docker.sock", "target": "/d", "type": "bind"}]},
            "root on the host",
        ),
    ],
)
def test_each_rule_finds_what_it_is_for_and_nothing_else(
    rule: str, changes: dict[str, Any], says: str
) -> None:
    (finding,) = findings(**changes)

    assert finding.rule.name == rule
    assert says in finding.problem


@pytest.mark.parametrize(
    "changes",
    [
        {"ports": [{"host_ip": "127.0.0.1", "published": "5432", "target": 5432}]},
        {"ports": [{"host_ip": "::1", "published": "5432", "target": 5432}]},
        {"ports": [{"target": 5432}]},
        {"image": "redis@sha256:0123"},
        {"restart": "no", "healthcheck": None},
        {"deploy": {}, "mem_limit": "1g", "pids_limit": 9},
        {"logging": {"driver": "local"}},
        {"environment": {"MODEL": "openai/gpt", "URI": "http://host/path@x"}},
        {**POSTGRES, "volumes": [{"type": "volume", "source": "db", "target": DATA}]},
        {"cap_add": ["NET_BIND_SERVICE"]},
    ],
)
def test_what_is_safe_is_not_found(changes: dict[str, Any]) -> None:
    assert findings(**changes) == []


def test_every_rule_is_covered_above_and_has_a_reason_and_a_fix() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.reason and rule.fix for rule in RULES)


def test_a_waiver_needs_a_reason() -> None:
    label = "letta-stack.waive.read-only"
    (waived,) = findings(read_only=False, labels={label: "writes its socket"})
    (bare,) = findings(read_only=False, labels={label: " "})

    assert str(waived).endswith("waived: writes its socket")
    lint.verdict([waived])
    with pytest.raises(PolicyBroken, match="1 rule is broken"):
        lint.verdict([waived, bare])


def test_a_waiver_is_for_one_rule_of_one_service() -> None:
    (finding,) = findings(user="", labels={"letta-stack.waive.read-only": "why"})

    assert finding.waiver == ""


def test_a_published_database_is_refused_before_anything_starts() -> None:
    ports = [{"published": "5432", "target": 5432}]
    config = {"services": {"letta-db": {**GOOD, "ports": ports}}}

    with pytest.raises(PolicyBroken, match=r"prod: letta-db: data-port: PostgreSQL is published"):
        lint.refuse_published_data("prod", config)
    waived = {**GOOD, "ports": ports, "labels": {"letta-stack.waive.data-port": "behind a VPN"}}
    lint.refuse_published_data("prod", {"services": {"letta-db": waived}})
    lint.refuse_published_data("prod", {"services": {"a": {**GOOD, "read_only": False}}})


def test_programs_get_json_and_sarif() -> None:
    found = findings(read_only=False, user="", labels={"letta-stack.waive.user": "why"})
    rows = json.loads(report.as_json(found))
    run = json.loads(report.as_sarif(found, {"prod": "compose.yaml"}))["runs"][0]

    assert [(row["rule"], row["waiver"]) for row in rows] == [("user", "why"), ("read-only", None)]
    assert [one["level"] for one in run["results"]] == ["note", "error"]
    assert run["results"][0]["suppressions"] == [{"kind": "inSource", "justification": "why"}]
    assert "suppressions" not in run["results"][1]
    (location,) = run["results"][1]["locations"]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == "compose.yaml"
    ids = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert {one["ruleId"] for one in run["results"]} <= ids
