"""One compose service as a service of a stack."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from letta_stack.errors import NotExpressible
from letta_stack.topology.render.files import NOTHING
from letta_stack.topology.render.values import (
    environment,
    seconds,
    secret_environment,
    tmpfs,
    user,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from letta_stack.topology.render.files import Mounted

    Body = dict[str, Any]

SAME = (
    "cap_drop",
    "command",
    "entrypoint",
    "healthcheck",
    "image",
    "init",
    "logging",
    "read_only",
    "stop_grace_period",
    "stop_signal",
    "user",
)
DATA_LABEL = "letta-stack.data"
"""What the host has whose volumes they are: they do not move with a task."""
SLOWER = (
    4  # than on one host: how often a health check fails before a task is ended; as on Kubernetes
)
ATTEMPTS = 3  # after the first one, of what runs once
READABLE, EXECUTABLE, SECRET = 0o444, 0o555, 0o400
NAME_BYTES = 30  # of a config's name, which has 64 at most, with the stack's and a digest


@dataclass
class Made:
    """A service, and what must be there for it."""

    body: Body
    configs: list[str] = field(default_factory=list)
    memory: dict[str, dict[str, str]] = field(default_factory=dict)  # options of volumes in memory
    notes: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)


def service(
    name: str, given: Mapping[str, Any], files: Mapping[tuple[str, str], Mounted], *, replicas: int
) -> Made:
    """Return a service; raise ``NotExpressible``.

    Args:
        name: the service.
        given: its part of the compose model.
        files: what it mounts of this machine.
        replicas: tasks of what `--replicas` multiplies.

    """
    uid, gid = user(name, given)
    made = Made({key: given[key] for key in SAME if given.get(key) is not None})
    body = made.body
    if (check := given.get("healthcheck")) and not check.get("disable"):
        # On one host an unhealthy container goes on; a swarm ends it, also if the host was only busy for half a minute.
        body["healthcheck"] = {**check, "retries": SLOWER * int(check.get("retries", 3))}
    secret = secret_environment(given)
    plain = {key: value.replace("$", "$$") for key, value in environment(given).items()}
    body["environment"] = plain | {key: f"${{{key}}}" for key in sorted(secret)}
    made.variables = secret
    body["networks"] = given.get("networks") or {}
    body["secrets"] = [
        {**one, "uid": str(uid), "gid": str(gid), "mode": SECRET}
        for one in given.get("secrets") or []
    ]
    body["ports"] = [
        {
            "target": int(one["target"]),
            "published": int(one["published"]),
            "protocol": one.get("protocol", "tcp"),
            "mode": "host",
        }
        for one in given.get("ports") or []
    ]
    _mounts(name, given, files, made)
    body["deploy"] = _deploy(name, given, replicas)
    if labels := given.get("labels"):
        body["deploy"]["labels"] = dict(labels)
    made.body = {key: value for key, value in body.items() if value not in ([], {})}
    return made


def _mounts(
    name: str, given: Mapping[str, Any], files: Mapping[tuple[str, str], Mounted], made: Made
) -> None:
    configs: list[Body] = []
    volumes: list[Body] = []
    for entry in given.get("tmpfs") or []:
        path, options = tmpfs(entry)
        volumes.append(_memory(name, path, options, made))
    if size := given.get("shm_size"):
        volumes.append({"type": "tmpfs", "target": "/dev/shm", "tmpfs": {"size": int(size)}})  # noqa: S108 - in the container
    for mount in given.get("volumes") or []:
        if mount["type"] == "volume":
            volumes.append({key: mount[key] for key in ("type", "source", "target")})
            volumes[-1] |= {"read_only": True} if mount.get("read_only") else {}
        elif mount["type"] == "bind" and mount["source"] != NOTHING:
            configs += _configs(name, files[name, mount["target"]], made)
        elif mount["type"] != "bind":
            raise NotExpressible(
                f"services.{name} mounts a {mount['type']} at {mount['target']}; use a volume or a file"
            )
    made.body["volumes"], made.body["configs"] = volumes, configs


def _memory(name: str, path: str, options: Mapping[str, str], made: Made) -> Body:
    if not options.keys() & {"exec", "gid", "uid"}:
        size = {"tmpfs": {"size": _bytes(options["size"])}} if "size" in options else {}
        return {"type": "tmpfs", "target": path, **size}
    # The memory that a stack file knows is noexec, and has owner and mode of the image's directory: a volume in memory has
    # other ones. `docker stack deploy` drops a `tmpfs:` of the service without a word.
    volume = _slug(f"{name} {path}")
    mounted = ["nosuid", "nodev", *([] if "exec" in options else ["noexec"])]
    mounted += [f"{key}={options[key]}" for key in ("uid", "gid", "mode", "size") if key in options]
    made.memory[volume] = {"type": "tmpfs", "device": "tmpfs", "o": ",".join(mounted)}
    made.notes.append(
        f"services.{name}.tmpfs: the memory at {path} is a volume of its host, for an update both tasks of a slot have it"
    )
    # With what the image has there, the engine would copy its owner.
    return {"type": "volume", "source": volume, "target": path, "volume": {"nocopy": True}}


def _configs(name: str, mounted: Mounted, made: Made) -> list[Body]:
    mode = EXECUTABLE if mounted.executable else READABLE
    found = []
    for file in sorted(mounted.content):
        config = config_name(name, mounted, file)
        made.configs.append(config)
        target = f"{mounted.target}/{file}" if mounted.directory else mounted.target
        found.append({"source": config, "target": target, "mode": mode})
    return found


def config_name(service_name: str, mounted: Mounted, file: str) -> str:
    """Name a config by its content: a config of a swarm never changes."""
    return f"{_slug(f'{service_name} {file}')[:NAME_BYTES]}-{mounted.digest}"


def _deploy(name: str, given: Mapping[str, Any], replicas: int) -> Body:
    resources = (given.get("deploy") or {}).get("resources") or {}
    # A stack file wants processors as text.
    deploy: Body = {
        "resources": {
            kind: {key: str(value) if key == "cpus" else value for key, value in values.items()}
            for kind, values in resources.items()
        }
    }
    restart = given.get("restart")
    if restart == "no":
        return deploy | {
            "mode": "replicated-job",
            "restart_policy": {"condition": "on-failure", "max_attempts": ATTEMPTS},
        }
    if restart not in {"always", "unless-stopped"}:
        raise NotExpressible(
            f"services.{name}.restart is {restart!r}; use unless-stopped, or no for what runs once"
        )
    many = "replicas" in (given.get("deploy") or {})
    # One that is alone has a port, a volume or a memory that two cannot have.
    update = {
        "parallelism": 1,
        "order": "start-first" if many else "stop-first",
        "failure_action": "rollback",
        # As long as a health check takes on one host to say that a task is not healthy.
        "monitor": f"{_monitor(given)}s",
    }
    # What has a port of its hosts is on each of them: one that is lost takes no more than its own requests along.
    count: Body = (
        {"mode": "global"} if given.get("ports") else {"replicas": replicas if many else 1}
    )
    deploy |= count | {
        # The names of a service lead to its tasks, as on a compose network; an address of its own would need IPVS.
        "endpoint_mode": "dnsrr",
        "restart_policy": {"condition": "any"},
        "update_config": update,
        "rollback_config": update | {"failure_action": "pause"},
    }
    if not many and not given.get("ports"):
        # What is alone takes the API along: with the volumes on one host, the loss of any other one does not.
        deploy["placement"] = {"constraints": [f"node.labels.{DATA_LABEL} == true"]}
    return deploy


def _monitor(given: Mapping[str, Any]) -> int:
    check = given.get("healthcheck") or {}
    return seconds(check.get("interval", "10s")) * int(check.get("retries", 3))


def _slug(text: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))


def _bytes(text: str) -> int:
    units = {"k": 10, "m": 20, "g": 30}
    number, unit = re.fullmatch(r"(\d+)([kmg]?)b?", text.lower()).groups()  # type: ignore[union-attr] # compose has read it
    return int(number) << units.get(unit, 0)
