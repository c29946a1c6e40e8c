"""What all tests share."""

from __future__ import annotations

import signal

# A shell that runs the tests in the background has them ignore Ctrl-C, and every process that they interrupt with them.
signal.signal(signal.SIGINT, signal.default_int_handler)

# nox ends sessions that run side by side with this signal, without a Ctrl-C; the tests must undo what they began.
signal.signal(signal.SIGTERM, signal.default_int_handler)
