"""What `inv up --env prod` refuses before anything is made."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.certs import make, store
from letta_stack.engine.inspect import Engine
from letta_stack.errors import (
    BadCertificate,
    BadSecret,
    BadValue,
    ServiceFailed,
    TooFewResources,
)
from letta_stack.topology import capacity, lifecycle, preflight, report, secret_files
from letta_stack.topology.project import Project
from letta_stack.topology.runners.compose import Compose
from letta_stack.topology.runners.protocol import Published, State

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1024**3
ENGINE = Engine(
    version="26.1.5",
    containerd_store=True,
    architecture="amd64",
    root_dir="/",
    buildx="0.13.1",
    compose="2.26.1",
    processors=2,
    memory=4 * GIB,
)


def model(**server: Any) -> dict[str, Any]:
    reserved = {"reservations": {"memory": str(GIB)}}
    return {
        "services": {
            "letta-server": {"deploy": {"replicas": 1, "resources": reserved}, **server},
            "letta-nginx": {},
        }
    }


def given(**settings: str) -> dict[str, Any]:
    return {"services": {"letta-server": {"x-given": settings}}}


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "101"])
def test_a_number_of_replicas_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match="is not a number of servers; give one from 1 to 100"):
        Project.of("prod", replicas=text)


def test_replicas_of_a_topology_with_one_server_are_refused() -> None:
    with pytest.raises(BadValue, match="single runs one server; use --env prod"):
        Project.of("single", replicas="2")


def test_the_number_in_dotenv_counts_as_well() -> None:
    prod = Project.of("prod")

    assert prod.counted(model(deploy={"replicas": 3})).expected["letta-server"] == 3
    with pytest.raises(BadValue, match="'0' is not a number of servers"):
        prod.counted(model(deploy={"replicas": 0}))


def test_more_than_the_memory_allows_is_refused() -> None:
    capacity.check(model(), {"letta-server": 4, "letta-nginx": 1}, ENGINE)

    with pytest.raises(
        TooFewResources, match=r"reserve 5\.0 GiB, 5 x letta-server alone 5\.0.*has 4\.0 GiB"
    ):
        capacity.check(model(), {"letta-server": 5, "letta-nginx": 1}, ENGINE)


def test_a_machine_with_one_processor_gets_limits_that_the_engine_takes() -> None:
    assert capacity.variables(replace(ENGINE, processors=1)) == {"LETTA_STACK_CPUS": "1"}
    assert capacity.variables(ENGINE) == {}
    assert capacity.variables(replace(ENGINE, processors=0)) == {}  # the engine does not say
    assert capacity.variables(replace(ENGINE, processors=8)) == {}


def test_an_engine_that_does_not_tell_its_memory_is_taken_at_its_word() -> None:
    capacity.check(model(), {"letta-server": 50}, replace(ENGINE, memory=0))


def test_a_service_that_nobody_counts_is_one_container() -> None:
    small = replace(ENGINE, memory=GIB)
    capacity.check(model(), {}, small)

    with pytest.raises(TooFewResources, match=r"1 x letta-server alone 1\.0"):
        capacity.check(model(), {}, replace(small, memory=GIB - 1))


@pytest.mark.parametrize(
    "service",
    [
        {},
        {"deploy": {}},
        {"deploy": {"resources": {}}},
        {"deploy": {"resources": {"reservations": {}}}},
    ],
)
def test_what_reserves_nothing_reserves_nothing(service: dict[str, Any]) -> None:
    assert capacity.reservation(service) == 0


def test_what_the_files_give_may_not_come_from_elsewhere_too() -> None:
    secret_files.single_source(given(LETTA_PG_URI=""))

    with pytest.raises(
        BadSecret, match=r"LETTA_PG_HOST, LETTA_PG_URI is set in \.env or the shell"
    ):
        secret_files.single_source(given(LETTA_PG_HOST="yes", LETTA_PG_URI="yes", LETTA_PG_DB=""))


def test_an_api_without_password_is_not_published_to_others() -> None:
    off = model(environment={"LETTA_SERVER_SECURE": "False"})
    local = [Published("letta-nginx", "127.0.0.1", 8283)]
    public = [Published("letta-nginx", "0.0.0.0", 8283)]

    preflight.open_api(local, off)
    preflight.open_api(public, model(environment={"LETTA_SERVER_SECURE": None}))
    preflight.open_api(public, model(environment=None))
    preflight.open_api(public, {"services": {}})
    with pytest.raises(BadValue, match="published on every address"):
        preflight.open_api([*local, Published("letta-nginx", "", 8283)], off)
    with pytest.raises(BadValue, match=r"published on 0\.0\.0\.0: whoever reaches it can run code"):
        preflight.open_api(public, off)


def asking_for_certificates(authority: Path) -> dict[str, Any]:
    gateway = {
        "environment": {"LETTA_STACK_CLIENT_CA": str(authority)},
        "volumes": [
            {"source": "/elsewhere", "target": "/srv/static"},
            {"source": str(authority), "target": "/etc/letta-stack/client-ca.pem"},
        ],
    }
    return {"services": {"letta-nginx": gateway}}


def test_certificates_of_clients_need_https_and_an_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "DIRECTORY", tmp_path)
    authority = tmp_path / "p" / store.AUTHORITY
    preflight.client_authority("p", model())  # nobody asks for any

    with pytest.raises(BadCertificate, match="which needs HTTPS; make a certificate first"):
        preflight.client_authority("p", asking_for_certificates(authority))
    now = dt.datetime.now(tz=dt.UTC)
    make.make(tmp_path / "p", [], days=90, force=False, now=now, say=print)
    preflight.client_authority("p", asking_for_certificates(authority))
    with pytest.raises(BadCertificate, match=r"LETTA_STACK_CLIENT_CA: .* is no authority"):
        preflight.client_authority("p", asking_for_certificates(tmp_path / "p" / store.GATEWAY))


PROD = Project.of("prod")
WITHOUT_SERVERS = [
    name for name in PROD.topology.names if name not in {"letta-server", "letta-migrate"}
]
MIGRATED = State("letta-migrate", "letta-migrate-1", "exited", "", 0)


def containers(migration: State, *health: str) -> list[State]:
    return [
        *(State("letta-server", f"letta-server-{one}", "running", one, 0) for one in health),
        *(State(name, f"{name}-1", "running", "healthy", 0) for name in WITHOUT_SERVERS),
        migration,
    ]


def test_the_authority_of_a_telemetry_backend_is_looked_at_where_it_is_mounted(
    tmp_path: Path,
) -> None:
    now = dt.datetime.now(tz=dt.UTC)
    make.make(tmp_path, [], days=90, force=False, now=now, say=print)

    def sending(file: str) -> dict[str, Any]:
        mount = {"source": str(tmp_path / file), "target": "/etc/letta-stack/otlp-ca.pem"}
        setting = {"LETTA_STACK_OTLP_CA": "/etc/letta-stack/otlp-ca.pem"}
        # The server of `prod` has the setting, but neither collector nor mount.
        return {
            "services": {
                "letta-server": {"environment": setting, "volumes": None},
                "letta-collector": {"environment": setting, "volumes": [mount]},
            }
        }

    preflight.telemetry_authority(model())
    preflight.telemetry_authority(sending(store.AUTHORITY))
    for wrong in (store.GATEWAY, "missing.pem"):
        with pytest.raises(BadCertificate):
            preflight.telemetry_authority(sending(wrong))


@pytest.mark.parametrize(
    ("migration", "health", "ready"),
    [
        (MIGRATED, ["healthy", "starting"], False),
        (MIGRATED, ["healthy", "healthy"], True),
        (replace(MIGRATED, state="running"), ["starting", "starting"], False),
        # A migration of minutes: the servers are there, but not healthy in time.
        (replace(MIGRATED, state="running"), ["unhealthy", "starting"], False),
        (replace(MIGRATED, state="created"), ["healthy", "healthy"], False),
    ],
)
def test_every_replica_is_waited_for_and_the_migration(
    migration: State, health: list[str], ready: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Compose, "states", lambda _: containers(migration, *health))

    assert lifecycle.ready(PROD) is ready
    assert lifecycle.prepared(PROD) is (migration == MIGRATED)


@pytest.mark.parametrize(
    ("migration", "health", "broken"),
    [
        (MIGRATED, "unhealthy", "letta-server unhealthy"),
        (replace(MIGRATED, exit_code=75), "starting", "letta-migrate exited with code 75"),
    ],
)
def test_what_cannot_become_ready_any_more_ends_the_wait(
    migration: State, health: str, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Compose, "states", lambda _: containers(migration, health))
    monkeypatch.setattr(report, "last_words", lambda _: "")

    with pytest.raises(ServiceFailed, match=broken):
        lifecycle.wait_ready(PROD)


def test_other_topologies_have_no_secret_files() -> None:
    with pytest.raises(BadValue, match="--env single keeps no secrets here"):
        secret_files.show(Project.of("single"), "server-password")
