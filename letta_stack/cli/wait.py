"""Waiting for a URL: `wait`."""

from __future__ import annotations

from invoke.context import Context

from letta_stack.cli.task import leave, task


@task(
    help={
        "url": "what to GET",
        "timeout": "seconds until giving up (default: 60)",
        "interval": "seconds between attempts (default: 0.1)",
        "status": "status that means ready (default: 200)",
    }
)
def wait(
    _: Context, url: str, timeout: str = "60", interval: str = "0.1", status: str = "200"
) -> None:
    """Wait until a URL answers, then run the command after `--`."""
    import sys

    from letta_stack.base import console, flags, http_wait, process

    elapsed = http_wait.wait_for_status(
        url,
        status=flags.status_code("--status", status),
        timeout=flags.seconds("--timeout", timeout),
        interval=flags.seconds("--interval", interval),
    )
    console.say(f"{url} answered after {elapsed:.2f} s")
    if command := flags.command(sys.argv):
        leave(process.call(command))
