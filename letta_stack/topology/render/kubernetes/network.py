"""Names and walls: compose's service names as Services, its networks as NetworkPolicies."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from letta_stack.errors import NotExpressible
from letta_stack.topology.render.kubernetes.objects import NETWORK, PART_OF, Object, labels, make

if TYPE_CHECKING:
    from collections.abc import Mapping

    from letta_stack.topology.render.kubernetes.options import Options

DNS_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
HTTP = 80
"""The port of the API's Service, whatever the container's is."""
EVERYWHERE = ({"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}})
MEMBER = "member"


def names(name: str, service: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the names of a service, and those of its aliases that no Service can have."""
    aliases = {
        alias
        for network in (service.get("networks") or {}).values()
        for alias in (network or {}).get("aliases") or []
    }
    possible = sorted(alias for alias in aliases if DNS_LABEL.fullmatch(alias))
    return [name, *possible], sorted(aliases - set(possible))


def services(name: str, service: Mapping[str, Any], options: Options) -> list[Object]:
    """Return the Services that give the pods of a compose service its names.

    Only what is published has an address that spreads connections. The others' names lead to the pods themselves, as on a
    compose network: the gateway must see each server to count the requests that each has.
    """
    ports = [_port(name, one) for one in service.get("ports") or []]
    selector = labels(options.namespace, name)
    body: Object = {"clusterIP": "None", "selector": selector}
    if ports:
        body = {"type": "ClusterIP", "selector": selector, "ports": ports}
    return [
        make("v1", "Service", options.namespace, one, service=name, spec=body)
        for one in names(name, service)[0]
    ]


def _port(name: str, port: Mapping[str, Any]) -> Object:
    if port.get("protocol", "tcp") != "tcp":
        raise NotExpressible(f"services.{name} publishes {port['protocol']}; only tcp is published")
    return {"name": "http", "port": HTTP, "targetPort": int(port["target"]), "protocol": "TCP"}


def memberships(service: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels of the networks that a service is in."""
    return {f"{NETWORK}{network}": MEMBER for network in sorted(service.get("networks") or {})}


def policies(model: Mapping[str, Any], options: Options, database_users: list[str]) -> list[Object]:
    """Return who may talk to whom: nobody, but for those who share a network, and outside by those that are not internal.

    Args:
        model: the compose model.
        options: the operator's choices.
        database_users: the services that reach a database outside of the cluster.

    """
    everybody = {"matchLabels": {PART_OF: options.namespace}}
    name_servers = {"ports": [{"protocol": one, "port": 53} for one in ("UDP", "TCP")]}
    rules = [
        policy(options, "default", everybody, egress=[name_servers], ingress=[]),
    ]
    for network, body in sorted((model.get("networks") or {}).items()):
        members = {"matchLabels": {f"{NETWORK}{network}": MEMBER, PART_OF: options.namespace}}
        same = [{"podSelector": members}]
        outside = [] if (body or {}).get("internal") else [{"to": list(EVERYWHERE)}]
        rules.append(
            policy(
                options,
                f"network-{network}",
                members,
                ingress=[{"from": same}],
                egress=[{"to": same}, *outside],
            )
        )
    for name, service in sorted(model["services"].items()):
        if ports := [int(one["target"]) for one in service.get("ports") or []]:
            own = {"matchLabels": labels(options.namespace, name)}
            opened = {"ports": [{"protocol": "TCP", "port": port} for port in ports]}
            rules.append(policy(options, f"published-{name}", own, ingress=[opened]))
    for name in database_users:
        own = {"matchLabels": labels(options.namespace, name)}
        # Where the database is, and on which port, is in a Secret that nobody reads here.
        rules.append(policy(options, f"database-{name}", own, egress=[{"to": list(EVERYWHERE)}]))
    return rules


def policy(
    options: Options,
    name: str,
    pods: Object,
    *,
    ingress: list[Object] | None = None,
    egress: list[Object] | None = None,
) -> Object:
    """Return who may talk to some pods, and to whom they may; ``None`` leaves that to other policies."""
    spec: Object = {"podSelector": pods, "policyTypes": []}
    for kind, rules in (("ingress", ingress), ("egress", egress)):
        if rules is not None:
            spec["policyTypes"].append(kind.capitalize())
            spec[kind] = rules
    return make("networking.k8s.io/v1", "NetworkPolicy", options.namespace, name, spec=spec)
