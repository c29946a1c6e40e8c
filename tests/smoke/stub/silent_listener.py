"""A network that swallows packets, as its client sees it: the connection stands, and nothing ever comes back."""

from __future__ import annotations

import signal
import socket
import sys


def main() -> None:
    """Listen on the port of the command line until killed."""
    with socket.create_server(("", int(sys.argv[1])), backlog=128):
        signal.pause()  # the kernel completes the handshakes; nobody ever reads


if __name__ == "__main__":
    main()
