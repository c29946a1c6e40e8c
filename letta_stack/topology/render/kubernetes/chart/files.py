"""The files of a Helm chart."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from letta_stack.errors import NotExpressible
from letta_stack.topology.render import text
from letta_stack.topology.render.kubernetes import manifests
from letta_stack.topology.render.kubernetes.chart import template, values
from letta_stack.topology.render.kubernetes.chart.hooks import hooked
from letta_stack.topology.render.kubernetes.chart.merge import Branch, condition, merge
from letta_stack.topology.render.kubernetes.directory import SHARED
from letta_stack.topology.render.kubernetes.objects import NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from letta_stack.topology.render.files import Mounted
    from letta_stack.topology.render.kubernetes.manifests import Manifests
    from letta_stack.topology.render.kubernetes.options import Options

CHART = "letta-stack"
REFUSED = {
    "and (gt (int .Values.maxReplicas) 0) (lt (int .Values.maxReplicas) (int .Values.replicas))": (
        "maxReplicas is less than replicas"
    ),
    "and (or .Values.gateway .Values.tlsSecret) (not .Values.host)": (
        "gateway and tlsSecret publish nothing without a name; set host"
    ),
}
"""What a schema cannot say of values: when Helm refuses them, and with which words."""


@dataclass(frozen=True)
class About:
    """What a chart says of itself."""

    command: str  # what made it
    version: str
    app_version: str  # of the server
    oldest: str  # version of Kubernetes that is tested


def render(
    model: Mapping[str, Any],
    mounted: Mapping[tuple[str, str], Mounted],
    options: Options,
    about: About,
) -> tuple[dict[str, str], list[str]]:
    """Return the content of each file, and what of the model the objects do not say.

    Args:
        model: what `docker compose config` writes.
        mounted: what ``files.read`` found for it.
        options: the operator's choices: the values that the chart has of itself.
        about: the chart.

    Raises:
        NotExpressible: Kubernetes has no place for something of the model, or a chart for something of the objects.

    """
    made = manifests.render(model, mounted, options)
    documents, resources = _documents(model, mounted, options)
    grouped: dict[str, list[Branch]] = {}
    for service, document in documents:
        grouped.setdefault(service, []).append(document)
    chart = {
        "apiVersion": "v2",
        "name": CHART,
        "description": "The Letta agent server with gateway, Redis and collector",
        "type": "application",
        "version": about.version,
        "appVersion": about.app_version,
        "kubeVersion": f">={about.oldest}.0-0",
    }
    head = f"# Made by `{about.command}`; change what it was made from, not this.\n"
    given = {**values.defaults(model, options), "resources": resources}
    written = {
        "Chart.yaml": head + text.dump([chart]),
        "values.yaml": head + _values(given),
        "values.schema.json": json.dumps(_schema(), indent=2) + "\n",
        "README.md": _readme(made, about.command),
        "templates/NOTES.txt": _notes(made),
        "templates/checks.yaml": "".join(
            f'{{{{- if {wrong} }}}}\n{{{{- fail "{words}" }}}}\n{{{{- end }}}}\n'
            for wrong, words in REFUSED.items()
        ),
    }
    for service, branches in sorted(grouped.items()):
        written[f"templates/{service}.yaml"] = head + template.write(branches)
    return written, made.notes


def _documents(
    model: Mapping[str, Any], mounted: Mapping[tuple[str, str], Mounted], options: Options
) -> tuple[list[tuple[str, Branch]], dict[str, Any]]:
    """Return each object under its condition, beside its service, and the resources of each container."""
    places = values.slots(model, options)
    with_places = values.model(model)
    variants = values.variants()
    resources: dict[str, Any] = {}
    found: dict[tuple[str, str], dict[int, Any]] = {}
    for number, variant in enumerate(variants):
        made = manifests.render(with_places, mounted, values.options(variant, options))
        filled = values.filled(made.all, places)
        for one in hooked(filled, model, ready=bool(variant["ready"])):
            _take_resources(one, resources)
            found.setdefault((one["kind"], one["metadata"]["name"]), {})[number] = one
    documents = []
    for (kind, name), having in found.items():
        service = next(iter(having.values()))["metadata"]["labels"].get(NAME, SHARED)
        when = condition(having, range(len(variants)), variants)
        documents.append((service, Branch(f"{kind}/{name}", when, merge(having, variants))))
    texts = [place for place in places if isinstance(place, str)]
    left = [one.key for _, one in documents if any(place in str(one) for place in texts)]
    if left:
        raise NotExpressible(f"{left[0]} has a choice of the operator in the middle of a text")
    return documents, resources


def _take_resources(one: dict[str, Any], resources: dict[str, Any]) -> None:
    """Put a slot in the place of the resources of containers, and of a database that has an operator."""
    spec = one.get("spec", {})
    if "resources" in spec and one["kind"] != "PersistentVolumeClaim":
        spec["resources"] = _slot(one["metadata"]["name"], spec["resources"], resources)
    for container in spec.get("template", {}).get("spec", {}).get("containers", []):
        container["resources"] = _slot(container["name"], container["resources"], resources)


def _slot(service: str, given: Any, resources: dict[str, Any]) -> values.Slot:
    name = values.short(service)
    resources[name] = given
    return values.Slot(f'toJson (index .Values.resources "{name}")')


def _values(given: Mapping[str, Any]) -> str:
    return "".join(
        f"\n# {value.comment}\n{text.dump([{name: given[name]}])}"
        for name, value in values.VALUES.items()
    )


def _schema() -> dict[str, Any]:
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "additionalProperties": False,
        "required": list(values.VALUES),
        "properties": {
            "global": {"type": "object"},  # Helm's own, for a chart within another
            **{name: dict(value.schema) for name, value in values.VALUES.items()},
        },
    }


def _secrets(made: Manifests) -> list[str]:
    return [key for keys in made.secrets.values() for key in keys]


def _readme(made: Manifests, command: str) -> str:
    notes = "".join(f"- {note}\n" for note in made.notes)
    return (
        f"# {CHART}\n\nMade by `{command}` from the objects of `kubectl apply -k`. One release for each namespace, under any name:\n\n"
        f"    helm install letta . --namespace letta --create-namespace\n\n"
        "A namespace that Helm makes does not enforce the restricted Pod Security standard, to which all pods here keep:\n\n"
        "    kubectl label namespace letta pod-security.kubernetes.io/enforce=restricted\n\n"
        f"The Secret named by `secret` must be there before, with the keys {', '.join(_secrets(made))}. "
        "`values.yaml` says what can be chosen.\n\n"
        f"## Not in these objects\n\n{notes}"
    )


def _notes(made: Manifests) -> str:
    return (
        "The API on this machine:\n"
        "  kubectl --namespace {{ .Release.Namespace }} port-forward service/letta-nginx 8283:80\n"
        "Its password is the key server-password of the Secret {{ .Values.secret }}, which has the keys\n"
        f"{', '.join(_secrets(made))}.\n"
    )
