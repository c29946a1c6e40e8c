"""The gateway's certificate ends while clients are connected."""

from __future__ import annotations

import contextlib
import datetime as dt
import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from letta_stack.base.wait import wait_until
from letta_stack.certs import issue, names, store
from letta_stack.errors import BadCertificate
from letta_stack.operate.faults.model import Expect, Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from letta_stack.operate.faults.scene import Scene
    from letta_stack.operate.faults.stack import Stack

DAYS = 90
SEEN_SECONDS = 60.0


def needs(stack: Stack) -> str:
    """Say why there is no certificate to let expire."""
    directory = store.directory(stack.project.name)
    if not store.has_certificate(stack.project.name) or store.read_authority(directory) is None:
        return "the project has no certificate of a local authority (inv certs.make)"
    return ""


@contextlib.contextmanager
def expired(scene: Scene) -> Iterator[None]:
    """Give the gateway a certificate that has ended, and the good one back."""
    directory = store.directory(scene.stack.project.name)
    authority = store.read_authority(directory)
    if authority is None:
        raise BadCertificate(f"there is no authority in {directory}")
    path = directory / store.GATEWAY
    good = path.read_bytes()
    (certificate, *_) = store.read_chain(path)
    then = dt.datetime.now(dt.UTC) - dt.timedelta(days=DAYS + 1)
    pair = issue.leaf(authority, names.of(certificate), then, days=DAYS)
    try:
        store.write_gateway(directory, pair.key_pem + pair.certificate_pem)
        wait_until(
            lambda: served(scene.stack) == pair.certificate_pem.decode(),
            timeout=SEEN_SECONDS,
            interval=0.5,
            describe="the gateway still serves the old certificate",
        )
        scene.note(
            f"the gateway serves a certificate that ended {then + dt.timedelta(days=DAYS):%Y-%m-%d}"
        )
        yield
    finally:
        store.write_gateway(directory, good)
    time.sleep(1)


def served(stack: Stack) -> str:
    """Return the certificate that the gateway shows."""
    parts = urlsplit(stack.client.url)
    return ssl.get_server_certificate((str(parts.hostname), int(parts.port or 0)))


FAULTS = (
    Fault(
        "certificate-expired",
        "the gateway's certificate ends under load and is replaced after 5 s",
        expired,
        undo="the good certificate is back",
        seconds=5,
        expect=Expect(healthy=30),
        needs=needs,
    ),
)
