"""Where third-party images come from: the registry, or Debian packages when no registry answers.

``hub`` takes the reference in ``pins.env``. ``debian`` builds an image of the same behaviour with the Dockerfile under ``images/``; its tag
is a hash of all that goes into it, so that a second call finds it. ``auto`` decides for each image, once per run.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from letta_stack.base import console, content_hash, process
from letta_stack.base.paths import ROOT
from letta_stack.engine import inspect
from letta_stack.errors import BuildFailed, CommandFailed, ImageUnavailable
from letta_stack.image import bootstrap, hub
from letta_stack.pins.file import Pins

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

IMAGES = ROOT / "images"
SHARED = (
    "bin/install-debs",
    "bin/suite-source",
)  # what the Dockerfiles under images/ have in common
# How a Dockerfile takes a program that others use, too.
PROGRAM = re.compile(r"source=(bin/[^,\s]+)")
DEBIAN = "DEBIAN_IMAGE"


@dataclass(frozen=True)
class Selection:
    """Which image stands for each pin, and which of them are built from Debian packages, base first."""

    references: Mapping[str, str]
    rebuilt: Mapping[str, str]
    platforms: tuple[str, ...]

    @property
    def base(self) -> str:
        """Return the Debian image that the others are built on."""
        return self.rebuilt.get(DEBIAN) or Pins.load()[DEBIAN]


def ensure(pins: Sequence[str], *, source: str, ca: Path | None) -> dict[str, str]:
    """Make or pull the images behind ``pins`` for this machine; return the variables that name them."""
    selection = choose(pins, source=source, platforms=(native(),))
    make(selection, ca=ca)
    references = selection.references.values()
    there = local(references)
    for reference in references:
        if reference not in there:
            process.run(["docker", "pull", reference])
    return dict(selection.references)


def pull(reference: str, *, source: str) -> None:
    """Pull an image that no Debian package stands for, unless it is there.

    Raises:
        ImageUnavailable: it cannot be had, or ``source`` is debian.

    """
    if is_local(reference):
        return
    if source == "debian":
        raise ImageUnavailable(f"{reference} is in no Debian package; use --images auto")
    try:
        process.run(["docker", "pull", reference])
    except CommandFailed as error:
        raise ImageUnavailable(
            f"cannot pull {reference} (the last line above says why); check the network and the name in pins.env, or "
            "use a server of the OpenAI API that runs elsewhere: --llm-endpoint URL"
        ) from error


def choose(pins: Sequence[str], *, source: str, platforms: Sequence[str]) -> Selection:
    """Decide for each pin, without making or pulling anything. ``source`` is hub, debian or auto."""
    known = Pins.load()
    pinned = {pin: known[pin] for pin in pins}
    # Build stages run on this machine's platform, whatever the target: without it there BuildKit would emulate them.
    platforms = tuple(sorted({*platforms, native()}))
    if source == "debian":
        missing = dict.fromkeys([*pins, DEBIAN], "")
    else:
        missing = _built_earlier(pinned, platforms) if source == "auto" else {}
        missing |= _missing({pin: pinned[pin] for pin in pinned if pin not in missing}, platforms)
        if missing and source == "hub":
            pin, reason = next(iter(missing.items()))
            raise ImageUnavailable(
                f"cannot get {pinned[pin]} for {' and '.join(platforms)}: {reason}; check the network "
                "and the name in pins.env, or use --images debian"
            )
        if missing:
            _say(f"images: built from Debian packages: {_listed(pinned, missing)}")
        if missing and DEBIAN not in missing:
            debian = {DEBIAN: known[DEBIAN]}
            missing |= _built_earlier(debian, platforms) or _missing(debian, platforms)
    base = known[DEBIAN]
    rebuilt: dict[str, str] = {}
    if DEBIAN in missing:
        base = rebuilt[DEBIAN] = tag(
            DEBIAN, base=bootstrap.reference(native()), platforms=platforms
        )
    for pin in pins:
        if pin in missing and pin != DEBIAN:
            rebuilt[pin] = tag(pin, base=base, platforms=platforms)
    return Selection(
        pinned | {pin: rebuilt[pin] for pin in pins if pin in rebuilt}, rebuilt, platforms
    )


def make(selection: Selection, *, ca: Path | None, no_cache: bool = False) -> None:
    """Build the images of a selection that are not there yet."""
    there = frozenset() if no_cache else local(selection.rebuilt.values())
    for pin, reference in selection.rebuilt.items():
        if reference in there:
            continue
        try:
            base = _bootstrap(no_cache=no_cache) if pin == DEBIAN else selection.base
            command = argv(pin, reference, base=base, platforms=selection.platforms, ca=ca)
            process.run([*command, "--no-cache"] if no_cache else command)
        except CommandFailed as error:
            if is_local(reference) and not no_cache:
                continue  # another run of ours made it meanwhile; its name says that it is the same
            raise BuildFailed(
                f"cannot build {reference} (the last lines above say why); run the same command again to go on, "
                "finished steps are kept"
            ) from error


def _bootstrap(*, no_cache: bool) -> str:
    reference = bootstrap.reference(native())
    if no_cache or not is_local(reference):
        bootstrap.make(reference)
    return reference


def argv(
    pin: str, reference: str, *, base: str, platforms: Sequence[str], ca: Path | None
) -> list[str]:
    """Return the command that builds the image that stands for a pin."""
    return [
        *("docker", "buildx", "build", "--provenance=false"),
        f"--platform={','.join(platforms)}",
        f"--file={IMAGES / directory(pin) / 'Dockerfile'}",
        f"--build-arg={'BOOTSTRAP_IMAGE' if pin == DEBIAN else DEBIAN}={base}",
        into_engine(reference),
        *ca_secret(ca),
        str(IMAGES),
    ]


def into_engine(reference: str) -> str:
    """Load the result of a build under a name. Compressing with gzip would take longer than most builds."""
    return f"--output=type=image,name={reference},compression=zstd,oci-mediatypes=true"


def ca_secret(ca: Path | None) -> list[str]:
    """Hand the CA file to a build, if there is one."""
    return [f"--secret=id=ca,src={ca}"] if ca else []


def tag(pin: str, *, base: str, platforms: Sequence[str]) -> str:
    """Name the image that stands for a pin by everything that goes into it, except for Debian's current packages."""
    taken = PROGRAM.findall((IMAGES / directory(pin) / "Dockerfile").read_text(encoding="utf-8"))
    programs = sorted({*SHARED, *taken})
    paths = [IMAGES / directory(pin), *(IMAGES / name for name in programs)]
    content = content_hash.digest(ROOT, paths, (base, *platforms))
    return f"letta-stack/{directory(pin)}:{content[: content_hash.SHORT]}"


def directory(pin: str) -> str:
    """Name the directory under images/ that has the Dockerfile for a pin."""
    return pin.removesuffix("_IMAGE").lower()


def native() -> str:
    """Return this machine's platform."""
    return f"linux/{inspect.native_architecture()}"


def is_local(reference: str) -> bool:
    """Tell whether the engine has the image, for this machine."""
    return reference in local([reference])


def local(references: Collection[str]) -> frozenset[str]:
    """Return which of the images the engine has, for this machine. One question for all: each takes a twentieth of a second."""
    if not references:
        return frozenset()
    answer = process.probe(["docker", "image", "inspect", "--format={{.Id}}", *references])
    if answer.ok:
        return frozenset(references)
    # A line each; any other error is about all of them.
    missing = re.findall(r"No such image: (\S+)", answer.stderr)
    if not missing:
        return frozenset()
    # The engine adds the tag that a name does not have.
    return frozenset(references).difference(
        missing, (name.removesuffix(":latest") for name in missing)
    )


def _built_earlier(pinned: Mapping[str, str], platforms: tuple[str, ...]) -> dict[str, str]:
    """Return the pins whose substitute is there and whose image is not: that question was answered by another run.

    Asking the registry again at each start would take seconds, behind some firewalls a minute.
    """
    base = tag(DEBIAN, base=bootstrap.reference(native()), platforms=platforms)
    substitutes = {
        pin: base if pin == DEBIAN else tag(pin, base=base, platforms=platforms) for pin in pinned
    }
    there = local([*pinned.values(), *substitutes.values()])
    return {
        pin: "built earlier; --images hub asks the registry again"
        for pin, reference in pinned.items()
        if substitutes[pin] in there and reference not in there
    }


def _missing(pinned: Mapping[str, str], platforms: tuple[str, ...]) -> dict[str, str]:
    """Return the pins whose image cannot be had, with the reason."""
    missing: dict[str, str] = {}
    silent = ""
    there = local(pinned.values()) if platforms == (native(),) else frozenset()
    for pin, reference in pinned.items():
        # One silence is enough: each further question would take as long again.
        reason = "" if reference in there else silent or hub.unavailable(reference, platforms)
        if reason:
            missing[pin] = reason
        if reason.startswith("no answer"):
            silent = reason
    return missing


def _listed(pinned: Mapping[str, str], missing: Mapping[str, str]) -> str:
    names = ", ".join(pinned[pin] for pin in missing)
    return f"{names} ({next(iter(missing.values()))})"


@functools.cache
def _say(line: str) -> None:
    """Say something once per run."""
    console.say(line)
