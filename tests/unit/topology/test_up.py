"""What `inv up` hands from step to step, and what ends it."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from letta_stack.base import http_wait
from letta_stack.errors import (
    AcceleratorMissing,
    BadSecret,
    BadValue,
    PolicyBroken,
    ServiceFailed,
    TooFewResources,
    WaitTimedOut,
)
from letta_stack.policy import monitoring as policy
from letta_stack.policy.model import Finding
from letta_stack.topology import (
    capacity,
    inputs,
    language_model,
    lifecycle,
    monitoring,
    preflight,
    secret_files,
)
from letta_stack.topology.project import Project
from letta_stack.topology.runners.protocol import Published
from tests.support.up_steps import ENGINE, MODEL, PROD, SERVICES, SOURCES, Steps, running


def test_prod_is_checked_gets_its_variables_and_answers_over_tls(
    steps: Steps, capsys: pytest.CaptureFixture[str]
) -> None:
    steps.states = [running("letta-nginx"), running("letta-server")]
    api = Published("letta-nginx", "127.0.0.1", 8283, "https")
    plain = Published("letta-nginx", "127.0.0.1", 8280, "http")

    lifecycle.up(PROD, SOURCES)

    assert steps.given["variables"] == ("mine",)
    assert steps.given["ports"] == ([api, plain], "mine", {"letta-nginx": "--port"})
    assert steps.given["open_api"] == ([api, plain], MODEL)
    assert steps.given["certificate"] == ("mine",)
    assert steps.given["check"] == (ENGINE, False)
    assert steps.given["sources"] == (PROD.topology.images, ENGINE, "mine/letta:1", [])
    assert steps.given["architecture"] == ("mine/letta:1", ENGINE)
    assert steps.given["data_directory"][1:] == (MODEL, {"REDIS_IMAGE": "redis"})
    (started,) = steps.given["start"]
    assert started.expected["letta-server"] == 2
    user = secret_files.store(PROD).user
    assert started.variables == user | {
        "LETTA_STACK_CPUS": "1",
        "LETTA_STACK_IMAGE": "deployed",
        "LETTA_STACK_SECRETS": "/secrets",
        "REDIS_IMAGE": "redis",
    }
    url, timeout, context = steps.given["wait_for_status"]
    assert url == "https://localhost:8283/health"
    assert timeout == lifecycle.FIRST_ANSWER_SECONDS
    assert context == "the project's authority"
    said = capsys.readouterr().out
    assert "the API is at https://localhost:8283" in said
    assert "inv secrets.show server-password" in said


def test_a_topology_without_a_server_says_where_its_data_is(
    steps: Steps, capsys: pytest.CaptureFixture[str]
) -> None:
    steps.model = {"services": {"letta-db": {}, "letta-redis": {}}}

    lifecycle.up(SERVICES, SOURCES)

    assert steps.given["sources"] == (("POSTGRES_IMAGE", "REDIS_IMAGE"), ENGINE, "", [])
    assert {"architecture", "wait_for_status", "certificate", "prepare"}.isdisjoint(steps.given)
    assert capsys.readouterr().out.startswith("export A=1\n")


def test_a_language_model_is_pulled_and_asked_after(
    steps: Steps, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    published = [{"target": 8283, "published": "8283", "host_ip": "127.0.0.1"}]
    server = {"image": "mine/letta:1", "environment": {}, "ports": published}
    steps.model = {"services": {"letta-server": server, "letta-llm": {"image": "vllm:1"}}}
    steps.states = [running("letta-server")]
    monkeypatch.setattr(language_model, "silence", lambda _, container: f"{container} is told")

    lifecycle.up(Project.of("vllm", project="mine"), SOURCES)

    assert steps.given["sources"] == ((), ENGINE, "mine/letta:1", ["vllm:1"])
    assert capsys.readouterr().err == "warning: mine-letta-server-1 is told\n"


def test_a_setting_of_the_language_model_is_checked_first(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LETTA_STACK_LLM", "other")

    with pytest.raises(BadValue, match="LETTA_STACK_LLM"):
        lifecycle.up(Project.of("vllm"), SOURCES)

    assert "sources" not in steps.given


@pytest.mark.parametrize(
    ("server", "error"),
    [
        ({"deploy": {"resources": {"reservations": {"memory": 2**34}}}}, TooFewResources),
        (
            {"deploy": {"resources": {"reservations": {"devices": [{"driver": "nvidia"}]}}}},
            AcceleratorMissing,
        ),
        ({"ports": [{"published": "5432", "target": 5432, "host_ip": "0.0.0.0"}]}, PolicyBroken),
    ],
)
def test_what_cannot_run_here_is_refused_before_anything_is_made(
    server: dict[str, Any], error: type[Exception], steps: Steps
) -> None:
    model = {"letta-db": server, "letta-redis": {}}
    steps.model = {"services": model}

    with pytest.raises(error):
        lifecycle.up(SERVICES, SOURCES)

    assert "sources" not in steps.given


def observability(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Bring the topology's own services to the model; return what is told and taught."""
    ports = [{"target": 3000, "published": "3001", "host_ip": "127.0.0.1"}]
    steps.model = {"services": {**MODEL["services"], "letta-dashboard": {"ports": ports}}}
    steps.states = [running("letta-server"), running("letta-db")]
    told: list[tuple[object, ...]] = []
    monkeypatch.setattr(monitoring, "prepare", lambda _: {"DIRECTORY": "/metrics"})
    monkeypatch.setattr(monitoring, "migrated", lambda *given: told.append(("migrated", *given)))
    monkeypatch.setattr(monitoring, "teach", lambda project: told.append(("teach", project.name)))
    return told


WATCHED = Project.of("observability", project="mine")


def test_a_topology_that_watches_itself_is_told_of_the_migration_and_shows_its_dashboards(
    steps: Steps, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = observability(steps, monkeypatch)

    lifecycle.up(WATCHED, SOURCES)

    assert told == [("migrated", "mine", steps.states), ("teach", "mine")]
    (started,) = steps.given["start"]
    assert started.variables["DIRECTORY"] == "/metrics"
    assert "the dashboards are at http://localhost:3001" in capsys.readouterr().out


def test_rules_that_cannot_be_read_are_refused_before_anything_is_made(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = observability(steps, monkeypatch)
    broken = Finding("local-x.yaml", "X", policy.RULE_FILE, "is no expression")
    monkeypatch.setattr(policy, "check", lambda _: [broken])

    with pytest.raises(PolicyBroken, match=r"local-x\.yaml: X: rule-file"):
        lifecycle.up(WATCHED, SOURCES)

    assert told == []
    assert "sources" not in steps.given


def test_a_migration_that_failed_is_told_too(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    told = observability(steps, monkeypatch)

    def fail(_: Project) -> None:
        raise ServiceFailed("the migration")

    monkeypatch.setattr(lifecycle, "start", fail)

    with pytest.raises(ServiceFailed):
        lifecycle.up(WATCHED, SOURCES)
    assert told == [("migrated", "mine", steps.states)]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (preflight, "client_authority"),
        (preflight, "telemetry_authority"),
        (capacity, "check"),
        (inputs, "settings"),
        (inputs, "bind_mounts"),
        (inputs, "data_directory"),
        (language_model, "check"),
    ],
)
def test_whatever_a_check_refuses_ends_it(
    module: object, name: str, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise BadValue(name)

    monkeypatch.setattr(module, name, refuse)

    with pytest.raises(BadValue):
        lifecycle.up(PROD, SOURCES)
    assert "start" not in steps.given
    # The data are looked at by the image of the database, which must be there.
    assert ("sources" in steps.given) is (name == "data_directory")


def test_a_given_secret_is_refused_before_anything_is_made(steps: Steps) -> None:
    server = {**MODEL["services"]["letta-server"], "x-given": {"LETTA_PG_URI": "yes"}}
    steps.model = {"services": {**MODEL["services"], "letta-server": server}}

    with pytest.raises(BadSecret):
        lifecycle.up(PROD, SOURCES)

    assert "sources" not in steps.given


def test_plain_http_needs_no_authority(steps: Steps) -> None:
    lifecycle.answer(PROD, Published("letta-nginx", "127.0.0.1", 80))

    assert steps.given["wait_for_status"] == (
        "http://localhost:80/health",
        lifecycle.FIRST_ANSWER_SECONDS,
        None,
    )


def test_an_api_that_does_not_answer_is_an_error_of_its_own(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object, **__: object) -> None:
        raise WaitTimedOut("gave up")

    monkeypatch.setattr(http_wait, "wait_for_status", silent)

    with pytest.raises(ServiceFailed, match="healthy, but the API does not answer: gave up"):
        lifecycle.answer(PROD, Published("letta-nginx", "127.0.0.1", 80))


def test_a_certificate_is_checked_with_the_projects_own_authority(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[object] = []
    monkeypatch.setattr(
        http_wait, "wait_for_status", lambda _, **options: seen.append(options["context"])
    )

    lifecycle.answer(PROD, Published("letta-nginx", "127.0.0.1", 443, "https"))

    assert isinstance(seen[0], ssl.SSLContext)
