"""``python -m letta_stack.telemetry.run DIRECTORY``: become the host's collector. `inv otelcol.start` runs it."""

from __future__ import annotations

import os
import sys

from letta_stack.base import console
from letta_stack.telemetry import rule
from letta_stack.telemetry.layout import Layout

# isort: split
# `rule` has put the start code on the path.
from entrypoint import collector, errors


def main() -> int:
    """Run the container's own start of the collector, with the host's files."""
    layout = Layout.of(sys.argv[1])
    place = collector.Place(layout.program, rule.CONFIGURATIONS, layout.data)
    try:
        collector.run(rule.settings() | {"PATH": os.environ["PATH"]}, place)
    except errors.StartError as error:
        console.say(f"error: {error}")
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
