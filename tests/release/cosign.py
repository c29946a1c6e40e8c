"""The real cosign, of both kinds, for keys and signatures that our own code has no part in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.image import third_party
from tests.release import support

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "not-a-secret"
PIN = "COSIGN_IMAGE"
NEWER = "letta-stack/test-cosign3"


def second() -> str:
    """Make the pinned one, version 2; return its name."""
    return third_party.ensure([PIN], source="auto", ca=support.ca_file())[PIN]


def third() -> str:
    """Make one of version 3; return its name."""
    context = ROOT / "images"
    file = ROOT / "tests" / "release" / "cosign3" / "Dockerfile"
    bases = support.base_images("DEBIAN_IMAGE")
    process.run(
        ["docker", "build", "--quiet", f"--tag={NEWER}", *bases, f"--file={file}", str(context)]
    )
    return NEWER


@dataclass(frozen=True)
class Cosign:
    """An image with cosign, and the directory that it works in: keys, certificates, logins."""

    image: str
    directory: Path

    def __call__(self, *command: str) -> str:
        """Run it as a person would, beside the registry, and return what it prints."""
        return process.capture([*self.argv, *command])

    @property
    def argv(self) -> list[str]:
        """The command before cosign's own words."""
        options = [f"--user={os.getuid()}:{os.getgid()}", f"--volume={self.directory}:/work"]
        options += ["--env=HOME=/work", "--env=DOCKER_CONFIG=/work", "--workdir=/work"]
        password = f"--env=COSIGN_PASSWORD={PASSWORD}"
        return ["docker", "run", "--rm", "--network=host", password, *options, self.image]

    def sign(self, key: str, image: str, *flags: str) -> None:
        """Sign an image as a person would who has no transparency log."""
        self("sign", f"--key={key}.key", "--allow-http-registry", "--yes", *flags, image)

    def key(self, name: str) -> Path:
        """Make a pair of keys; return the private one's file, beside which there is NAME.pub."""
        self("generate-key-pair", f"--output-key-prefix={name}")
        return self.directory / f"{name}.key"
