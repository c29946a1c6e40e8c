"""What an operator can set, and what is refused before anything listens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from python_on_whales import docker

from tests.gateway import driver
from tests.smoke import harness

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gateway.driver import Gateway

FORWARDED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "Forwarded": "for=203.0.113.9",
}
ANYBODY = "0.0.0.0/0"


def seen(gateway: Gateway, path: str = "/echo", **headers: str) -> dict[str, str]:
    """Return the headers that reach the server."""
    return dict(gateway.get(path, headers=headers).json()["headers"])


def test_nobody_is_believed_about_where_a_request_comes_from(gateway: Gateway) -> None:
    headers = seen(gateway, **FORWARDED)

    assert headers["X-Forwarded-For"] == headers["X-Real-IP"] != "203.0.113.9"
    assert headers["X-Forwarded-Proto"] == "http"
    assert "Forwarded" not in headers


def test_a_trusted_proxy_is_believed(gateway_with: Callable[..., Gateway]) -> None:
    # What the engine's own proxy in front of the published port has as its address is the engine's secret.
    gateway = gateway_with(LETTA_STACK_TRUSTED_PROXIES="172.16.0.0/12, 192.168.0.0/16 10.0.0.0/8")

    headers = seen(gateway, **FORWARDED)

    assert headers["X-Forwarded-For"].startswith("203.0.113.9, ")
    assert headers["X-Real-IP"] == "203.0.113.9"
    assert headers["X-Forwarded-Proto"] == "https"
    redirect = gateway.get("/slash", headers=FORWARDED | {"Host": "letta.example.org"})
    assert redirect.headers["Location"] == "https://letta.example.org/slash/"


def test_the_api_can_live_under_a_path(gateway_with: Callable[..., Gateway]) -> None:
    gateway = gateway_with(LETTA_STACK_BASE_PATH="/letta")

    assert gateway.get("/letta/echo/a%2Fb?c=d").json()["path"] == "/echo/a%2Fb?c=d"
    assert gateway.get("/letta").headers["Location"] == f"{gateway.url}/letta/"
    assert gateway.get("/letta/slash").headers["Location"] == f"{gateway.url}/letta/slash/"
    elsewhere = gateway.get("/letta/elsewhere").headers["Location"]
    assert elsewhere == "https://accounts.example.org/login"
    assert gateway.get("/health").status_code == 200
    assert gateway.get("/v1/health/").status_code == 200
    assert gateway.get("/letta/static/robots.txt").text.startswith("User-agent")
    outside = gateway.get("/echo")
    assert outside.status_code == 404
    assert "/letta/v1/" in outside.json()["detail"]
    # The same place to nginx, another one to the server.
    hidden = gateway.raw(b"GET /x/../letta/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert hidden.startswith(b"HTTP/1.1 400 ")


def test_static_files_are_served_and_the_rest_of_the_disk_is_not(gateway: Gateway) -> None:
    assert gateway.get("/static/robots.txt").text == "User-agent: *\nDisallow: /\n"
    assert gateway.get("/static/nothing").json()["status"] == 404
    # An answer of the server's: it has no such route, and no file is meant.
    out = gateway.raw(
        b"GET /static/..%2f..%2fetc/passwd HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    )
    assert b"root:" not in out


def test_only_listed_addresses_get_in(gateway_with: Callable[..., Gateway]) -> None:
    closed = gateway_with(LETTA_STACK_ALLOW="192.0.2.0/24")

    assert closed.get("/echo").status_code == 403
    assert closed.get("/echo").json()["status"] == 403
    assert closed.get("/static/robots.txt").status_code == 403
    assert closed.get("/health").status_code == 200


def test_only_listed_hosts_are_served(gateway_with: Callable[..., Gateway]) -> None:
    gateway = gateway_with(LETTA_STACK_HOSTS="letta.example.org,*.example.net")

    for host, status in {
        "letta.example.org": 200,
        "letta.example.org:8283": 200,
        "a.example.net": 200,
        "evil.example.org": 421,
    }.items():
        answer = gateway.get("/echo", headers={"Host": host})
        assert answer.status_code == status, host
    assert gateway.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LETTA_STACK_ACCESS_LOG", "access.log"),
        ("LETTA_STACK_BASE_PATH", "letta"),
        ("LETTA_STACK_BASE_PATH", "/a;b"),
        ("LETTA_STACK_MAX_REQUESTS", "0"),
        ("LETTA_STACK_MAX_REQUESTS", "many"),
        ("LETTA_STACK_TRUSTED_PROXIES", "10.0.0.0/8;"),
        ("LETTA_STACK_ALLOW", "somebody"),
        ("LETTA_STACK_HOSTS", "a{b"),
        ("LETTA_STACK_UPSTREAM", "letta-server"),
        ("LETTA_STACK_READY_PORT", "70000"),
    ],
)
def test_a_wrong_setting_is_refused(gateway: Gateway, name: str, value: str) -> None:
    code, said = driver.start_again(gateway, {name: value})

    assert code == 71
    assert said.startswith(f"gateway: {name} must")


def test_what_only_nginx_finds_wrong_is_refused_as_well(
    gateway_with: Callable[..., Gateway],
) -> None:
    code, said = driver.start_again(gateway_with(), {"LETTA_STACK_ALLOW": "10.0.0.0/99"})

    assert code == 71
    assert 'invalid parameter "10.0.0.0/99"' in said


def test_the_access_log_goes_to_a_file_too_and_is_turned_over(
    gateway_with: Callable[..., Gateway],
) -> None:
    file = "/tmp/access.log"
    one = gateway_with(LETTA_STACK_ACCESS_LOG=file, LETTA_STACK_WATCH_SECONDS="1")

    def inside(command: str) -> str:
        return str(docker.container.execute(one.container, ["sh", "-c", command]))

    def arrives(path: str) -> None:
        assert one.get(path).ok
        harness.expect(lambda: path in inside(f"cat {file}"), timeout=5, what=f"no line of {path}")

    arrives("/echo/first")
    assert one.logged("path", "/echo/first")["status"] == 200
    inside(f"head -c 17000000 /dev/zero >>{file}")
    harness.expect(
        lambda: "first" in inside(f"head -c 1000 {file}.1 2>/dev/null || true"),
        timeout=10,
        what="the file is not turned over",
    )
    arrives("/echo/second")
