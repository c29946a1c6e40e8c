"""ClickHouse behind a network that loses answers: the first inserts are passed on, and nobody hears that they were stored.

Arguments: host, port (here and there), how many answers are lost.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading


class Proxy:
    """Passes connections on, but for some answers."""

    def __init__(self, host: str, port: int, lost: int) -> None:
        """Take what the command line says."""
        self.there = (host, port)
        self.lost = lost
        self.lock = threading.Lock()

    def serve(self, client: socket.socket) -> None:
        """Pass one connection on, in both directions."""
        with contextlib.suppress(OSError), socket.create_connection(self.there) as store:
            asked = threading.Event()
            threading.Thread(target=self.ask, args=(client, store, asked), daemon=True).start()
            while answer := store.recv(65536):
                if asked.is_set() and self.loses():
                    break
                asked.clear()
                client.sendall(answer)
        # Not only closed: the thread that reads from it would keep the connection open.
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        client.close()

    @staticmethod
    def ask(client: socket.socket, store: socket.socket, asked: threading.Event) -> None:
        """Pass the questions on, and note whether one is an insert."""
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if b"INSERT" in data:
                    asked.set()
                store.sendall(data)
            store.shutdown(socket.SHUT_WR)

    def loses(self) -> bool:
        """Tell whether this answer is one of those that get lost."""
        with self.lock:
            self.lost -= 1
            return self.lost >= 0


def main() -> None:
    """Serve until killed."""
    host, port, lost = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    proxy = Proxy(host, port, lost)
    with socket.create_server(("", port)) as listener:
        while True:
            client, _ = listener.accept()
            threading.Thread(target=proxy.serve, args=(client,), daemon=True).start()


if __name__ == "__main__":
    main()
