"""Upstream's own Dockerfile from the pinned sdist, with what cannot be fetched everywhere replaced and named.

Nothing of upstream is kept in this repository: the Dockerfile is read from the sdist that the server image is
built from, and every replacement must match exactly once, so that a benchmark never runs something else unnoticed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CA_MOUNT = "--mount=type=secret,id=ca"
USE_CA = "if [ -s /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca PIP_CERT=/run/secrets/ca; fi"


@dataclass(frozen=True)
class Replacement:
    """One passage of upstream's Dockerfile that needs a network of its own, and what stands in for it."""

    what: str
    pattern: str
    by: str
    count: int = 1


def replacements(*, uv_version: str) -> tuple[Replacement, ...]:
    """Return what is replaced, in the order of upstream's file.

    ``uv_version`` is the pinned one: upstream takes whatever is the latest.
    """
    return (
        Replacement(
            "the base image by POSTGRES_IMAGE, the same for both",
            r"^FROM pgvector/pgvector:\S+ AS (?P<stage>\w+)$",
            r"FROM ${POSTGRES_IMAGE} AS \g<stage>",
            count=2,
        ),
        Replacement("its name as a build argument", r"\A", "ARG POSTGRES_IMAGE\n"),
        Replacement(
            "uv:latest from its image by the pinned wheel",
            r"^COPY --from=ghcr\.io/astral-sh/uv:latest \S+ \S+ \S+$",
            f"RUN {CA_MOUNT} {USE_CA}; pip install --no-cache-dir uv=={uv_version}",
        ),
        Replacement(
            "uv sync gets the CA",
            r"^RUN uv sync (?P<flags>.*)$",
            rf"RUN {CA_MOUNT} {USE_CA}; uv sync \g<flags>",
        ),
        Replacement(
            "Node.js from a piped script by Debian's package (older, smaller)",
            r"curl -fsSL https://deb\.nodesource\.com/\S+ \| bash - && \\\n",
            "",
        ),
        Replacement(
            "the collector's release tarball by the binary of our own build stage",
            r'curl -L "https://github\.com/\S+" -o /tmp/otel-collector\.tar\.gz && \\\n'
            r"\s*tar xzf /tmp/otel-collector\.tar\.gz -C /usr/local/bin && \\\n"
            r"\s*rm /tmp/otel-collector\.tar\.gz && \\\n",
            "",
        ),
        Replacement(
            "and copied in",
            r"^# Add OpenTelemetry Collector configs$",
            "COPY --from=ours /usr/local/bin/otelcol-contrib /usr/local/bin/otelcol-contrib",
        ),
    )


def adapt(dockerfile: str, changes: Sequence[Replacement]) -> str:
    """Apply the replacements.

    Raises:
        ValueError: a passage is not there as often as it must be, so this is not the Dockerfile that was measured.

    """
    for change in changes:
        dockerfile, found = re.subn(change.pattern, change.by, dockerfile, flags=re.MULTILINE)
        if found != change.count:
            message = f"upstream's Dockerfile has changed: {change.what}: found {found}, not {change.count}"
            raise ValueError(message)
    return dockerfile
