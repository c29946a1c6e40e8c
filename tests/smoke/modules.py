"""Programs of others that only tests need, built from Go modules: a directory with a Dockerfile for each."""

from __future__ import annotations

import functools
import os

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.image import sources, third_party

BASES = ("DEBIAN_IMAGE", "GOLANG_IMAGE")


@functools.cache
def image(name: str) -> str:
    """Build a program's image, if it is not there; return its name."""
    tag = f"letta-stack/test-{name}"
    ca = sources.find_ca("", os.environ)
    bases = third_party.ensure(BASES, source="auto", ca=ca)
    process.run(
        [
            *("docker", "build", "--quiet", "--tag", tag, *third_party.ca_secret(ca)),
            *(f"--build-arg={name}={reference}" for name, reference in bases.items()),
            f"--build-context=images={ROOT / 'images' / 'bin'}",
            str(ROOT / "tests" / "smoke" / name),
        ]
    )
    return tag
