"""Takes the schemas of the objects that are rendered from the API server's own description of them.

`python -m tests.support.kubernetes_schema DIRECTORY ROUTES` writes them anew; the directory is `api/openapi-spec/v3` of the Go module
k8s.io/kubernetes, ROUTES is `config/crd/standard/gateway.networking.k8s.io_httproutes.yaml` of sigs.k8s.io/gateway-api. Without descriptions, and strict: the API server, too, refuses a field that it does not know.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("kubernetes-1.34.json")
KINDS = {
    "apis__apps__v1": ("Deployment", "StatefulSet"),
    "apis__autoscaling__v2": ("HorizontalPodAutoscaler",),
    "apis__batch__v1": ("Job",),
    "apis__networking.k8s.io__v1": ("Ingress", "NetworkPolicy"),
    "apis__policy__v1": ("PodDisruptionBudget",),
    "api__v1": (
        "ConfigMap",
        "Namespace",
        "PersistentVolumeClaim",
        "Secret",
        "Service",
        "ServiceAccount",
    ),
}
KEPT = {"additionalProperties", "enum", "items", "oneOf", "properties", "required", "type"}
PREFIX = "#/components/schemas/"


def taken(directory: Path) -> dict[str, Any]:
    """Return the schemas by name, and under `kinds` which name an object's version and kind have."""
    result: dict[str, Any] = {"kinds": {}, "$defs": {}}
    for file, kinds in KINDS.items():
        schemas = json.loads((directory / f"{file}_openapi.json").read_text())["components"][
            "schemas"
        ]
        for name, schema in schemas.items():
            for one in schema.get("x-kubernetes-group-version-kind", []):
                version = f"{one['group']}/{one['version']}".lstrip("/")
                if (
                    one["kind"] in kinds
                    and file.replace("apis__", "").replace("api__", "").replace("__", "/")
                    == version
                ):
                    result["kinds"][f"{version} {one['kind']}"] = name
                    _take(name, schemas, result["$defs"])
    return result


def taken_custom(definition: Path, into: dict[str, Any]) -> None:
    """Add the schemas of a custom resource: one for each of its versions."""
    found = yaml.safe_load(definition.read_text())["spec"]
    for version in found["versions"]:
        kind = f"{found['group']}/{version['name']} {found['names']['kind']}"
        name = f"{found['group']}.{version['name']}.{found['names']['kind']}"
        into["kinds"][kind] = name
        schema = version["schema"]["openAPIV3Schema"]
        schema["properties"]["metadata"] = {"type": "object", "additionalProperties": {}}
        into["$defs"][name] = _reduced(schema, {}, {})


def _take(name: str, schemas: dict[str, Any], into: dict[str, Any]) -> None:
    if name in into:
        return
    into[name] = {}
    into[name] = _reduced(schemas[name], schemas, into)


def _reduced(
    schema: dict[str, Any], schemas: dict[str, Any], into: dict[str, Any]
) -> dict[str, Any]:
    (reference,) = [one.get("$ref") for one in schema.get("allOf", [schema])]
    if reference:
        name = reference.removeprefix(PREFIX)
        _take(name, schemas, into)
        return {"$ref": f"#/$defs/{name}"}
    kept = {key: value for key, value in schema.items() if key in KEPT}
    if "properties" in kept:
        kept["properties"] = {
            key: _reduced(value, schemas, into) for key, value in sorted(kept["properties"].items())
        }
        kept["additionalProperties"] = False
    for key in ("items", "additionalProperties"):
        if isinstance(kept.get(key), dict):
            kept[key] = _reduced(kept[key], schemas, into)
    return kept


if __name__ == "__main__":
    found = taken(Path(sys.argv[1]))
    taken_custom(Path(sys.argv[2]), found)
    FILE.write_text(json.dumps(found, separators=(",", ":"), sort_keys=True) + "\n")
