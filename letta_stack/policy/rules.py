"""The rules. Sources: the CIS Docker Benchmark, section 5, and what has gone wrong on people's servers."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

from letta_stack.policy.model import ServiceRule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from letta_stack.policy.model import Service

SECRET_NAME = re.compile(
    r"PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIAL|(?:API|ACCESS|ENCRYPTION|PRIVATE|INGESTION)_KEY|_AUTH\b"
)
NO_SECRET = re.compile(r"_FILE$|^LETTA_SERVER_SECURE$")
PASSWORD_IN_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^/@\s:]*:[^/@\s]+@")
DATA_PORTS = {
    5432: "PostgreSQL",
    6379: "Redis",
    8123: "ClickHouse",
    9000: "ClickHouse",
    9090: "Prometheus",
}
DATA_PATHS = {
    "postgres": "/var/lib/postgresql/data",
    "pgvector": "/var/lib/postgresql/data",
    "clickhouse": "/var/lib/clickhouse",
}
SOCKETS = ("docker.sock", "containerd.sock", "podman.sock")
ROOT_USERS = {"0", "root"}


def _limits(service: Service) -> dict[str, Any]:
    limits: dict[str, Any] = dict(
        service.get("deploy", {}).get("resources", {}).get("limits") or {}
    )
    limits.setdefault("memory", service.get("mem_limit"))
    limits.setdefault("pids", service.get("pids_limit"))
    return limits


def _runs_once(service: Service) -> bool:
    return service.get("restart") == "no"


def _user(service: Service) -> Iterator[str]:
    user = str(service.get("user", "")).partition(":")[0]
    if not user:
        yield "no user is named, so the image decides, mostly for root"
    elif user in ROOT_USERS:
        yield "runs as root"


def _read_only(service: Service) -> Iterator[str]:
    if not service.get("read_only"):
        yield "the root file system is writable"


def _capabilities(service: Service) -> Iterator[str]:
    if "ALL" not in service.get("cap_drop", []):
        yield "keeps the engine's default capabilities"
    for one in service.get("cap_add") or []:
        if one.removeprefix("CAP_") in {
            "ALL",
            "SYS_ADMIN",
            "SYS_PTRACE",
            "SYS_MODULE",
            "NET_ADMIN",
        }:
            yield f"adds the capability {one}"


def _privileges(service: Service) -> Iterator[str]:
    options = {str(one).replace("=", ":") for one in service.get("security_opt") or []}
    if not options & {"no-new-privileges", "no-new-privileges:true"}:
        yield "a set-uid program could gain privileges"


def _privileged(service: Service) -> Iterator[str]:
    if service.get("privileged"):
        yield "is privileged"
    for kind in ("network_mode", "pid", "ipc", "userns_mode"):
        if service.get(kind) == "host":
            yield f"shares the host's {kind.removesuffix('_mode')} namespace"


def _memory(service: Service) -> Iterator[str]:
    if not _limits(service)["memory"]:
        yield "may take all memory of the host"


def _processes(service: Service) -> Iterator[str]:
    if not _limits(service)["pids"]:
        yield "may start processes without end"


def _rotation(service: Service) -> Iterator[str]:
    logging = service.get("logging") or {}
    options = logging.get("options") or {}
    driver = logging.get("driver", "json-file")
    if driver == "json-file" and not {"max-size", "max-file"} <= set(options):
        yield "its log grows until the disk is full"


def _health(service: Service) -> Iterator[str]:
    check = service.get("healthcheck") or {}
    if _runs_once(service):
        return
    if check.get("disable") or check.get("test") == ["NONE"]:
        yield "its health check is turned off"
    elif not check:
        yield "nobody notices when it hangs"


def _restart(service: Service) -> Iterator[str]:
    if not service.get("restart"):
        yield "stays down after a crash or a reboot"


def _data_port(service: Service) -> Iterator[str]:
    for port in service.get("ports") or []:
        address = port.get("host_ip") or "0.0.0.0"  # noqa: S104 - what the engine takes when none is given
        store = DATA_PORTS.get(int(port["target"]))
        if store and port.get("published") and not ipaddress.ip_address(address).is_loopback:
            yield f"{store} is published on {address}:{port['published']}"


def _pinned(service: Service) -> Iterator[str]:
    image = str(service.get("image", ""))
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    if image and not digest and tag in {"", "latest"}:
        yield f"{image} is another image tomorrow"


def _volume(service: Service) -> Iterator[str]:
    image = str(service.get("image", "")).partition(":")[0].rpartition("/")[2]
    wanted = DATA_PATHS.get(image)
    if wanted is None:
        return
    kinds = {one.get("target"): one.get("type") for one in service.get("volumes") or []}
    if kinds.get(wanted) not in {"volume", "bind"}:
        yield f"its data is not on a volume at {wanted}"
    elif not any(one.get("source") for one in service["volumes"] if one["target"] == wanted):
        yield f"the volume at {wanted} has no name"


def _environment(service: Service) -> Iterator[str]:
    for name, value in (service.get("environment") or {}).items():
        if not value or NO_SECRET.search(name):
            continue
        if SECRET_NAME.search(name):
            yield f"{name} holds a secret, which `docker inspect` shows"
        elif PASSWORD_IN_URL.match(str(value)):
            yield f"{name} holds a URL with a password"


def _socket(service: Service) -> Iterator[str]:
    for one in service.get("volumes") or []:
        if str(one.get("source", "")).endswith(SOCKETS):
            yield f"{one['source']} makes it root on the host"


RULES = (
    ServiceRule("user", "a break-out as root owns the host", "set `user:`", _user),
    ServiceRule(
        "read-only",
        "what cannot be written cannot be planted",
        "set `read_only: true` and a tmpfs for what must be written",
        _read_only,
    ),
    ServiceRule(
        "capabilities",
        "most attacks on a kernel need one",
        "set `cap_drop: [ALL]` and add back single ones",
        _capabilities,
    ),
    ServiceRule(
        "new-privileges",
        "set-uid programs undo `user:`",
        "set `security_opt: [no-new-privileges:true]`",
        _privileges,
    ),
    ServiceRule(
        "isolation", "a container without walls is a process of the host", "remove it", _privileged
    ),
    ServiceRule(
        "memory-limit",
        "one service out of bounds ends the others",
        "set deploy.resources.limits.memory",
        _memory,
    ),
    ServiceRule(
        "process-limit",
        "a fork bomb stops the host",
        "set deploy.resources.limits.pids",
        _processes,
    ),
    ServiceRule(
        "log-rotation",
        "full disks lose data",
        "set max-size and max-file under logging.options",
        _rotation,
    ),
    ServiceRule(
        "health-check", "the gateway and the operator go by it", "add a healthcheck", _health
    ),
    ServiceRule(
        "restart",
        "nobody is there at night",
        'set `restart: unless-stopped`, or `restart: "no"` for what runs once',
        _restart,
    ),
    ServiceRule(
        "data-port",
        "databases are attacked within minutes",
        "remove `ports:` or bind it to 127.0.0.1",
        _data_port,
    ),
    ServiceRule(
        "pinned-image", "an update must be a decision", "give a version or a digest", _pinned
    ),
    ServiceRule(
        "data-volume", "`down` deletes what is on no volume", "mount a named volume there", _volume
    ),
    ServiceRule(
        "secret",
        "environments end up in logs and support tickets",
        "give a file, through `secrets:` and NAME_FILE",
        _environment,
    ),
    ServiceRule("engine-socket", "who has it is root", "remove the mount", _socket),
)
