"""HTTPS at the gateway: what it speaks, what clients refuse, and a renewal that nobody notices."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
import requests

from letta_stack.certs import make, store
from tests.gateway import driver
from tests.smoke import harness

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.gateway.driver import Gateway

NAME = "letta.example.org"


def certify(directory: Path, *, force: bool = False) -> None:
    now = dt.datetime.now(tz=dt.UTC)
    make.make(directory, [NAME], days=90, force=force, now=now, say=print)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certs")
    certify(directory)
    return directory


@pytest.fixture(scope="module")
def secure(
    nginx_image: str, network: str, backend: str, certificates: Path
) -> Iterator[tuple[Gateway, int]]:
    assert backend
    with driver.secure_gateway("tls", nginx_image, network, certificates) as found:
        yield found


def shake_hands(port: int, context: ssl.SSLContext, name: str = NAME) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    return context.wrap_socket(plain, server_hostname=name)


def trusting(certificates: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificates / store.AUTHORITY))


def serial(port: int, certificates: Path) -> str:
    with shake_hands(port, trusting(certificates)) as connection:
        return str((connection.getpeercert() or {})["serialNumber"])


def test_https_passes_requests_on_and_says_so(
    secure: tuple[Gateway, int], certificates: Path
) -> None:
    answer = requests.get(
        f"https://localhost:{secure[1]}/echo",
        verify=str(certificates / store.AUTHORITY),
        timeout=10,
    )

    assert dict(answer.json()["headers"])["X-Forwarded-Proto"] == "https"
    # Browsers would remember it for every other port of this machine.
    assert "Strict-Transport-Security" not in answer.headers


def test_a_real_name_is_to_be_asked_by_https_from_now_on(
    secure: tuple[Gateway, int], certificates: Path
) -> None:
    with shake_hands(secure[1], trusting(certificates)) as connection:
        connection.sendall(
            f"GET /nginx-health HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode()
        )
        received = b"".join(iter(lambda: connection.recv(65536), b""))

    assert b"Strict-Transport-Security: max-age=31536000" in received


def test_plain_http_only_says_where_https_is(secure: tuple[Gateway, int]) -> None:
    answer = secure[0].post("/v1/agents/?a=b", headers={"Host": f"{NAME}:8280"})

    assert answer.status_code == 308
    assert answer.headers["Location"] == f"https://{NAME}:8443/v1/agents/?a=b"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_modern_tls_is_spoken(
    secure: tuple[Gateway, int], certificates: Path, version: ssl.TLSVersion
) -> None:
    context = trusting(certificates)
    context.minimum_version = context.maximum_version = version

    with shake_hands(secure[1], context) as connection:
        assert connection.version() == version.name.replace("_", ".")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_old_tls_is_refused(secure: tuple[Gateway, int], certificates: Path) -> None:
    context = trusting(certificates)
    # Without it this machine's own library would refuse first, which proves nothing about the gateway.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1

    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        shake_hands(secure[1], context)


def test_a_client_that_trusts_another_authority_or_wants_another_name_refuses(
    secure: tuple[Gateway, int], certificates: Path, tmp_path: Path
) -> None:
    certify(tmp_path)

    with pytest.raises(ssl.SSLCertVerificationError, match="verify failed"):
        shake_hands(secure[1], trusting(tmp_path))
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(secure[1], trusting(certificates), "other.example.org")


def test_a_renewed_certificate_is_served_soon_and_no_stream_ends(
    secure: tuple[Gateway, int], certificates: Path
) -> None:
    before = serial(secure[1], certificates)
    with requests.get(
        f"https://localhost:{secure[1]}/events?count=6&pause=1",
        verify=str(certificates / store.AUTHORITY),
        stream=True,
        timeout=30,
    ) as stream:
        events = stream.iter_lines()
        first = next(events)
        certify(certificates, force=True)
        harness.expect(
            lambda: serial(secure[1], certificates) != before,
            timeout=10,
            what="the old certificate is still served",
        )
        rest = [line for line in events if line]

    assert first
    assert len(rest) >= 5


def test_a_certificate_that_nobody_can_read_is_refused_at_the_start(gateway: Gateway) -> None:
    code, said = driver.start_again(gateway, {"LETTA_STACK_TLS": "true"})

    assert code == 71
    assert "LETTA_STACK_TLS=true needs /etc/letta-stack/tls/gateway.pem" in said


def test_an_authority_of_clients_that_nobody_can_read_is_refused_at_the_start(
    secure: tuple[Gateway, int],
) -> None:
    code, said = driver.start_again(secure[0], {"LETTA_STACK_CLIENT_CA": "ca.pem"})

    assert code == 71
    assert "LETTA_STACK_CLIENT_CA must be a PEM file that user" in said
