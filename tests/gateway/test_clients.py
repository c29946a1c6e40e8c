"""Certificates of clients: who is let in, and what the others are told."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
import requests

from letta_stack.certs import make, store
from tests.gateway import driver
from tests.gateway.test_tls import certify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.gateway.driver import Gateway

NOW = dt.datetime.now(tz=dt.UTC)


def client(directory: Path, name: str, *, now: dt.datetime = NOW) -> Path:
    make.client(directory, name, days=90, now=now, say=print)
    return directory / store.CLIENTS / f"{name}.pem"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certs")
    certify(directory)
    return directory


@pytest.fixture(scope="module")
def strict(
    nginx_image: str, network: str, backend: str, certificates: Path
) -> Iterator[tuple[Gateway, int]]:
    assert backend
    authority = certificates / store.AUTHORITY
    with driver.secure_gateway(
        "clients", nginx_image, network, certificates, clients=authority
    ) as found:
        yield found


@pytest.fixture
def ask(strict: tuple[Gateway, int], certificates: Path) -> Ask:
    return Ask(strict[1], certificates)


class Ask:
    def __init__(self, port: int, certificates: Path) -> None:
        self.url = f"https://localhost:{port}"
        self.authority = str(certificates / store.AUTHORITY)

    def __call__(self, path: str, certificate: Path | None) -> requests.Response:
        return requests.get(
            self.url + path,
            verify=self.authority,
            cert=str(certificate) if certificate else None,
            timeout=10,
        )


def test_a_client_with_a_certificate_of_the_authority_is_let_in(
    ask: Ask, certificates: Path
) -> None:
    assert ask("/echo", client(certificates, "alice")).json()["path"] == "/echo"


def test_a_client_without_a_certificate_is_told_so(ask: Ask) -> None:
    answer = ask("/echo", None)

    assert answer.status_code == 403
    assert answer.json()["detail"].endswith(
        "only clients with a certificate in, and you sent none."
    )
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


def test_a_certificate_of_another_authority_is_refused(ask: Ask, tmp_path: Path) -> None:
    certify(tmp_path)
    refused(ask("/echo", client(tmp_path, "alice")))


def test_a_certificate_that_has_ended_is_refused(ask: Ask, certificates: Path) -> None:
    ended = client(certificates, "late", now=NOW - dt.timedelta(days=91))
    refused(ask("/echo", ended))


def test_the_certificate_of_a_server_is_none_of_a_client(ask: Ask, certificates: Path) -> None:
    refused(ask("/echo", certificates / store.GATEWAY))


def refused(answer: requests.Response) -> None:
    assert (answer.status_code, answer.json()["detail"]) == (
        403,
        "The gateway does not accept your certificate.",
    )


def test_a_load_balancer_needs_none(ask: Ask) -> None:
    assert ask("/health", None).ok


def test_without_https_nobody_can_show_a_certificate(gateway: Gateway) -> None:
    code, said = driver.start_again(gateway, {"LETTA_STACK_CLIENT_CA": "ca.pem"})

    assert code == 71
    assert "needs HTTPS; make a certificate: inv certs.make" in said
