"""What is in the collector's queues, read from their files: 0.96.0 keeps each as keys in a B+tree of bbolt."""

from __future__ import annotations

import contextlib
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

_BUCKET = b"default"
_READ, _WRITTEN, _ON_THEIR_WAY = b"ri", b"wi", b"di"
_MAGIC = 0xED0CDAED
_BRANCH, _LEAF = 0x01, 0x02
_PAGE = struct.Struct("<QHHI")  # identifier, kind, elements, pages more
_META = struct.Struct(
    "<IIIIQQQQQ"
)  # magic, version, page's size, flags, root, sequence, free list, pages, transaction
_ELEMENT = struct.Struct("<IIII")  # flags, distance, key's and value's lengths
_CHILD = struct.Struct("<IIQ")  # distance, key's length, page
_ROOT = struct.Struct("<QQ")  # page of a bucket, 0 if the page follows; sequence
_DESCRIPTION = _PAGE.size + _META.size
_NUMBER = struct.Struct("<Q")
_COUNT = struct.Struct("<I")


@dataclass(frozen=True)
class Queue:
    """Requests that a collector has taken and its backend has not."""

    waiting: int
    on_their_way: int


NOTHING = Queue(0, 0)


def longest(storage: Path, exporter: str) -> Queue:
    """Return how long the longest of an exporter's queues is, one for each signal.

    ``exporter`` is its identifier with ``_`` for ``/`` and at the end if it has no name. Raises ValueError, OSError for a file that
    cannot be read at this moment, or has another form.
    """
    found = [read(path) for path in storage.glob(f"exporter_{exporter}_*")]
    return Queue(
        max((one.waiting for one in found), default=0),
        max((one.on_their_way for one in found), default=0),
    )


def every(storage: Path) -> Iterator[tuple[str, str, Queue]]:
    """Yield exporter, signal and queue for each file that can be read at this moment."""
    for path in sorted(storage.glob("exporter_*")):
        exporter, _, signal = path.name.removeprefix("exporter_").rpartition("_")
        with contextlib.suppress(OSError, ValueError):
            yield exporter.rstrip("_"), signal, read(path)


def read(path: Path) -> Queue:
    """Return the queue that a file holds. Raises ValueError, OSError."""
    try:
        with path.open("rb", buffering=0) as file:
            return _Tree(file).queue() if path.stat().st_size else NOTHING
    except (struct.error, RecursionError) as error:
        raise ValueError(f"{path} is no queue: {error}") from error


class _Tree:
    """One state of a file: a collector that writes meanwhile leaves its pages alone for one transaction more."""

    def __init__(self, file: FileIO) -> None:
        self.file = file
        (_, _, self.size, *_rest) = _META.unpack_from(self.read(0, _DESCRIPTION), _PAGE.size)
        metas = [
            _META.unpack_from(self.read(start, _DESCRIPTION), _PAGE.size)
            for start in (0, self.size)
        ]
        valid = [one for one in metas if one[0] == _MAGIC]
        if not valid:
            raise ValueError("no page of it describes the others")
        self.root = max(valid, key=lambda one: one[8])[4]

    def queue(self) -> Queue:
        """Return what waits."""
        bucket = self.find(self.page(self.root), _BUCKET)
        if bucket is None:
            return NOTHING
        (root, _sequence) = _ROOT.unpack_from(bucket)
        top = self.page(root) if root else bucket[_ROOT.size :]
        read, written, sent = (self.find(top, key) for key in (_READ, _WRITTEN, _ON_THEIR_WAY))
        waiting = _number(written, _NUMBER) - _number(read, _NUMBER)
        return Queue(waiting, _number(sent, _COUNT))

    def page(self, number: int) -> bytes:
        """Return a page, and those that it goes on in."""
        start = number * self.size
        (_, _, _, more) = _PAGE.unpack_from(self.read(start, _PAGE.size))
        return self.read(start, (more + 1) * self.size)

    def read(self, start: int, size: int) -> bytes:
        """Return bytes of the file, fewer where it ends."""
        return os.pread(self.file.fileno(), size, start)

    def find(self, page: bytes, key: bytes) -> bytes | None:
        """Return the value of a key on this page or below."""
        (_, kind, count, _) = _PAGE.unpack_from(page)
        if kind & _LEAF:
            return next((value for name, value in _leaf(page, count) if name == key), None)
        if not kind & _BRANCH:
            raise ValueError(f"a page is of kind {kind}")
        below = None
        for number in range(count):
            place = _PAGE.size + number * _CHILD.size
            distance, length, child = _CHILD.unpack_from(page, place)
            if number and page[place + distance : place + distance + length] > key:
                break
            below = child
        return None if below is None else self.find(self.page(below), key)


def _leaf(page: bytes, count: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys of a page and their values."""
    for number in range(count):
        place = _PAGE.size + number * _ELEMENT.size
        _, distance, length, size = _ELEMENT.unpack_from(page, place)
        start = place + distance
        yield page[start : start + length], page[start + length : start + length + size]


def _number(value: bytes | None, form: struct.Struct) -> int:
    return int(form.unpack_from(value)[0]) if value is not None else 0
