"""The files of a Helm chart."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from letta_stack.errors import NotExpressible
from letta_stack.topology.render import text
from letta_stack.topology.render.kubernetes import manifests
from letta_stack.topology.render.kubernetes.chart import template, values
from letta_stack.topology.render.kubernetes.chart.hooks import hooked
from letta_stack.topology.render.kubernetes.chart.merge import Branch, condition, merge
from letta_stack.topology.render.kubernetes.directory import SHARED
from letta_stack.topology.render.kubernetes.objects import NAME
from letta_stack.topology.render.kubernetes.options import DATABASES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from letta_stack.topology.render.files import Mounted
    from letta_stack.topology.render.kubernetes.options import Options

CHART = "letta-stack"
# Without a cluster, as for `helm template`, Helm finds nothing: only with one is it known that the Secret is missing.
_NOBODY_MADE_IT = (
    'and .Release.IsInstall (lookup "v1" "ServiceAccount" .Release.Namespace "default") '
    '(not (lookup "v1" "Secret" .Release.Namespace .Values.secret))'
)
NOTES = """The API on this machine:
  kubectl --namespace {{ .Release.Namespace }} port-forward service/letta-nginx 8283:80
Its password is the key server-password of the Secret {{ .Values.secret }}.
"""
REFUSED = {
    _NOBODY_MADE_IT: "the namespace has no Secret with the name that is the value secret; README.md says what is in it",
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
        "README.md": _readme(about.command, _keys(model, mounted, options), made.notes),
        "templates/NOTES.txt": NOTES,
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


def _keys(
    model: Mapping[str, Any], mounted: Mapping[tuple[str, str], Mounted], options: Options
) -> str:
    """Say which keys the Secret must have, for each database."""
    needed = {
        database: manifests.render(model, mounted, replace(options, database=database)).secrets[
            options.secret
        ]
        for database in DATABASES
    }
    return "".join(f"- `database: {name}`: {', '.join(keys)}\n" for name, keys in needed.items())


def _readme(command: str, keys: str, notes: Iterable[str]) -> str:
    unsaid = "".join(f"- {note}\n" for note in notes)
    return (
        f"# {CHART}\n\nMade by `{command}` from the objects of `kubectl apply -k`. `values.yaml` says what can be chosen.\n\n"
        "First the namespace, with the standard that all pods here keep to, and the Secret named by the value `secret`:\n\n"
        "    kubectl create namespace letta\n"
        "    kubectl label namespace letta pod-security.kubernetes.io/enforce=restricted\n\n"
        f"{keys}\n"
        "`docs/topologies/kubernetes.md` of the project has the commands that make it. Then, one release for each namespace:\n\n"
        "    helm install letta . --namespace letta\n\n"
        f"## Not in these objects\n\n{unsaid}"
    )
