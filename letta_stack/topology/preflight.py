"""What is checked before anything is started. Each finding has its own message and exit code."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from letta_stack.base import process
from letta_stack.certs import store
from letta_stack.certs.check import check_authority, check_usable
from letta_stack.errors import BadCertificate, BadValue, PortBusy, WrongArchitecture
from letta_stack.image.contract import OFF
from letta_stack.topology.catalogue import COLLECTOR, GATEWAY, SERVER
from letta_stack.topology.runners.compose import PROJECT_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from letta_stack.engine.inspect import Engine
    from letta_stack.topology.runners.protocol import Published

HOST_NAME = "host.docker.internal"  # what compose/services/server.yaml calls this machine
CLIENT_CA = "LETTA_STACK_CLIENT_CA"
CLIENT_CA_FILE = "/etc/letta-stack/client-ca.pem"  # in the gateway
OTLP_CA = "LETTA_STACK_OTLP_CA"
OTLP_CA_FILE = "/etc/letta-stack/otlp-ca.pem"  # in the collector
LISTEN = "0A"  # the kernel's name for the state in /proc/net/tcp


def loopback_settings(environment: Mapping[str, str | None]) -> list[str]:
    """Return a warning for each of the server's settings that names this machine by an address that means the container.

    Only the host is repeated: the rest of a value may hold a password.
    """
    return [
        f"{name} names {host}, which inside the container is the container itself; for a program on this machine write "
        f"{HOST_NAME}, and let that program listen on more than {host}"
        for name, value in environment.items()
        if (host := host_of(name, value or "")) and is_loopback(host)
    ]


def host_of(name: str, value: str) -> str:
    """Return the host that a setting names, "" if it names none."""
    if name.endswith("_HOST"):
        return value.strip("[]")
    try:
        return urlsplit(value).hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Say whether a host is the machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def ports(wanted: list[Published], project: str, flags: Mapping[str, str]) -> None:
    """Raise for the first wanted port that something else than this project holds.

    ``flags`` says by service which flag takes another port.
    """
    for port in wanted:
        instead = f"choose another port: {flags.get(port.service, '--port')} N"
        holders = containers_on(port.port)
        if any(holder_project == project for _, holder_project in holders):
            continue
        if holders:
            name, _ = holders[0]
            raise PortBusy(
                f"port {port.port} is published by container {name}; stop it, or {instead}"
            )
        if is_busy(port):
            owner = owner_of(port.port)
            raise PortBusy(f"port {port.port} is in use by {owner}; stop it, or {instead}")


def open_api(wanted: list[Published], config: Mapping[str, Any]) -> None:
    """Raise ``BadValue`` if other machines would reach an API without a password: it runs code for anybody who asks."""
    servers = config["services"].get(SERVER, {}).get("environment") or {}
    if str(servers.get("LETTA_SERVER_SECURE")).lower() not in OFF:
        return
    for port in wanted:
        if not port.address or not ipaddress.ip_address(port.address).is_loopback:
            raise BadValue(
                f"LETTA_SERVER_SECURE is off, and {port.service} is published on {port.address or 'every address'}: "
                "whoever reaches it can run code; keep the password, or publish on 127.0.0.1"
            )


def containers_on(port: int) -> list[tuple[str, str]]:
    """Return name and compose project of the running containers that publish ``port``."""
    row = f'{{{{.Names}}}}\t{{{{.Label "{PROJECT_LABEL}"}}}}'
    text = process.capture(["docker", "ps", "--filter", f"publish={port}/tcp", "--format", row])
    rows = (line.partition("\t") for line in text.splitlines())
    return [(name, project) for name, _, project in rows]


def is_busy(port: Published) -> bool:
    """Try to take the port, as the engine would."""
    address = port.address or "0.0.0.0"  # noqa: S104 - where the engine would listen
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((address, port.port))
        except PermissionError:
            return False  # a low port is not ours to take, but the engine may
        except OSError:
            return True
    return False


def owner_of(port: int, proc: Path = Path("/proc")) -> str:
    """Name the process that listens on ``port``; needs root for other users' processes."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            inodes |= listening_inodes((proc / "net" / table).read_text(encoding="ascii"), port)
        except OSError:
            continue
    sockets = {f"socket:[{inode}]" for inode in inodes}
    for process_dir in proc.glob("[0-9]*"):
        if not sockets.isdisjoint(open_files(process_dir)):
            name = (process_dir / "comm").read_text(encoding="utf-8").strip()
            return f"{name} (pid {process_dir.name})"
    return "a process that only root can see"


def open_files(process_dir: Path) -> Iterator[str]:
    """Yield what the file descriptors of a process point at; nothing for another user's process."""
    try:
        descriptors = list((process_dir / "fd").iterdir())
    except OSError:
        return
    for descriptor in descriptors:
        try:
            yield str(descriptor.readlink())
        except OSError:
            continue  # closed meanwhile


def listening_inodes(table: str, port: int) -> set[str]:
    """Return the sockets that listen on ``port`` in a table of /proc/net."""
    found = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        local, state, inode = fields[1], fields[3], fields[9]
        if state == LISTEN and int(local.rpartition(":")[2], 16) == port:
            found.add(inode)
    return found


def certificate(project: str) -> None:
    """Raise ``BadCertificate`` if a service of the project has a certificate with which it cannot serve now."""
    if store.has_certificate(project):
        path = store.directory(project) / store.GATEWAY
        check_usable(path, path, dt.datetime.now(tz=dt.UTC))
    if store.has_internal(project):
        for file in store.INTERNAL_LEAVES:
            path = store.directory(project) / file
            check_usable(path, path, dt.datetime.now(tz=dt.UTC), renew="inv certs.internal")


def client_authority(project: str, config: Mapping[str, Any]) -> None:
    """Raise ``BadCertificate`` if clients are asked for certificates that nobody could check."""
    gateway = config["services"].get(GATEWAY.name, {})
    if not (gateway.get("environment") or {}).get(CLIENT_CA):
        return
    if not store.has_certificate(project):
        raise BadCertificate(
            f"{CLIENT_CA} asks clients for certificates, which needs HTTPS; make a certificate first: `inv certs.make`"
        )
    _authority_file(CLIENT_CA, gateway, CLIENT_CA_FILE)


def telemetry_authority(config: Mapping[str, Any]) -> None:
    """Raise ``BadCertificate`` if the collector could not check the certificate of its backend with what is given."""
    for name in (SERVER, COLLECTOR.name):
        service = config["services"].get(name, {})
        if (service.get("environment") or {}).get(OTLP_CA):
            _authority_file(OTLP_CA, service, OTLP_CA_FILE)


def _authority_file(setting: str, service: Mapping[str, Any], target: str) -> None:
    """Check the file of this machine that a service has at ``target``."""
    for mount in service.get("volumes") or []:
        if mount["target"] == target:
            check_authority(setting, Path(mount["source"]), dt.datetime.now(tz=dt.UTC))


def architecture(image: str, engine: Engine) -> None:
    """Raise if ``image`` was made for another processor than the engine's."""
    made_for = process.capture(
        ["docker", "image", "inspect", "--format", "{{.Architecture}}", image]
    ).strip()
    if made_for != engine.architecture:
        raise WrongArchitecture(
            f"{image} is for {made_for}, this engine is {engine.architecture}; make the right one: "
            f"inv build --platform linux/{engine.architecture}"
        )
