"""A registry, and an engine with some images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.base.process import Completed
from letta_stack.image import hub
from letta_stack.pins.file import Pins

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

PINS = Pins.load()
PINNED = {pin: PINS[pin] for pin in ("DEBIAN_IMAGE", "POSTGRES_IMAGE", "REDIS_IMAGE")}
BOTH = ("linux/amd64", "linux/arm64")
DNS = (
    "ERROR: failed to solve: x: failed to resolve source metadata for docker.io/library/x: failed to do request: "
    'Head "https://registry.example/v2/": dial tcp: lookup registry.example: no such host\n'
)


def inspected(references: Sequence[str], local: Sequence[str]) -> Completed:
    """Answer as the engine does that has the images ``local``."""
    missing = [
        f"Error response from daemon: No such image: {name}"
        for name in references
        if name not in local
    ]
    return Completed(1 if missing else 0, "", "\n".join(missing))


class Registry:
    """Answers for docker: which references the registry gives, which the engine has."""

    def __init__(self, *gives: str, local: Sequence[str] = (), silent: bool = False) -> None:
        self.gives = gives
        self.local = local
        self.silent = silent
        self.asked: list[str] = []

    def probe(
        self, argv: Sequence[str], *, stdin: str = "", timeout: float | None = None
    ) -> Completed:
        if argv[:4] == ["docker", "image", "inspect", "--format={{.Id}}"]:
            return inspected(argv[4:], self.local)
        assert timeout == hub.REGISTRY_SECONDS
        question = ["docker", "buildx", "build", "--quiet", "--provenance=false"]
        assert argv[:6] == [*question, "--output=type=cacheonly"]
        assert argv[6].startswith("--platform=linux/")
        assert argv[7:] == ["-"]
        reference = stdin.removeprefix("FROM ").strip()
        self.asked.append(reference)
        if self.silent:
            return Completed(124, "", "no answer within 20 s")
        return Completed(0, "", "") if reference in self.gives else Completed(1, "", DNS)


def use(monkeypatch: pytest.MonkeyPatch, registry: Registry) -> Registry:
    monkeypatch.setattr(process, "probe", registry.probe)
    return registry
