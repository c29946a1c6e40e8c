"""A PgBouncer from Debian packages in front of a PostgreSQL."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.image import third_party
from tests.smoke import harness

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IMAGE = "letta-stack/test-pgbouncer"
HOST, PORT = "pooler", 6432
USER = "letta"


class Case(NamedTuple):
    """One PgBouncer."""

    suite: str
    mode: str
    connections: int
    statements: int = 0  # that it follows from one connection to the next, a setting of newer ones


def uri(password: str, database: str = "letta") -> str:
    """Return the URI of a database behind the pooler; `pgbouncer` is its own, with its statistics."""
    return f"postgresql://{USER}:{password}@{HOST}:{PORT}/{database}"


@contextlib.contextmanager
def running(case: Case, network: str, directory: Path, behind: str, password: str) -> Iterator[str]:
    """Run the pooler in front of host ``behind``, with its configuration in an empty ``directory``."""
    image = build(case.suite)
    (directory / "pgbouncer.ini").write_text(settings(case, behind), encoding="utf-8")
    (directory / "users.txt").write_text(f'"{USER}" "{password}"\n', encoding="utf-8")
    directory.chmod(0o755)
    with harness.running(
        HOST,
        image=image,
        networks=[network],
        network_aliases=[HOST],
        volumes=[(directory, "/etc/letta-stack", "ro")],
    ) as container:
        yield container


def build(suite: str) -> str:
    """Make the image of a suite."""
    base = third_party.choose(("DEBIAN_IMAGE",), source="auto", platforms=(third_party.native(),))
    third_party.make(base, ca=None)
    file = ROOT / "tests" / "smoke" / "pgbouncer" / "Dockerfile"
    arguments = [f"--build-arg=DEBIAN_IMAGE={base.base}", f"--build-arg=SUITE={suite}"]
    image = f"{IMAGE}:{suite}"
    process.run(
        ["docker", "build", f"--tag={image}", f"--file={file}", *arguments, str(ROOT / "images")]
    )
    return image


def settings(case: Case, behind: str) -> str:
    """Write PgBouncer's configuration: what its defaults are but for the mode and the numbers of connections."""
    lines = [
        *("[databases]", f"letta = host={behind}", "[pgbouncer]", "listen_addr = *"),
        *(f"listen_port = {PORT}", "auth_type = scram-sha-256", f"stats_users = {USER}"),
        *("auth_file = /etc/letta-stack/users.txt", f"pool_mode = {case.mode}"),
        *(f"default_pool_size = {case.connections}", "max_client_conn = 5000"),
    ]
    if case.statements:
        lines.append(f"max_prepared_statements = {case.statements}")
    return "\n".join(lines) + "\n"
