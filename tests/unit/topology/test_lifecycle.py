"""What `inv up` hands from step to step, and what the other verbs give the runner."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.base import http_wait
from letta_stack.certs import store
from letta_stack.engine import disk, inspect
from letta_stack.engine.inspect import Engine
from letta_stack.errors import (
    AcceleratorMissing,
    BadSecret,
    BadValue,
    NotRunning,
    PolicyBroken,
    ServiceFailed,
    TooFewResources,
    WaitTimedOut,
)
from letta_stack.image.sources import Sources
from letta_stack.topology import (
    capacity,
    deployed,
    dotenv,
    exports,
    inputs,
    language_model,
    lifecycle,
    monitoring,
    preflight,
    report,
    secret_files,
)
from letta_stack.topology.project import Project
from letta_stack.topology.runners.compose import Compose
from letta_stack.topology.runners.protocol import Published, State

if TYPE_CHECKING:
    from collections.abc import Callable

ENGINE = Engine(
    version="26.1.5",
    containerd_store=True,
    architecture="amd64",
    root_dir="/",
    buildx="0.13.1",
    compose="2.26.1",
    processors=1,
    memory=2**33,
)
SOURCES = Sources(images="auto", otelcol="auto", letta_source=None, ca=None)
PROD = Project.of("prod", project="mine")
SERVICES = Project.of("services", project="mine")


def running(service: str, number: int = 1, health: str = "healthy") -> State:
    return State(service, f"mine-{service}-{number}", "running", health, 0)


MODEL: dict[str, Any] = {
    "services": {
        "letta-server": {"image": "mine/letta:1", "environment": {}, "deploy": {"replicas": 2}},
        "letta-nginx": {
            "ports": [
                {"target": 8443, "published": "8283", "host_ip": "127.0.0.1"},
                {"target": 8080, "published": "8280", "host_ip": "127.0.0.1"},
            ]
        },
    }
}


class Steps:
    """Stands for everything that `up` calls, and remembers what it was given."""

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}
        self.model: dict[str, Any] = MODEL
        self.states: list[State] = []

    def step(self, name: str, answer: object = None) -> Callable[..., object]:
        def called(*arguments: object, **options: object) -> object:
            self.given[name] = (*arguments, *options.values())
            return answer

        return called


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    steps = Steps()
    replaced: list[tuple[object, str, object]] = [
        (inspect, "require", ENGINE),
        (dotenv, "check", None),
        (deployed, "variables", {"LETTA_STACK_IMAGE": "deployed"}),
        (disk, "check", None),
        (preflight, "ports", None),
        (preflight, "open_api", None),
        (preflight, "certificate", None),
        (preflight, "architecture", None),
        (secret_files, "prepare", {"LETTA_STACK_SECRETS": "/secrets"}),
        (inputs, "data_directory", None),
        (lifecycle, "start", None),
        (http_wait, "wait_for_status", 0.0),
        (exports, "lines", "export A=1"),
        (store, "context", "the project's authority"),
    ]
    for module, name, answer in replaced:
        monkeypatch.setattr(module, name, steps.step(name, answer))
    prepare = steps.step("sources", {"REDIS_IMAGE": "redis"})
    monkeypatch.setattr(Sources, "prepare", lambda _, *given, **named: prepare(*given, **named))
    monkeypatch.setattr(Compose, "config", lambda _: steps.model)
    monkeypatch.setattr(Compose, "states", lambda _: steps.states)
    return steps


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


def test_a_service_that_stays_unready_ends_the_wait(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps.states = [running("letta-db", health="starting")]
    monkeypatch.setattr(lifecycle, "HEALTHY_SECONDS", 0.0)
    monkeypatch.setattr(report, "last_words", str)

    with pytest.raises(ServiceFailed, match=r"after 0 s: letta-db starting, letta-redis not"):
        lifecycle.wait_ready(SERVICES)


def test_a_service_that_gets_ready_is_noticed_at_the_next_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = 0

    def states(_: Compose) -> list[State]:
        nonlocal looks
        looks += 1
        return [running("letta-db"), *([running("letta-redis")] if looks > 2 else [])]

    monkeypatch.setattr(Compose, "states", states)

    lifecycle.wait_ready(SERVICES)  # one look at what ends, two at what works

    assert looks == 3


@pytest.mark.parametrize(
    ("states", "ready"),
    [
        ([running("letta-db"), running("letta-redis")], True),
        ([running("letta-db")], False),
        ([running("letta-db"), running("letta-redis", health="starting")], False),
        # More than was asked for: `inv restart` knows no --replicas.
        ([running("letta-db"), running("letta-redis"), running("letta-redis", 2)], True),
        (
            [running("letta-db"), running("letta-redis"), running("letta-redis", 2, "starting")],
            False,
        ),
    ],
)
def test_ready_means_every_container_that_there_is(
    states: list[State], ready: bool, steps: Steps
) -> None:
    steps.states = states

    assert lifecycle.ready(SERVICES) is ready


def servers(count: int) -> list[State]:
    names = ("letta-db", "letta-redis", "letta-nginx", "letta-collector")
    return [
        *(running(name) for name in names),
        *(running("letta-server", number + 1) for number in range(count)),
    ]


@pytest.mark.parametrize(
    ("migration", "ready"),
    [
        (State("letta-migrate", "m", "exited", "", 0), True),
        (State("letta-migrate", "m", "running", "", 0), False),
        (State("letta-migrate", "m", "created", "", 0), False),
    ],
)
def test_a_one_shot_service_is_ready_when_it_has_ended(
    migration: State, ready: bool, steps: Steps
) -> None:
    steps.states = [*servers(1), migration]

    assert lifecycle.ready(PROD) is ready


def test_a_one_shot_service_that_failed_ends_the_wait(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "last_words", str)
    steps.states = [*servers(1), State("letta-migrate", "m", "exited", "", 3)]

    with pytest.raises(ServiceFailed, match=r"^letta-migrate exited with code 3;"):
        lifecycle.ready(PROD)


def test_fewer_replicas_than_wanted_are_waited_for(steps: Steps) -> None:
    migrated = State("letta-migrate", "m", "exited", "", 0)
    two = Project.of("prod", replicas="2")

    steps.states = [*servers(1), migrated]
    assert not lifecycle.ready(two)
    steps.states = [*servers(2), migrated]
    assert lifecycle.ready(two)


@pytest.fixture
def called(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """The calls of the runner, each of which answers with 7."""
    calls: list[tuple[object, ...]] = []

    def verb(name: str) -> Callable[..., int]:
        def call(_: Compose, *arguments: object, **options: object) -> int:
            calls.append((name, *arguments, *options.values()))
            return 7

        return call

    for name in ("ps", "logs", "show_config", "execute", "restart"):
        monkeypatch.setattr(Compose, name, verb(name))
    steps.states = [running("letta-db"), running("letta-redis")]
    return calls


def test_what_shows_something_ends_with_the_runners_exit_code(
    called: list[tuple[object, ...]],
) -> None:
    assert lifecycle.ps(SERVICES) == 7
    assert lifecycle.logs(SERVICES, service="letta-db", tail=5, follow=True) == 7
    assert lifecycle.config(SERVICES) == 7
    assert lifecycle.execute(SERVICES, service="", command=["id"]) == 7
    assert lifecycle.execute(SERVICES, service="letta-redis", command=["id"]) == 7
    assert called == [
        ("ps",),
        ("logs", "letta-db", 5, True),
        ("show_config",),
        ("execute", "letta-db", ["id"]),
        ("execute", "letta-redis", ["id"]),
    ]


@pytest.mark.parametrize("service", ["", "letta-redis"])
def test_a_restart_waits_until_all_do_their_work(
    service: str, called: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "wait_ready", lambda project: called.append(("wait", project)))

    lifecycle.restart(SERVICES, service=service)

    assert called == [("restart", service), ("wait", SERVICES)]


def test_a_restart_needs_a_running_project(called: list[tuple[object, ...]], steps: Steps) -> None:
    steps.states = []

    with pytest.raises(NotRunning, match="mine is not up; start it with `inv up --env services"):
        lifecycle.restart(SERVICES, service="")
    assert called == []
