"""A compose health check as Kubernetes' three questions: has it started, may it get requests, must it be restarted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from letta_stack.errors import NotExpressible
from letta_stack.image import contract
from letta_stack.topology.catalogue import HEALTH_PATH, SERVER
from letta_stack.topology.render.values import plain, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGES_OWN = "/usr/local/bin/letta-healthcheck"
"""The health check of the server's image, which compose takes from the image and Kubernetes does not."""
ENGINES_OWN: dict[str, Any] = {
    "interval": "30s",
    "timeout": "30s",
    "retries": 3,
    "start_period": "0s",
    "start_interval": "5s",
}
"""What the engine takes for what a health check does not say."""
LONGER = 4
"""A restart loses the turns that are under way; to be left out for a while does not. So it comes later, by this factor."""


def probes(name: str, service: Mapping[str, Any], *, own_image: bool) -> dict[str, Any]:
    """Return the probes of a service; none if compose has its health check turned off.

    Args:
        name: the service.
        service: its part of the model.
        own_image: whether it runs the server's image, which brings a health check.

    """
    check = ENGINES_OWN | dict(service.get("healthcheck") or {})
    if check.get("disable"):
        return {}
    handler = {"exec": {"command": _command(name, check, own_image=own_image)}}
    interval, timeout = seconds(check["interval"]), seconds(check["timeout"])
    begin, retries = seconds(check["start_interval"]), int(check["retries"])
    usual = {"periodSeconds": interval, "timeoutSeconds": timeout}
    return {
        "startupProbe": {
            **handler,
            "periodSeconds": begin,
            "timeoutSeconds": timeout,
            "failureThreshold": math.ceil(seconds(check["start_period"]) / begin) + retries,
        },
        "readinessProbe": {**handler, **usual, "failureThreshold": retries},
        "livenessProbe": {**_alive(name, handler), **usual, "failureThreshold": retries * LONGER},
    }


def _alive(name: str, handler: dict[str, Any]) -> dict[str, Any]:
    """Return the question for a restart. The server's check asks its database, too, which no restart of a server brings back."""
    if name != SERVER:
        return handler
    return {"httpGet": {"path": HEALTH_PATH, "port": int(contract.API_PORT)}}


def _command(name: str, check: Mapping[str, Any], *, own_image: bool) -> list[str]:
    test = [plain(word) for word in check.get("test") or []]
    if test[:1] == ["CMD"]:
        return test[1:]
    if test[:1] == ["CMD-SHELL"]:
        return ["/bin/sh", "-c", test[1]]
    if not test and own_image:
        return [IMAGES_OWN]
    raise NotExpressible(
        f"services.{name}.healthcheck has no command, and Kubernetes takes none from an image; give it a `test`"
    )
