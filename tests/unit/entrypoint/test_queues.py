"""What the start reads of a collector's queues, and what it makes of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from entrypoint import collector, queues
from entrypoint.queues import NOTHING, Queue

from tests.support.queue_files import LEAF, PAGE, large, meta, page, small, state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


@pytest.mark.parametrize("form", [small, large])
def test_what_waits_and_what_is_on_its_way_is_counted(
    tmp_path: Path, form: Callable[[Mapping[bytes, bytes]], bytes]
) -> None:
    (tmp_path / "exporter_clickhouse__traces").write_bytes(form(state(30, 41, [27, 28, 29])))
    (tmp_path / "exporter_clickhouse__logs").write_bytes(form(state(5, 5, [1, 2, 3, 4])))
    (tmp_path / "exporter_otlp_waiting_logs").write_bytes(form(state(0, 900)))

    # Each signal has a queue, and all of them have the same length.
    assert queues.longest(tmp_path, "clickhouse_") == Queue(11, 4)
    assert queues.longest(tmp_path, "otlp_waiting") == Queue(900, 0)
    assert queues.longest(tmp_path, "otlp_signoz") == NOTHING


def test_a_queue_that_never_had_anything_is_empty(tmp_path: Path) -> None:
    (tmp_path / "exporter_clickhouse__traces").write_bytes(b"")
    (tmp_path / "exporter_clickhouse__logs").write_bytes(small({}))
    (tmp_path / "exporter_clickhouse__metrics").write_bytes(
        meta(0, 3, 1) + meta(1, 3, 0) + page(2, 16, 0, b"") + page(3, LEAF, 0, b"")
    )

    assert queues.longest(tmp_path, "clickhouse_") == NOTHING


@pytest.mark.parametrize(
    "content",
    [
        b"no queue",
        bytes(4 * PAGE),
        small(state(1, 2))[: 3 * PAGE],
        large(state(1, 2))[: 4 * PAGE],
        meta(0, 3, 1) + meta(1, 3, 0) + page(2, 16, 0, b"") + page(3, 64, 0, b""),
    ],
    ids=["text", "zeros", "no root", "no leaf", "another kind of page"],
)
def test_a_file_of_another_form_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "exporter_clickhouse__traces").write_bytes(content)

    with pytest.raises(ValueError, match=r"no queue|describes|kind 64"):
        queues.longest(tmp_path, "clickhouse_")


@pytest.mark.parametrize(
    ("content", "said", "length"),
    [
        (None, "otelcol-contrib version 0.96.0", "1000"),
        (small(state(10, 990, [6, 7, 8, 9])), "otelcol-contrib version 0.96.0", "1000"),
        (small(state(10, 1009, [6, 7, 8, 9])), "otelcol-contrib version 0.96.0", "1003"),
        (small(state(10, 1009, [6, 7, 8, 9])), "", "1003"),
        (b"garbage", "otelcol-contrib version 0.96.0", "1004"),
        # It takes what it finds, but drops what was on its way.
        (small(state(10, 990, [6, 7, 8, 9])), "otelcol-contrib version 0.161.0", "1004"),
    ],
    ids=["new", "fits", "full", "unknown version", "unreadable", "newer"],
)
def test_a_queue_has_the_room_that_its_content_needs(
    tmp_path: Path, content: bytes | None, said: str, length: str
) -> None:
    if content is not None:
        (tmp_path / "exporter_otlp_waiting_traces").write_bytes(content)
    start = starting(tmp_path, said)

    assert start.with_length("otlp_waiting")["OTEL_QUEUE_SIZE"] == length
    assert start.with_length("")["OTEL_QUEUE_SIZE"] in {"1000", "1004"}


def starting(storage: Path, said: str = "") -> collector.Start:
    place = collector.Place(storage / "collector", storage, storage)
    return collector.Start({}, place, {"OTEL_QUEUE_SIZE": "1000"}, storage, said)


class Kept:
    """Stands for a collector that keeps what comes; the queue is sent after three looks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, queue: Path) -> None:
        self.queue = queue
        self.phases: list[str] = []
        self.looks = 0
        monkeypatch.setattr(collector.Start, "keep", self.keep)

    def keep(self, phase: str, *, until: Callable[[], bool], seconds: float) -> None:
        assert seconds > 0
        self.phases.append(phase)
        self.looks = 1
        contents = [small(state(3, 5, [1])), b"being written", small(state(5, 5, [3, 4]))]
        for content in contents:
            self.queue.write_bytes(content)
            if until():
                return
            self.looks += 1


def test_what_was_found_is_sent_before_anything_is_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    queue = tmp_path / "exporter_clickhouse__traces"
    kept = Kept(monkeypatch, queue)
    queue.write_bytes(small(state(1, 5)))

    starting(tmp_path).drain("clickhouse_")

    assert (kept.phases, kept.looks) == (["draining"], 3)
    said = capsys.readouterr()
    assert "4 requests of before are sent first" in said.out + said.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (small(state(5, 5, [1, 2])), ""),
        (b"garbage", ""),
        (small(state(1, 5)), "otelcol-contrib version 0.161.0"),
    ],
    ids=["empty", "unreadable", "newer"],
)
def test_a_start_without_need_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, said: str
) -> None:
    queue = tmp_path / "exporter_clickhouse__traces"
    kept = Kept(monkeypatch, queue)
    queue.write_bytes(content)

    starting(tmp_path, said).drain("clickhouse_")

    assert kept.phases == []


def test_every_queue_that_can_be_read_is_shown(tmp_path: Path) -> None:
    (tmp_path / "exporter_clickhouse__traces").write_bytes(small(state(30, 41, [27])))
    (tmp_path / "exporter_clickhouse__logs").write_bytes(b"garbage")
    (tmp_path / "exporter_otlp_waiting_metrics").write_bytes(small(state(0, 9)))
    (tmp_path / "receiver_filelog_").write_bytes(b"")

    assert list(queues.every(tmp_path)) == [
        ("clickhouse", "traces", Queue(11, 1)),
        ("otlp_waiting", "metrics", Queue(9, 0)),
    ]
