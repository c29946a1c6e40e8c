"""Which images a project may run: with LETTA_STACK_VERIFY_KEY only those whose digest the holder of that key has signed."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base import console, process
from letta_stack.base.paths import STATE
from letta_stack.errors import NotSigned
from letta_stack.image import server
from letta_stack.image.sources import find_ca
from letta_stack.registry import reference, signatures
from letta_stack.registry.repository import Repository
from letta_stack.topology import deployed

if TYPE_CHECKING:
    from letta_stack.topology.project import Project

VARIABLE = "LETTA_STACK_VERIFY_KEY"
OWN = (deployed.REPOSITORY, server.REPOSITORY)  # what is made here


def built_here(image: str) -> bool:
    """Tell whether a name is that of an image that this checkout builds."""
    return image.partition(":")[0] == server.REPOSITORY


def check(project: Project, image: str) -> None:
    """Prove that the image that the engine has under a name is signed, where a key is set.

    What was proved once is not asked again, so that a stack comes up, and goes back, while its registry does not answer. Raises
    ``BadVerifyKey``, ``NotSigned``, ``SignedByOther``, ``SignsOther`` and what a registry refuses.
    """
    if not (named := project.setting(VARIABLE)):
        return
    path = Path(named).expanduser()
    key = signatures.Key.of(path)
    digest, names = names_of(image)
    proof = f"{digest} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    known = STATE / project.name / "signed.json"
    proved = proofs(known)
    if proof in proved:
        return
    if not names:
        raise NotSigned(
            f"{image} was built here, so nobody signed it, and {VARIABLE} asks for a signature: push it, sign it and deploy it "
            f"by its name in the registry, or unset {VARIABLE}"
        )
    verify(names, digest, key)
    deployed.write(known, json.dumps([*proved, proof], indent=1))
    console.say(f"signature  of {digest[7:19]} by the key {path}")


def proofs(path: Path) -> list[str]:
    """Return what was proved; a file that cannot be read proves nothing."""
    try:
        return [str(one) for one in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return []


def verify(names: list[str], digest: str, key: signatures.Key) -> None:
    """Look for a signature beside the image, under each of its names until one has it. Raises as ``check`` does."""
    ca, plain_http = find_ca("", os.environ), insecure()
    for number, target in enumerate(reference.parse_targets([], names), start=1):
        try:
            with Repository(target, ca=ca, plain_http=plain_http, say=console.say) as repository:
                signatures.verify(repository, digest, key)
        except NotSigned:
            if number == len(names):
                raise
        else:
            return


def names_of(image: str) -> tuple[str, list[str]]:
    """Return the digest of an image of the engine, and the repositories that it was pulled from: that of ``image`` alone, or all.

    The engine's image store knows an image by the digest that a registry has, and gives it under every name.
    """
    (facts,) = json.loads(process.capture(["docker", "image", "inspect", image]))
    digest = str(facts["Id"])
    names = [one.partition("@")[0] for one in facts["RepoDigests"] if one.endswith(f"@{digest}")]
    pulled = [one for one in dict.fromkeys(names) if one not in OWN]
    asked = [one for one in pulled if image.partition("@")[0] == one or image.startswith(f"{one}:")]
    return digest, asked or pulled


def insecure() -> list[str]:
    """Return the registries that the engine speaks to without TLS."""
    text = process.capture(["docker", "info", "--format", "{{json .RegistryConfig.IndexConfigs}}"])
    return [name for name, one in (json.loads(text) or {}).items() if not one["Secure"]]
