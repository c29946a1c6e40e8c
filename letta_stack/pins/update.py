"""`inv pins --update`: resolves digests and release checksums, and says what it could not reach.

Nothing is guessed: a value that cannot be looked up stays as it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from letta_stack.base import console, process
from letta_stack.errors import PinsNotReached
from letta_stack.pins import check
from letta_stack.pins.file import Pins
from letta_stack.registry import oci

if TYPE_CHECKING:
    from collections.abc import Mapping

LOOKUP_SECONDS = 60.0
OTELCOL_CHECKSUMS = "opentelemetry-collector-releases_otelcol-contrib_checksums.txt"
CHECKSUM_LINE = re.compile(r"(?P<sha256>[0-9a-f]{64}) [ *](?P<name>\S+)")


def update() -> None:
    """Write what could be resolved to ``pins.env`` and to the ARG defaults that repeat it.

    Raises ``PinsNotReached``, after writing, if something could not be looked up.
    """
    pins = Pins.load()
    fresh: dict[str, str] = {}
    unreached: list[str] = []
    for key, reference in pins.items():
        if not key.endswith("_IMAGE"):
            continue
        try:
            fresh[key] = resolve_image(reference)
        except LookupError as error:
            unreached.append(f"{key} ({error})")
    try:
        fresh |= resolve_otelcol(pins)
    except LookupError as error:
        unreached.append(f"OTELCOL_SHA256_* ({error})")
    changed = {key: value for key, value in fresh.items() if value != pins[key]}
    if changed:
        text = pins.source.read_text(encoding="utf-8")
        pins.source.write_text(replace_values(text, changed), encoding="utf-8")
        for dockerfile in check.dockerfiles(pins.source.parent):
            text = dockerfile.read_text(encoding="utf-8")
            dockerfile.write_text(replace_arguments(text, changed), encoding="utf-8")
    for key, value in changed.items():
        console.say(f"{key} is now {value}")
    for line in unreached:
        console.say(f"not reached: {line}")
    if unreached:
        raise PinsNotReached(
            f"{len(unreached)} pins could not be looked up and are unchanged; run "
            "`inv pins --update` again where the registries and github.com can be reached"
        )


def replace_values(text: str, values: Mapping[str, str]) -> str:
    """Change values in the text of a pins file; comments and order stay."""

    def line(match: re.Match[str]) -> str:
        key = match[1]
        return f"{key}={values.get(key, match[2])}"

    return re.sub(r"(?m)^([A-Z][A-Z0-9_]*)=(.*)$", line, text)


def replace_arguments(text: str, values: Mapping[str, str]) -> str:
    """Change the ARG defaults in the text of a Dockerfile, so that plain `docker build` takes the same."""

    def line(match: re.Match[str]) -> str:
        return f"{match[1]}{values.get(match[2], match[3])}"

    return re.sub(r"(?m)^(ARG ([A-Z][A-Z0-9_]*)=)(.*)$", line, text)


def resolve_image(reference: str) -> str:
    """Return ``tag@digest``: the tag for people, the digest of the manifest list for machines."""
    tag = reference.partition("@")[0]
    command = ["docker", "buildx", "imagetools", "inspect", "--format", "{{json .Manifest}}", tag]
    answer = process.probe(command, timeout=LOOKUP_SECONDS)
    digest = oci.DIGEST.search(answer.stdout)
    if not answer.ok or digest is None:
        reason = next(reversed(answer.stderr.strip().splitlines()), "no digest in the answer")
        raise LookupError(reason)
    return f"{tag}@{digest[0]}"


def resolve_otelcol(pins: Mapping[str, str]) -> dict[str, str]:
    """Read the collector's checksums from the release's own file."""
    import requests  # noqa: PLC0415 - slow to import, and only needed here

    url = f"{pins['OTELCOL_BASE_URL']}/v{pins['OTELCOL_VERSION']}/{OTELCOL_CHECKSUMS}"
    try:
        answer = requests.get(url, timeout=LOOKUP_SECONDS)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise LookupError(str(error)) from error
    return otelcol_checksums(answer.text, pins["OTELCOL_VERSION"])


def otelcol_checksums(text: str, version: str) -> dict[str, str]:
    """Pick the two tarballs that the image is made from out of the checksum file."""
    by_name = {
        match["name"]: match["sha256"]
        for match in map(CHECKSUM_LINE.fullmatch, text.splitlines())
        if match
    }
    try:
        return {
            f"OTELCOL_SHA256_{architecture.upper()}": by_name[
                f"otelcol-contrib_{version}_linux_{architecture}.tar.gz"
            ]
            for architecture in ("amd64", "arm64")
        }
    except KeyError as error:
        raise LookupError(f"the release's checksum file does not list {error}") from error
