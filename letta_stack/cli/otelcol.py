"""A collector on the host: `otelcol.install`, `.start`, `.stop`, `.status`, `.verify`."""

from __future__ import annotations

from invoke.collection import Collection
from invoke.context import Context

from letta_stack.cli.task import CA, IMAGES, OTELCOL, task

DIRECTORY = "where the collector lives (default: .letta-stack/otelcol in the checkout)"


@task(help={"directory": DIRECTORY, "otelcol": OTELCOL, "images": IMAGES, "ca": CA})
def install(
    _: Context, directory: str = "", otelcol: str = "auto", images: str = "auto", ca: str = ""
) -> None:
    """Install the pinned collector on this machine, verified."""
    from letta_stack.image.sources import Sources
    from letta_stack.telemetry import install as telemetry_install
    from letta_stack.telemetry.layout import Layout, detect

    sources = Sources.of(images=images, otelcol=otelcol, letta_source="", ca=ca)
    telemetry_install.install(Layout.of(directory), detect(), sources)


@task(help={"directory": DIRECTORY})
def start(_: Context, directory: str = "") -> None:
    """Start the collector in the background, configured as in the image."""
    from letta_stack.telemetry import daemon
    from letta_stack.telemetry.layout import Layout

    daemon.start(Layout.of(directory))


@task(help={"directory": DIRECTORY})
def stop(_: Context, directory: str = "") -> None:
    """Stop the collector; what it has is written out first."""
    from letta_stack.telemetry import daemon
    from letta_stack.telemetry.layout import Layout

    daemon.stop(Layout.of(directory))


@task(help={"directory": DIRECTORY})
def status(_: Context, directory: str = "") -> None:
    """Say whether the collector runs and is healthy, and with what."""
    from letta_stack.base import console
    from letta_stack.telemetry import daemon
    from letta_stack.telemetry.layout import Layout

    for line in daemon.status(Layout.of(directory)):
        console.result(line)


@task(help={"directory": DIRECTORY})
def verify(_: Context, directory: str = "") -> None:
    """Check program, checksum and version of the collector."""
    from letta_stack.base import console
    from letta_stack.telemetry import install as telemetry_install
    from letta_stack.telemetry.layout import Layout

    layout = Layout.of(directory)
    console.result(f"collector {telemetry_install.verify(layout)}: {layout.program}")


otelcol = Collection("otelcol", install, start, stop, status, verify)
