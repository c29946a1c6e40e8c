"""Volumes: files of the checkout as ConfigMaps, memory as emptyDir, named volumes as claims, secrets as files."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from letta_stack.errors import NotExpressible
from letta_stack.topology.catalogue import DATABASE
from letta_stack.topology.render.files import NOTHING
from letta_stack.topology.render.kubernetes.objects import Object, make
from letta_stack.topology.render.kubernetes.options import OPERATED
from letta_stack.topology.render.values import tmpfs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from letta_stack.topology.render.files import Mounted
    from letta_stack.topology.render.kubernetes.options import Options

SECRETS = PurePosixPath("/run/secrets")
URI = "database-uri"  # the secret with which a service reaches the database
APP_SECRET, APP_URI = f"{DATABASE.name}-app", "uri"
"""The Secret in which CloudNativePG puts the login of the database's owner, and its key for the whole URI."""
SECRET_MODE = 0o440  # the pod's group reads them; they belong to root
READABLE, EXECUTABLE = 0o444, 0o555
SIZE_UNITS = {"k": "Ki", "m": "Mi", "g": "Gi"}


@dataclass
class Storage:
    """What a pod mounts, and what must be there for it."""

    volumes: list[Object] = field(default_factory=list)
    mounts: list[Object] = field(default_factory=list)
    configs: list[Object] = field(default_factory=list)
    claims: dict[str, Object] = field(default_factory=dict)  # the spec by name

    def add(self, name: str, path: str, volume: Object | None, **mount: str | bool) -> None:
        """Mount something; ``volume`` is None for a claim of a StatefulSet's own."""
        if volume is not None:
            self.volumes.append({"name": name, **volume})
        self.mounts.append({"name": name, "mountPath": path, **mount})


def storage(
    name: str,
    service: Mapping[str, Any],
    files: Mapping[tuple[str, str], Mounted],
    options: Options,
) -> Storage:
    """Return everything that a service mounts; raise ``NotExpressible``."""
    found = Storage()
    for entry in service.get("tmpfs") or []:
        path, settings = tmpfs(entry)
        memory = {"medium": "Memory"}
        if "size" in settings:
            memory["sizeLimit"] = _quantity(settings["size"])
        found.add(_slug("memory", path), path, {"emptyDir": memory})
    if size := service.get("shm_size"):
        limit = {"medium": "Memory", "sizeLimit": str(size)}
        found.add("shared-memory", "/dev/shm", {"emptyDir": limit})  # noqa: S108 - in the container
    _secrets(name, service, found, options)
    for mount in service.get("volumes") or []:
        if mount["type"] == "bind" and mount["source"] != NOTHING:
            _config(name, files[name, mount["target"]], found, options.namespace)
        elif mount["type"] == "volume":
            _claim(mount, found, options, own=is_database(service))
        elif mount["type"] != "bind":
            raise NotExpressible(
                f"services.{name} mounts a {mount['type']} at {mount['target']}; use a volume or a file"
            )
    return found


def is_database(service: Mapping[str, Any]) -> bool:
    """Say whether a service keeps what nobody else has, and so its volume through every change of its pod."""
    return any(one["target"] == "/var/lib/postgresql/data" for one in service.get("volumes") or [])


def _secrets(name: str, service: Mapping[str, Any], found: Storage, options: Options) -> None:
    items, operated = [], []
    for one in service.get("secrets") or []:
        target = PurePosixPath(one["target"])
        if target.parent != SECRETS:
            raise NotExpressible(
                f"services.{name} has a secret at {target}; put it below {SECRETS}"
            )
        if one["source"] == URI and options.database == OPERATED:
            operated.append({"key": APP_URI, "path": target.name})
        else:
            items.append({"key": one["source"], "path": target.name})
    volume: Object = {
        "secret": {"secretName": options.secret, "defaultMode": SECRET_MODE, "items": items}
    }
    if operated:
        sources = [(options.secret, items), (APP_SECRET, operated)]
        volume = {
            "projected": {
                "defaultMode": SECRET_MODE,
                "sources": [{"secret": {"name": name, "items": of}} for name, of in sources if of],
            }
        }
    if items or operated:
        found.add("secrets", str(SECRETS), volume, readOnly=True)


def _config(name: str, mounted: Mounted, found: Storage, namespace: str) -> None:
    mode = EXECUTABLE if mounted.executable else READABLE
    volume = _slug("files", mounted.target)
    # The content is part of the name: a change of it is a new pod, and an old pod keeps the old one.
    config = f"{name}-{_slug('', mounted.target)}-{mounted.digest}"
    found.configs.append(
        make("v1", "ConfigMap", namespace, config, service=name)
        | {"data": dict(mounted.content), "immutable": True}
    )
    whole = {"configMap": {"name": config, "defaultMode": mode}}
    if mounted.directory:
        found.add(volume, mounted.target, whole, readOnly=True)
    else:
        (file,) = mounted.content
        found.add(volume, mounted.target, whole, subPath=file, readOnly=True)


def _claim(mount: Mapping[str, Any], found: Storage, options: Options, *, own: bool) -> None:
    name = mount["source"]
    size = options.sizes.get(name)
    if size is None:
        known = ", ".join(options.sizes)
        raise NotExpressible(f"the volume {name} has no size; there are sizes for {known}")
    spec: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    if options.storage_class:
        spec["storageClassName"] = options.storage_class
    found.claims[name] = spec
    volume = None if own else {"persistentVolumeClaim": {"claimName": name}}
    read_only = {"readOnly": True} if mount.get("read_only") else {}
    found.add(name, mount["target"], volume, **read_only)


def _slug(prefix: str, path: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", f"{prefix} {path}".lower()))


def _quantity(text: str) -> str:
    return re.sub(r"([kmg])b?$", lambda match: SIZE_UNITS[match[1]], text)
