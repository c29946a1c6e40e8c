"""Where the image's OpenTelemetry Collector comes from: its release, or a build from Go modules."""

from __future__ import annotations

import functools

from letta_stack.base import console
from letta_stack.pins.file import Pins

RELEASE_SECONDS = 5.0  # in which the server of the release answers, if it does


@functools.cache
def choose(source: str) -> str:
    """Decide between release and build: the release if its server answers. Says so when it does not."""
    if source != "auto":
        return source
    import requests  # noqa: PLC0415 - slow, and not needed when nothing is built

    pins = Pins.load()
    release = f"{pins['OTELCOL_BASE_URL']}/v{pins['OTELCOL_VERSION']}/"
    try:
        requests.head(release, timeout=RELEASE_SECONDS)
    except requests.exceptions.SSLError:
        # Somebody answers, with a certificate that the build will check with its own authorities.
        return "release"
    except requests.RequestException as error:
        reason = type(error).__name__
        console.say(
            f"collector: compiling it from Go modules, because {release} does not answer ({reason})"
        )
        return "build"
    return "release"
