"""Files of the collector's queues, as bbolt writes them: as much of its form as there is to read."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PAGE = 4096
LEAF, BRANCH, META = 2, 1, 4
IN_ITSELF = 1  # of an element: a bucket


def page(number: int, kind: int, count: int, rest: bytes) -> bytes:
    return (struct.pack("<QHHI", number, kind, count, 0) + rest).ljust(PAGE, b"\0")


def leaf(items: Mapping[bytes, bytes], flags: int = 0) -> bytes:
    heads, texts = b"", b""
    for place, (key, value) in enumerate(sorted(items.items())):
        distance = 16 * (len(items) - place) + len(texts)
        heads += struct.pack("<IIII", flags, distance, len(key), len(value))
        texts += key + value
    return heads + texts


def branch(children: Iterable[tuple[bytes, int]]) -> bytes:
    heads, texts, known = b"", b"", list(children)
    for place, (key, number) in enumerate(known):
        heads += struct.pack("<IIQ", 16 * (len(known) - place) + len(texts), len(key), number)
        texts += key
    return heads + texts


def meta(number: int, root: int, transaction: int) -> bytes:
    fields = (0xED0CDAED, 2, PAGE, 0, root, 0, 2, 9, transaction)
    return page(number, META, 0, struct.pack("<IIIIQQQQQ", *fields))


def state(read: int, written: int, on_their_way: Iterable[int] = ()) -> dict[bytes, bytes]:
    sent = list(on_their_way)
    return {
        b"ri": struct.pack("<Q", read),
        b"wi": struct.pack("<Q", written),
        b"di": struct.pack(f"<I{len(sent)}Q", len(sent), *sent),
    }


def small(items: Mapping[bytes, bytes]) -> bytes:
    """Return a file whose bucket is so small that it has no page of its own."""
    inline = struct.pack("<QQ", 0, 0) + struct.pack("<QHHI", 0, LEAF, len(items), 0) + leaf(items)
    root = page(3, LEAF, 1, leaf({b"default": inline}, IN_ITSELF))
    return meta(0, 3, 7) + meta(1, 3, 6) + page(2, 16, 0, b"") + root


def large(items: Mapping[bytes, bytes]) -> bytes:
    """Return a file whose bucket has a branch with two leaves, and an older state."""
    requests = {str(number).encode(): b"x" * 90 for number in range(10, 20)}
    root = page(3, LEAF, 1, leaf({b"default": struct.pack("<QQ", 4, 0)}, IN_ITSELF))
    top = page(4, BRANCH, 2, branch([(b"10", 5), (b"di", 6)]))
    leaves = page(5, LEAF, 10, leaf(requests)) + page(6, LEAF, len(items), leaf(items))
    older = page(7, LEAF, 0, b"")
    return meta(0, 7, 8) + meta(1, 3, 9) + page(2, 16, 0, b"") + root + top + leaves + older
