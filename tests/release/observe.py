"""What a registry holds, read without the code under test."""

from __future__ import annotations

import hashlib
import json
import tarfile
from typing import TYPE_CHECKING

import requests

if TYPE_CHECKING:
    from pathlib import Path

ACCEPT = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)


def digest_of(layout: Path) -> str:
    """Return what a layout's tag would name."""
    with tarfile.open(layout) as archive:
        index = archive.extractfile("index.json")
        assert index is not None
        return str(json.load(index)["manifests"][0]["digest"])


def tags_of(host: str, repository: str) -> dict[str, str]:
    """Return what each tag names."""
    answer = requests.get(f"http://{host}/v2/{repository}/tags/list", timeout=10)
    if answer.status_code == requests.codes.not_found:
        return {}
    found: dict[str, str] = {}
    for tag in answer.json()["tags"] or []:
        manifest = _get(host, repository, f"manifests/{tag}")
        assert manifest is not None, f"{tag} is listed, but cannot be read"
        found[tag] = f"sha256:{hashlib.sha256(manifest.content).hexdigest()}"
    return found


def defects(host: str, repository: str) -> list[str]:
    """Read every byte that every tag promises; return what is missing or damaged."""
    found: list[str] = []
    for tag, digest in tags_of(host, repository).items():
        found += [f"{tag}: {defect}" for defect in _defects_under(host, repository, digest)]
    return found


def _defects_under(host: str, repository: str, digest: str) -> list[str]:
    manifest = _get(host, repository, f"manifests/{digest}")
    if manifest is None:
        return [f"manifest {digest} is missing"]
    document = manifest.json()
    if "manifests" in document:
        children = [item["digest"] for item in document["manifests"]]
        return [line for child in children for line in _defects_under(host, repository, child)]
    found: list[str] = []
    for item in [document["config"], *document["layers"]]:
        blob = _get(host, repository, f"blobs/{item['digest']}")
        if blob is None:
            found.append(f"blob {item['digest']} is missing")
        elif f"sha256:{hashlib.sha256(blob.content).hexdigest()}" != item["digest"]:
            found.append(f"blob {item['digest']} is damaged")
    return found


def _get(host: str, repository: str, path: str) -> requests.Response | None:
    answer = requests.get(
        f"http://{host}/v2/{repository}/{path}", headers={"Accept": ACCEPT}, timeout=10
    )
    return answer if answer.ok else None
