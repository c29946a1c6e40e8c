"""The stack file: `docker stack deploy --compose-file` takes it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from letta_stack.topology.render import keys
from letta_stack.topology.render.swarm import services
from letta_stack.topology.render.swarm.keys import KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from letta_stack.topology.render.files import Mounted

SHORT = 10  # characters of a digest: so many versions of a secret there never are


@dataclass(frozen=True)
class Options:
    """What an operator decides, beside the model."""

    name: str  # of the stack
    replicas: int = 2  # servers
    encrypted: bool = False  # whether hosts talk to each other in IPsec
    secrets: Mapping[str, str] = field(
        default_factory=dict
    )  # the version of each secret that is a file here


@dataclass
class Stack:
    """A stack file, and what it does not say."""

    content: dict[str, Any]
    notes: list[str]
    variables: dict[str, str]  # that `docker stack deploy` fills in: no file shows them


def version(text: bytes) -> str:
    """Name the content of a secret: a secret of a swarm never changes, so another content is another secret."""
    return hashlib.sha256(text).hexdigest()[:SHORT]


def render(
    model: Mapping[str, Any], files: Mapping[tuple[str, str], Mounted], options: Options
) -> Stack:
    """Make the file.

    Args:
        model: what `docker compose config` writes.
        files: what ``files.read`` found for it.
        options: the operator's choices.

    Raises:
        NotExpressible: a stack file has no place for something of the model.

    """
    found = Stack({}, keys.check(model, KEYS), {})
    configs: dict[str, Any] = {}
    volumes: dict[str, Any] = {name: {} for name in model.get("volumes") or {}}
    made = {}
    for name, service in sorted(model["services"].items()):
        one = services.service(name, service, files, replicas=options.replicas)
        made[name] = one.body
        configs |= {key: {"file": f"./{key}"} for key in one.configs}
        volumes |= {
            key: {"name": f"{options.name}_{key}-{{{{.Task.Slot}}}}", "driver_opts": driver}
            for key, driver in one.memory.items()
        }
        found.notes += one.notes
        found.variables |= one.variables
    found.content = {
        "services": made,
        "networks": {
            name: _network(body or {}, encrypted=options.encrypted)
            for name, body in sorted((model.get("networks") or {}).items())
        },
        "volumes": volumes,
        "configs": {
            name: {**body, "name": f"{options.name}_{name}"}
            for name, body in sorted(configs.items())
        },
        "secrets": {
            name: _secret(name, body, options)
            for name, body in sorted((model.get("secrets") or {}).items())
        },
    }
    return found


def config_files(files: Mapping[tuple[str, str], Mounted]) -> dict[str, str]:
    """Return the content of every config that a stack names, by the file beside it."""
    return {
        services.config_name(name, mounted, file): text
        for (name, _), mounted in files.items()
        for file, text in mounted.content.items()
    }


def _network(body: Mapping[str, Any], *, encrypted: bool) -> dict[str, Any]:
    network: dict[str, Any] = {"driver": "overlay"}
    if body.get("internal"):
        network["internal"] = True
    if encrypted:
        network["driver_opts"] = {"encrypted": ""}
    return network


def _secret(name: str, body: Mapping[str, Any], options: Options) -> dict[str, Any]:
    if name in options.secrets:
        return {"file": body["file"], "name": f"{options.name}_{name}-{options.secrets[name]}"}
    return {"external": True, "name": f"{options.name}_{name}"}
