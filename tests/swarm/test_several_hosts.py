"""What an operator of several hosts counts on: servers on all of them, updates that nobody notices, a host that may go."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import requests

from letta_stack import errors
from letta_stack.base import process
from letta_stack.secrets import kinds
from letta_stack.secrets.store import FINGERPRINTS, Store
from letta_stack.topology import swarm_checks
from letta_stack.topology.catalogue import DATABASE, GATEWAY, SERVER
from tests.smoke import harness
from tests.smoke.clients import Clients
from tests.swarm.conftest import INV, PROJECT

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.swarm.conftest import Stack

NEXT, BROKEN, LACKING = (
    f"letta-stack/smoke:swarm-{name}" for name in ("next", "broken", "lacking")
)
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], 9000), 10)"
DRAINED, LOST = (
    1,
    2,
)  # hosts; a server of the lost one is there, for the drained one's went elsewhere


def on(stack: Stack, service: str) -> list[str]:
    return sorted(stack.tasks(service).values())


def names(stack: Stack) -> list[str]:
    return [one.name for one in stack.hosts]


def test_every_host_has_a_server_and_publishes_the_api(spread: Stack) -> None:
    assert on(spread, SERVER) == on(spread, GATEWAY.name) == names(spread)
    assert on(spread, DATABASE.name) == names(spread)[:1]
    for host in range(len(spread.hosts)):
        gateway = spread.gateway(host)
        assert (gateway.status(gateway.password), gateway.status()) == (200, 401)


def test_a_task_of_another_host_is_reached_by_a_context_of_its_name(
    spread: Stack, tmp_path: Path
) -> None:
    settings = {**spread.hosts[1].docker, "DOCKER_CONFIG": str(tmp_path)}
    command = ("exec", "--service", DATABASE.name, "--", "hostname")

    code, said = spread.refused(*command, **settings)
    assert (code, "docker context create" in said) == (errors.HostUnreachable.exit_code, True), said

    first = spread.hosts[0]
    context = ["docker", "context", "create", first.name]
    endpoint = f"--docker=host={first.docker['DOCKER_HOST']}"
    process.capture([*context, endpoint], env={"DOCKER_CONFIG": str(tmp_path)})
    (task,) = spread.tasks(DATABASE.name)
    inside = first.ask("exec", f"{PROJECT}_{DATABASE.name}.1.{task}", "hostname")
    flags = ["--env", "swarm", "--project", PROJECT]
    assert process.capture([*INV, command[0], *flags, *command[1:]], env=settings).strip() == inside


def test_an_image_that_a_host_lacks_is_refused_before_anything_changes(spread: Stack) -> None:
    before = spread.tasks(SERVER)
    spread.hosts[0].variant(spread.image, "LABEL smoke=lacking", LACKING)

    code, said = spread.refused("deploy", "--image", LACKING)

    assert (code, f"cannot get {LACKING}" in said) == (errors.NodesCannotPull.exit_code, True), said
    assert spread.tasks(SERVER) == before
    assert "-image-" not in spread.hosts[0].ask("service", "ls", "--format={{.Name}}")


def test_it_is_known_beforehand_whether_hosts_can_talk_encrypted(
    spread: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = {SERVER: {"image": spread.image, "deploy": {}}}
    manager = spread.hosts[0].docker["DOCKER_HOST"]
    refused = ""
    with monkeypatch.context() as there:
        there.setenv("DOCKER_HOST", manager)
        try:
            swarm_checks.images(f"{PROJECT}-x", services, swarm_checks.hosts(), encrypted=True)
        except errors.ClusterLacks as error:
            refused = str(error)

    assert talk(spread, "plain")
    assert talk(spread, "encrypted", "--opt=encrypted") == (not refused), refused


def talk(stack: Stack, network: str, *options: str) -> bool:
    """Say whether a container of the first host hears one of the second host, on a network of their own."""
    first, second, *_ = stack.hosts
    first.ask("network", "create", "--driver=overlay", "--attachable", *options, network)
    where = [f"--network={network}", "--entrypoint=/usr/bin/python3", "--no-healthcheck"]
    try:
        first.ask(
            *("run", "--detach", f"--name={network}", *where, stack.image),
            *("-m", "http.server", "9000", "--directory=/var/empty"),
        )
        here = ["docker", "exec", network, "/usr/bin/python3", "-IS", "-c", CONNECT, network]
        harness.expect(
            lambda: process.probe(here, env=first.docker).ok,
            timeout=harness.START_SECONDS,
            what=lambda: f"nobody listens: {process.probe(here, env=first.docker).stderr}",
        )
        there = ["docker", "run", "--rm", *where, stack.image, "-IS", "-c", CONNECT, network]
        return any(process.probe(there, env=second.docker).ok for _ in range(3))
    finally:
        first.ask("rm", "--force", network)
        first.ask("network", "rm", network)


def test_a_backup_is_verified_and_brings_back_what_was_there(spread: Stack, tmp_path: Path) -> None:
    place = ("--dir", str(tmp_path))
    blocks = spread.gateway().client().blocks
    block = blocks.create(label="kept", value="before")

    spread.inv("backup.create", *place, "--clear-secrets")
    assert "tables are equal" in spread.inv("backup.verify", *place)
    blocks.update(block.id, value="after")
    spread.inv("backup.restore", *place, "--clear-secrets", "--yes")

    assert blocks.retrieve(block.id).value == "before"
    assert on(spread, SERVER) == names(spread)


def test_the_doctor_finds_nothing_that_fails(spread: Stack) -> None:
    seen = spread.inv("doctor")

    assert "3 take tasks" in seen
    assert "at head" in seen


def test_a_changed_secret_is_a_new_version_and_only_its_readers_are_replaced(
    spread: Stack,
) -> None:
    gateway, store = spread.gateway(), Store.of(PROJECT)
    before, database = spread.tasks(SERVER), spread.tasks(DATABASE.name)
    old, secrets = gateway.password, versions(spread, kinds.SERVER)

    # As somebody does who brings another file here.
    store.write(kinds.SERVER, kinds.new(kinds.SERVER))
    known = store.fingerprints()
    del known[kinds.SERVER]
    store.write(FINGERPRINTS, json.dumps(known))
    spread.inv("up", "--replicas", str(len(spread.hosts)))

    assert not spread.tasks(SERVER).keys() & before.keys()
    assert spread.tasks(DATABASE.name) == database
    assert (gateway.status(gateway.password), gateway.status(old)) == (200, 401)
    assert len(versions(spread, kinds.SERVER) - secrets) == 1


def versions(stack: Stack, name: str) -> set[str]:
    wanted = f"--filter=name={PROJECT}_{name}-"
    return set(stack.hosts[0].ask("secret", "ls", "--quiet", wanted).split())


def test_nobody_notices_an_update_nor_one_that_fails_nor_the_way_back(spread: Stack) -> None:
    before = spread.tasks(SERVER)
    for host in spread.hosts:
        host.variant(spread.image, "LABEL smoke=next", NEXT)
        host.variant(spread.image, 'ENTRYPOINT ["false"]', BROKEN)

    with Clients(spread.gateway()) as clients:
        spread.inv("deploy", "--image", NEXT)
        deployed = spread.tasks(SERVER)
        code, said = spread.refused("deploy", "--image", BROKEN)
        assert (code, "again" in said) == (errors.DeployFailed.exit_code, True), said
        assert len(spread.tasks(SERVER).keys() & deployed.keys()) >= len(spread.hosts) - 1
        spread.inv("rollback")

    assert clients.failures == [], f"of {clients.sent}"
    assert not spread.tasks(SERVER).keys() & (before.keys() | deployed.keys())
    service = json.loads(spread.hosts[0].ask("service", "inspect", f"{PROJECT}_{SERVER}"))
    assert service[0]["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] == spread.image


def test_a_host_that_is_drained_hands_its_server_on(spread: Stack) -> None:
    host = names(spread)[DRAINED]

    try:
        with Clients(spread.gateway()) as clients:
            spread.hosts[0].ask("node", "update", "--availability=drain", host)
            moved(spread, without=host)
    finally:
        spread.hosts[0].ask("node", "update", "--availability=active", host)

    assert clients.failures == [], f"of {clients.sent}"
    served_by(spread, DRAINED)


def test_a_host_that_is_lost_is_replaced_while_the_others_serve(spread: Stack) -> None:
    lost = spread.hosts[LOST]
    assert lost.name in on(spread, SERVER)
    gateway = spread.gateway()
    answers: list[float] = []  # seconds that a request took while the swarm believed in the host
    lost_requests = 0

    lost.kill()
    state = ("node", "inspect", "--format={{.Status.State}}", lost.name)
    while spread.hosts[0].ask(*state) == "ready":
        began = time.monotonic()
        try:
            assert gateway.status(gateway.password) == 200
        except requests.Timeout:
            lost_requests += 1  # it was handed to a server that could not say that it is gone
        else:
            answers.append(time.monotonic() - began)
    moved(spread, without=lost.name)
    assert f"{lost.name} of {len(spread.hosts)} take no tasks" in spread.inv("doctor")
    with Clients(gateway) as clients:
        spread.inv("exec", "--", "true")

    assert answers, f"{lost_requests} requests were lost and none answered"
    assert clients.failures == [], f"of {clients.sent}"
    print(f"{len(answers)} answers, the slowest after {max(answers):.1f} s, {lost_requests} lost")
    lost.start()
    served_by(spread, LOST)


def moved(stack: Stack, *, without: str) -> None:
    def elsewhere() -> bool:
        return len(on(stack, SERVER)) == len(stack.hosts) and without not in on(stack, SERVER)

    harness.expect(
        elsewhere, timeout=harness.START_SECONDS, what=lambda: f"servers on {on(stack, SERVER)}"
    )


def served_by(stack: Stack, host: int) -> None:
    seen: list[object] = []

    def answers() -> bool:
        try:
            seen.append(stack.gateway(host).status(stack.gateway(host).password))
        except (requests.RequestException, errors.CommandFailed) as error:
            seen.append(error)
        return seen[-1] == 200

    harness.expect(answers, timeout=harness.START_SECONDS, what=lambda: f"{seen[-1]}")
