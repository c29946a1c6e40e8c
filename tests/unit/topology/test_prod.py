"""What `inv up --env prod` refuses before anything is made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from letta_stack.engine.inspect import Engine
from letta_stack.errors import BadSecret, BadValue, TooFewResources
from letta_stack.topology import capacity, lifecycle, preflight, secret_files
from letta_stack.topology.project import Project
from letta_stack.topology.runners.compose import Compose
from letta_stack.topology.runners.protocol import Published, State

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
    with pytest.raises(BadValue, match=r"published on 0\.0\.0\.0: whoever reaches it can run code"):
        preflight.open_api(public, off)


def test_every_replica_is_waited_for_also_when_nobody_says_how_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    health = {"letta-server-1": "healthy", "letta-server-2": "starting"}

    def states(_: Compose) -> list[State]:
        servers = [State("letta-server", name, "running", one, 0) for name, one in health.items()]
        others = [
            name for name in prod.topology.names if name not in {"letta-server", "letta-migrate"}
        ]
        return [
            *servers,
            *(State(name, f"{name}-1", "running", "healthy", 0) for name in others),
            State("letta-migrate", "letta-migrate-1", "exited", "", 0),
        ]

    prod = Project.of("prod")
    monkeypatch.setattr(Compose, "states", states)

    assert not lifecycle.ready(prod)
    health["letta-server-2"] = "healthy"
    assert lifecycle.ready(prod)


def test_other_topologies_have_no_secret_files() -> None:
    with pytest.raises(BadValue, match="--env single keeps no secrets here"):
        secret_files.show(Project.of("single"), "server-password")
