"""Builds the server's image: decides where its parts come from, and calls `docker buildx build` once."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base import console, content_hash, process
from letta_stack.base.paths import ROOT
from letta_stack.engine import inspect
from letta_stack.errors import BadSource, BadValue, BuildFailed, CommandFailed
from letta_stack.image import collector, third_party, version
from letta_stack.pins.file import Pins

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REPOSITORY = "letta-stack/letta"
IMAGE_VARIABLE = "LETTA_STACK_IMAGE"
INPUTS_LABEL = "letta-stack.inputs"  # a hash of everything that the image was built from
VERSION_LABEL = "org.opencontainers.image.version"
REVISION_LABEL = "org.opencontainers.image.revision"

# What the Dockerfile reads; .dockerignore lets nothing else through.
CONTEXT = (
    ".dockerignore",
    "Dockerfile",
    "images/bin",
    "otel",
    "pins.env",
    "requirements/backup.txt",
    "requirements/debugger.txt",
    "requirements/image.txt",
    "rootfs",
)
# What it reads of Letta's source.
LETTA_CONTEXT = (
    "LICENSE",
    "README.md",
    "alembic",
    "alembic.ini",
    "letta",
    "pyproject.toml",
    "uv.lock",
)
# Pins that are arguments of the Dockerfile.
ARGUMENTS = (
    "LETTA_VERSION",
    "LETTA_SDIST_SHA256",
    "NODE_VERSION",
    "NODE_SHA256_AMD64",
    "NODE_SHA256_ARM64",
    "OTELCOL_BASE_URL",
    "OTELCOL_VERSION",
    "OTELCOL_SHA256_AMD64",
    "OTELCOL_SHA256_ARM64",
)
BASES = ("DEBIAN_IMAGE", "POSTGRES_IMAGE")
GO = "GOLANG_IMAGE"


@dataclass(frozen=True)
class Request:
    """What the user wants built. No ``platforms`` means this machine's; ``images`` and ``otelcol`` may be "auto"."""

    platforms: tuple[str, ...]
    images: str = "auto"
    otelcol: str = "auto"
    letta_source: Path | None = None
    ca: Path | None = None
    no_cache: bool = False

    def inputs(self) -> str:
        """Return the hash of all that the image depends on and that lies on this machine."""
        return self.content((*sorted(self.platforms), self.images, self.otelcol))

    def content(self, facts: Sequence[str]) -> str:
        """Return the hash of the files that the image is built from, and of ``facts``."""
        ours = content_hash.digest(ROOT, (ROOT / name for name in CONTEXT), facts)
        if self.letta_source is None:
            return ours
        source = self.letta_source
        return content_hash.digest(source, (source / name for name in LETTA_CONTEXT), (ours,))


def image_name() -> str:
    """Name the server's image, as compose does: ``LETTA_STACK_IMAGE``, or the pinned version's."""
    return os.environ.get(IMAGE_VARIABLE) or default_image()


def default_image() -> str:
    """Name the image that this checkout builds unless told otherwise."""
    return f"{REPOSITORY}:{Pins.load()['LETTA_VERSION']}"


def build_server(
    *,
    platforms: Sequence[str],
    letta_source: Path | None,
    images: str,
    otelcol: str,
    ca: Path | None,
    no_cache: bool = False,
    dry_run: bool = False,
) -> None:
    """Build the server's image for ``platforms`` (default: this machine's) and load it, if its inputs have changed."""
    load(
        Request(tuple(dict.fromkeys(platforms)), images, otelcol, letta_source, ca, no_cache),
        dry_run=dry_run,
    )


def load(request: Request, *, dry_run: bool) -> None:
    """Build into the engine; nothing is done if the image there has the same inputs."""
    request = replace(request, platforms=request.platforms or (third_party.native(),))
    release = check_source(request.letta_source)
    content = request.inputs()
    name = image_name()
    if not request.no_cache and label(name, INPUTS_LABEL) == content:
        console.say(f"{name} is up to date")
        return
    inspect.require()
    labels = {INPUTS_LABEL: content, VERSION_LABEL: release, **revision()}
    run(request, [third_party.into_engine(name)], labels, dry_run=dry_run)


def run(
    request: Request,
    output: Sequence[str],
    labels: Mapping[str, str],
    *,
    dry_run: bool = False,
) -> None:
    """Make the bases that are missing, then build into ``output`` (options of `docker buildx build`)."""
    otelcol, selection = decide(request)
    command = argv(request, selection.references, otelcol=otelcol, labels=labels, output=output)
    if dry_run:
        for pin, reference in selection.rebuilt.items():
            state = (
                "there already"
                if third_party.is_local(reference)
                else "to be built from Debian packages"
            )
            console.result(f"{pin}={reference}: {state}")
        console.result(shlex.join(command))
        return
    third_party.make(selection, ca=request.ca, no_cache=request.no_cache)
    try:
        process.run(command)
    except CommandFailed as error:
        raise BuildFailed(
            "the server's image was not built (docker's last lines above say why); run the same command "
            "again to go on, finished steps are kept"
        ) from error


def decide(request: Request) -> tuple[str, third_party.Selection]:
    """Decide where the collector and the base images come from, without making or pulling anything."""
    otelcol = collector.choose(request.otelcol)
    pins = (*BASES, GO) if otelcol == "build" else BASES
    return otelcol, third_party.choose(pins, source=request.images, platforms=request.platforms)


def argv(
    request: Request,
    references: Mapping[str, str],
    *,
    otelcol: str,
    labels: Mapping[str, str],
    output: Sequence[str],
) -> list[str]:
    """Return the command. Everything that is not a default of the Dockerfile is visible in it; secrets are not."""
    pins = Pins.load()
    arguments = {
        **{name: pins[name] for name in ARGUMENTS},
        **references,
        "OTELCOL_SOURCE": otelcol,
    }
    command = ["docker", "buildx", "build", "--provenance=false"]
    command += [f"--platform={','.join(request.platforms)}"]
    command += [f"--build-arg={name}={value}" for name, value in arguments.items()]
    command += [f"--label={name}={value}" for name, value in labels.items()]
    if request.letta_source is not None:
        command += [f"--build-context=letta-source={request.letta_source}"]
    command += third_party.ca_secret(request.ca)
    if request.no_cache:
        command += ["--no-cache"]
    return [*command, *output, str(ROOT)]


def check_source(source: Path | None) -> str:
    """Return the version of Letta that will be built; raise if ``source`` is not a server that can be."""
    if source is None:
        return Pins.load()["LETTA_VERSION"]
    for name in LETTA_CONTEXT:
        if not (source / name).exists():
            raise BadSource(
                f"--letta-source {source} has no {name}; give the root of a Letta 0.16 source tree"
            )
    found = version.from_pyproject(source)
    if found.version is None:
        raise BadSource(f"{found.note}; give the root of a Letta 0.16 source tree")
    version.check_supported(found.version)
    return str(found.version)


def label(image: str, name: str) -> str:
    """Return a label of an image on the engine, "" if the image or the label is not there."""
    template = f'--format={{{{index .Config.Labels "{name}"}}}}'
    answer = process.probe(["docker", "image", "inspect", template, image])
    return answer.stdout.strip() if answer.ok else ""


def revision() -> dict[str, str]:
    """Return the label that names the checkout's commit, none outside of git."""
    head = process.probe(["git", "rev-parse", "--verify", "HEAD"], cwd=ROOT)
    return {REVISION_LABEL: head.stdout.strip()} if head.ok else {}


def show_version(
    *, explicit: str, source: str, image: str, allow_letta_code: bool, why: bool
) -> list[str]:
    """Return the versions of the stack and of Letta, and with ``why`` everything that was asked."""
    pins = Pins.load()
    found = version.detect(
        pin=pins["LETTA_VERSION"],
        explicit=explicit,
        source=existing(source) if source else None,
        image=image or image_name(),
        every_source=why,
    )
    version.check_supported(found.version, allow_letta_code=allow_letta_code)
    own = version.stack_version(pins["LETTA_STACK_VERSION"])
    return [f"letta-stack {own}, letta {found.version}", *(found.explain() if why else [])]


def existing(text: str) -> Path:
    """Return the path of a source tree or sdist."""
    path = Path(text).resolve()
    if not path.exists():
        raise BadValue(
            f"--letta-source {text!r} does not exist; give a Letta source tree or an sdist"
        )
    return path
