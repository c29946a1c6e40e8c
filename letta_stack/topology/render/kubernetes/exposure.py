"""How clients outside of the cluster reach the gateway: an Ingress, or an HTTPRoute of the Gateway API."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from letta_stack.errors import NotExpressible
from letta_stack.topology.render.kubernetes.network import HTTP
from letta_stack.topology.render.kubernetes.objects import Object, make
from letta_stack.topology.render.values import environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from letta_stack.topology.render.kubernetes.options import Options

NUMBER = r"number {name} (\d+) "
"""How the gateway's start program says the default of a setting."""


def objects(name: str, service: Mapping[str, Any], start: str, options: Options) -> list[Object]:
    """Return what publishes the gateway, nothing without a host name.

    Args:
        name: the gateway's service.
        service: its part of the model.
        start: its start program, which knows the defaults of its settings.
        options: the operator's choices.

    """
    if not options.host:
        return []
    turn = _setting("LETTA_STACK_TURN_TIMEOUT", service, start)
    body = _setting("LETTA_STACK_MAX_BODY", service, start)
    make_one = _route if options.gateway else _ingress
    return [make_one(name, turn, body, options)]


def _setting(name: str, service: Mapping[str, Any], start: str) -> int:
    given = environment(service).get(name)
    found = re.search(NUMBER.format(name=name), start)
    if not given and not found:
        raise NotExpressible(
            f"{name} has no default in the gateway's start program; set it in .env"
        )
    return int(given or (found[1] if found else 0))


def _ingress(name: str, turn: int, body: int, options: Options) -> Object:
    # Of ingress-nginx; other classes do not read them, and their own are in docs/topologies/kubernetes.md.
    annotations = {
        f"nginx.ingress.kubernetes.io/{key}": value
        for key, value in {
            "proxy-body-size": f"{body}m",
            "proxy-buffering": "off",
            "proxy-http-version": "1.1",
            "proxy-next-upstream": "off",  # a repeated turn would run twice
            "proxy-read-timeout": str(turn),
            "proxy-request-buffering": "off",
            "proxy-send-timeout": str(turn),
        }.items()
    }
    backend = {"service": {"name": name, "port": {"number": HTTP}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    spec: Object = {
        "ingressClassName": options.ingress_class,
        "rules": [{"host": options.host, "http": {"paths": [path]}}],
    }
    if options.tls_secret:
        spec["tls"] = [{"hosts": [options.host], "secretName": options.tls_secret}]
    found = make(
        "networking.k8s.io/v1", "Ingress", options.namespace, name, service=name, spec=spec
    )
    found["metadata"]["annotations"] = annotations
    return found


def _route(name: str, turn: int, _body: int, options: Options) -> Object:
    namespace, _, gateway = options.gateway.rpartition("/")
    parent = {"name": gateway, **({"namespace": namespace} if namespace else {})}
    rule = {
        "backendRefs": [{"name": name, "port": HTTP}],
        "timeouts": {"request": f"{turn}s", "backendRequest": f"{turn}s"},
    }
    spec = {"parentRefs": [parent], "hostnames": [options.host], "rules": [rule]}
    return make(
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        options.namespace,
        name,
        service=name,
        spec=spec,
    )
