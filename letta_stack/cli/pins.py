"""What is pinned: `pins`."""

from __future__ import annotations

from invoke.context import Context

from letta_stack.cli.task import task


@task(
    help={
        "check": "only compare, do not show",
        "update": "look up digests and release checksums and write them to pins.env",
    }
)
def pins(_: Context, check: bool = False, update: bool = False) -> None:
    """Show the pins; check that every other file agrees with them."""
    from letta_stack.base import console
    from letta_stack.pins import check as pins_check
    from letta_stack.pins import update as pins_update
    from letta_stack.pins.file import Pins

    if update:
        pins_update.update()
    if not check:
        for key, value in Pins.load().items():
            console.result(f"{key:24} {value or '(not known yet)'}")
    pins_check.check()
