"""Replicas come, go and change addresses; a request is lost only if it was on its way."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
from python_on_whales import docker

from letta_stack.image.contract import API_PORT
from letta_stack.operate.replicas import LEAVING
from tests.gateway import driver
from tests.smoke import harness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.gateway.driver import Gateway

READY_PORT = API_PORT + 1
MOMENT = 8.0
"""Seconds in which the gateway has found out."""


@pytest.fixture
def own_network() -> Iterator[str]:
    with harness.network(f"{harness.RUN}-replicas-{secrets.token_hex(2)}") as name:
        yield name


def replicas(gateway: Gateway, requests: int = 8) -> set[str]:
    """Return which replicas answer POSTs, each of which must be answered."""
    answers = [gateway.post("/echo", data=b"x") for _ in range(requests)]

    assert {answer.status_code for answer in answers} == {200}
    return {answer.headers["X-Replica"] for answer in answers}


def _in(gateway: Gateway, command: str) -> str:
    """Run a line of shell in the gateway's container."""
    return str(docker.container.execute(gateway.container, ["sh", "-c", command]))


def _answer(gateway: Gateway) -> set[str]:
    """Return which replicas answer, while it may be that none does."""
    answers = [gateway.post("/echo", data=b"x") for _ in range(8)]
    return {answer.headers.get("X-Replica", "none") for answer in answers}


def test_a_thousand_replicas_fit(nginx_image: str, own_network: str) -> None:
    # Of as many addresses as a name has, nginx keeps what its workers share in one piece of memory.
    count, name = 1000, "letta-many"
    environment = {
        "LETTA_STACK_UPSTREAM": f"{name}:{API_PORT}",
        "LETTA_STACK_READY_PORT": str(READY_PORT),
    }
    with harness.running(
        f"gateway-many-{secrets.token_hex(2)}",
        image=nginx_image,
        networks=[own_network],
        publish=[("127.0.0.1:", driver.PORT)],
        add_hosts=[(name, f"10.9.{number // 250}.{number % 250 + 1}") for number in range(count)],
        envs=environment,
        **driver.options(),
    ) as container:
        one = driver.Gateway(
            container, int(harness.published_url(container, driver.PORT).rpartition(":")[2])
        )
        harness.expect(lambda: driver.answers(one), timeout=10, what="nginx refuses so many")

        assert _in(one, "grep -c ^server /tmp/gateway/upstream.conf").strip() == str(2 * count)


def test_replicas_come_and_go_without_a_lost_request(nginx_image: str, own_network: str) -> None:
    with (
        driver.backend("replica-1", own_network),
        driver.gateway("gateway-replicas", nginx_image, own_network) as gateway,
    ):
        _wait_for_a_replica(gateway)
        one = replicas(gateway)
        assert len(one) == 1
        stream = gateway.post("/events?count=2&pause=6", stream=True)
        lines = stream.iter_lines()
        assert next(lines) == b"data: 0"

        with driver.backend("replica-2", own_network) as second:
            _wait_for_both(gateway)
            # nginx was reloaded for that, and goes on with the stream.
            assert [line for line in lines if line] == [b"data: 1"]

            # Dead, but its address is still known: the other one answers.
            docker.container.kill(second)
            assert replicas(gateway) == one
            docker.container.start(second)
            _wait_for_both(gateway)


def test_a_replica_that_is_about_to_stop_gets_nothing_more(
    nginx_image: str, own_network: str
) -> None:
    with (
        driver.backend("stays", own_network) as stays,
        driver.backend("leaves", own_network) as leaves,
        driver.gateway("gateway-leaving", nginx_image, own_network) as gateway,
    ):
        _wait_for_both(gateway)
        addresses = {name: _address(name, own_network) for name in (stays, leaves)}
        _in(gateway, f"echo {addresses[leaves]} >{LEAVING}")
        one = {str(docker.container.inspect(stays).config.hostname)}
        harness.expect(
            lambda: _answer(gateway) == one, timeout=MOMENT, what="the other one is asked, too"
        )
        assert replicas(gateway, 20) == one

        # Nobody else is there: rather one that may stop than none.
        _in(gateway, f"printf '%s\\n' {addresses[stays]} {addresses[leaves]} >{LEAVING}")
        _wait_for_both(gateway)

        # Its address is forgotten with it.
        docker.container.stop(leaves, time=1)
        harness.expect(
            lambda: _answer(gateway) == one, timeout=MOMENT, what="the other one is asked, too"
        )
        _in(gateway, f"echo {addresses[leaves]} >{LEAVING}")
        harness.expect(
            lambda: _in(gateway, f"ls {LEAVING} 2>&1 || true").startswith("ls: "),
            timeout=MOMENT,
            what="an address that nobody has is remembered",
        )


def test_a_replica_that_is_not_ready_gets_nothing_as_long_as_another_one_is(
    nginx_image: str, own_network: str
) -> None:
    settings = {"LETTA_STACK_READY_PORT": str(READY_PORT)}
    with (
        driver.backend("ready", own_network, API_PORT, READY_PORT) as ready,
        driver.backend("not-ready", own_network, API_PORT),
        driver.gateway("gateway-ready", nginx_image, own_network, settings) as gateway,
    ):
        one = {str(docker.container.inspect(ready).config.hostname)}
        # As soon as its ports are open, and what nginx thinks of that is two seconds old.
        harness.expect(
            lambda: _answer(gateway) == one, timeout=MOMENT, what="the other one answers"
        )
        assert replicas(gateway, 20) == one

        # None is ready: both answer, so that a client hears from the server itself what is wrong.
        with driver.backend("not-ready-2", own_network, API_PORT):
            docker.container.kill(ready)
            _wait_for_both(gateway)
            assert not one & replicas(gateway)
            docker.container.start(ready)
            harness.expect(
                lambda: _answer(gateway) == one, timeout=MOMENT, what="the ready one is left out"
            )


def test_a_client_goes_on_with_its_connection_after_a_reload(
    nginx_image: str, own_network: str
) -> None:
    request = b"GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with (
        driver.backend("kept", own_network),
        driver.gateway("gateway-kept", nginx_image, own_network) as gateway,
    ):
        _wait_for_a_replica(gateway)
        with gateway.connect() as connection:
            connection.sendall(request)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")

            _in(gateway, "kill -HUP $(cat /tmp/gateway/nginx.pid)")
            # The worker that has the connection is one of before, and would be gone if it had closed it.
            harness.expect(
                lambda: _in(gateway, "cat /proc/[0-9]*/cmdline").count("is shutting down") > 0,
                timeout=MOMENT,
                what="no worker of before the reload is left",
            )
            connection.sendall(request)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_server_with_another_address_is_found(nginx_image: str, own_network: str) -> None:
    with driver.gateway("gateway-address", nginx_image, own_network) as gateway:
        early = gateway.post("/echo")
        assert early.status_code == 503
        assert early.headers["Retry-After"] == "2"
        assert "nothing of this request was processed" in early.json()["detail"]
        assert gateway.get("/health").status_code == 503

        with driver.backend("address-1", own_network) as container:
            first = _address(container, own_network)
            harness.expect(
                lambda: gateway.post("/echo").ok, timeout=MOMENT, what="the server is not found"
            )
            assert gateway.get("/health").status_code == 200
            assert gateway.request("HEAD", "/health").status_code == 200
        with harness.running(
            "holds-the-address",
            image=nginx_image,
            command=["sleep", "60"],
            networks=[own_network],
        ) as holder:
            assert _address(holder, own_network) == first
            with driver.backend("address-2", own_network) as container:
                assert _address(container, own_network) != first
                harness.expect(
                    lambda: gateway.post("/echo").ok, timeout=MOMENT, what="the server is not found"
                )


def test_a_stopped_gateway_lets_requests_end(gateway_with: Callable[..., Gateway]) -> None:
    gateway = gateway_with()
    stream = gateway.post("/events?count=4&pause=0.4", stream=True)
    lines = stream.iter_lines()
    assert next(lines) == b"data: 0"
    docker.container.stop(gateway.container, time=20)

    assert [line for line in lines if line] == [b"data: 1", b"data: 2", b"data: 3"]
    assert docker.container.inspect(gateway.container).state.exit_code == 0


def _wait_for_both(gateway: Gateway) -> None:
    harness.expect(lambda: len(replicas(gateway)) == 2, timeout=MOMENT, what="one replica only")


def _address(container: str, network: str) -> str:
    networks = docker.container.inspect(container).network_settings.networks or {}
    return str(networks[network].ip_address)


def _wait_for_a_replica(gateway: Gateway) -> None:
    harness.expect(lambda: gateway.get("/health").ok, timeout=MOMENT, what="no replica")
