"""The objects as files, for `kubectl apply -k`: one for each service, and the list of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from letta_stack.topology.render import text
from letta_stack.topology.render.kubernetes.objects import NAME

if TYPE_CHECKING:
    from letta_stack.topology.render.kubernetes.manifests import Manifests

SHARED = "letta-stack"  # the file of what no single service has


def files(manifests: Manifests, command: str) -> dict[str, str]:
    """Return the content of each file.

    Args:
        manifests: the objects.
        command: what made them, for the first line.

    """
    grouped: dict[str, list[Any]] = {}
    for one in manifests.all:
        grouped.setdefault(one["metadata"]["labels"].get(NAME, SHARED), []).append(one)
    written = {f"{name}.yaml": text.dump(group) for name, group in sorted(grouped.items())}
    index = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(written),
    }
    head = "".join(f"# {line}\n" for line in _head(manifests, command))
    return written | {"kustomization.yaml": head + text.dump([index])}


def _head(manifests: Manifests, command: str) -> list[str]:
    lines = [f"Made by `{command}`; change what it was made from, not this."]
    for secret, keys in manifests.secrets.items():
        lines.append(f"The Secret {secret} must be there, with the keys {', '.join(keys)}.")
    for secret, variables in sorted(manifests.variables.items()):
        lines.append(
            f"The Secret {secret} may be there, with the variables {', '.join(variables)}."
        )
    return [*lines, "Not in these objects:", *(f"  {note}" for note in manifests.notes)]
