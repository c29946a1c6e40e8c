"""What a fault may do, and how what it did is counted."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from letta_stack.base.paths import ROOT
from letta_stack.errors import BadValue
from letta_stack.operate.faults import audit, catalogue, client, load, report, scripted_model, stack
from letta_stack.operate.faults.client import Answer
from letta_stack.operate.faults.load import Attempt
from letta_stack.operate.faults.model import (
    KINDS,
    MESSAGE,
    READ,
    STREAM,
    Count,
    Expect,
    Outcome,
    breaches,
)

if TYPE_CHECKING:
    from pathlib import Path

GOOD = Outcome(
    fault="redis-gone",
    what="Redis is gone",
    seconds_to_healthy=4.0,
    requests={READ: Count(20, 0), MESSAGE: Count(5, 1), STREAM: Count(5, 0)},
    acknowledged=9,
    spans_expected=29,
    spans_lost=0,
)


def attempt(kind: str, mark: str, status: int, text: str = "", *, done: bool = False) -> Attempt:
    return Attempt(kind, mark, "trace", 1.0, 2.0, Answer(status, text, done))


def test_what_was_promised_and_kept_is_no_breach() -> None:
    assert breaches(Expect(healthy=5, unaffected=(READ, STREAM), at_most=0.1), GOOD) == []


@pytest.mark.parametrize(
    ("expect", "outcome", "said"),
    [
        (Expect(), replace(GOOD, lost=1), "1 of 9 acknowledged messages are lost"),
        (Expect(), replace(GOOD, acknowledged=0), "nothing is proven"),
        (Expect(healthy=3.9), GOOD, "healthy after 4.0 s, not 3.9 s"),
        (Expect(unaffected=(MESSAGE,)), GOOD, "1 message requests failed, none may"),
        (Expect(at_most=0.03), GOOD, "1 of 30 requests failed, more than 3%"),
        (
            Expect(reads_after=5),
            replace(GOOD, late_reads=Count(9, 2)),
            "2 of 9 reads failed that began 5 s after it or later",
        ),
        (Expect(reads_after=5), GOOD, "no read began 5 s after it"),
        (Expect(), replace(GOOD, unclear=("500 oops",)), "unclear answer: 500 oops"),
        (Expect(), replace(GOOD, breaches=("not so: it says why",)), "not so: it says why"),
    ],
)
def test_each_promise_that_is_broken_is_said(expect: Expect, outcome: Outcome, said: str) -> None:
    (line,) = breaches(expect, outcome)

    assert said in line


def test_requests_are_counted_by_kind_and_failures_by_status() -> None:
    attempts = [
        attempt(READ, "", 200, done=True),
        attempt(READ, "", 503),
        attempt(MESSAGE, "fault-1", 200, done=True),
        attempt(STREAM, "fault-2", 200),
        attempt(STREAM, "fault-3", 0),
    ]

    assert load.counts(attempts) == {READ: Count(2, 1), MESSAGE: Count(1, 0), STREAM: Count(2, 2)}
    assert load.statuses(attempts) == {"503": 1, "200": 1, "0": 1}
    assert [one.mark for one in load.acknowledged(attempts)] == ["fault-1"]


@pytest.mark.parametrize(
    ("status", "text", "is_unclear"),
    [
        (503, '{"detail":"The database is not available at the moment."}', False),
        (0, "('Connection aborted.', RemoteDisconnected())", False),
        (500, '{"error":{"type":"llm_error","message":"..."}}', False),
        (500, '{"detail":"An unknown error occurred"}', True),
        (502, "<html><head><title>502 Bad Gateway</title>", True),
        (200, 'data: {"detail": "asyncpg.exceptions.InternalClientError"}', True),
    ],
)
def test_an_answer_without_a_next_step_is_unclear(
    status: int, text: str, *, is_unclear: bool
) -> None:
    assert bool(load.unclear([attempt(MESSAGE, "fault-1", status, text)])) is is_unclear


def test_the_same_unclear_answer_is_shown_once() -> None:
    twice = [attempt(READ, "", 500, "a\n b"), attempt(READ, "", 500, "a b")]

    assert load.unclear(twice) == ["500 a b"]


def test_a_turn_is_whole_when_it_says_that_it_ended() -> None:
    assert client.ended_well('{"messages": [], "stop_reason": {"stop_reason": "end_turn"}}')
    assert not client.ended_well('{"stop_reason": {"stop_reason": "error"}}')
    assert not client.ended_well("<html>")


def test_a_stream_is_whole_with_its_reason_and_its_end() -> None:
    reason = 'data: {"message_type": "stop_reason", "stop_reason": "end_turn"}'
    cut = 'data: {"message_type": "assist'

    assert client.stream_ended_well([reason, "", client.DONE])
    assert not client.stream_ended_well([reason])
    assert not client.stream_ended_well([cut, client.DONE])


def test_an_acknowledged_message_is_there_with_its_answer_or_lost() -> None:
    good = [attempt(MESSAGE, f"fault-{one}", 200, done=True) for one in "123"]
    rows = {"fault-1": {"user", "assistant"}, "fault-2": {"user"}}

    assert [one.mark for one in audit.lost(good, rows)] == ["fault-2", "fault-3"]


def test_a_failed_message_that_is_stored_is_counted() -> None:
    attempts = [
        attempt(MESSAGE, "fault-1", 502),
        attempt(MESSAGE, "fault-2", 502),
        attempt(MESSAGE, "fault-3", 200, done=True),
        attempt(READ, "", 503),
    ]

    assert audit.stored_unacknowledged(attempts, {"fault-1": {"user"}, "fault-3": {"user"}}) == 1


def test_a_container_has_what_its_first_process_has_started() -> None:
    text = (
        "PID   PPID  COMMAND\n56    912   nginx: worker process\n912    9000  nginx: master\n"
        "57    1     curl http://127.0.0.1/health\n9000   1     /bin/sh start -g x\n"
    )

    assert stack.descendants(text, 9000) == [
        stack.Process(9000, 1, "/bin/sh start -g x"),
        stack.Process(912, 9000, "nginx: master"),
        stack.Process(56, 912, "nginx: worker process"),
    ]


def test_there_are_as_many_faults_as_promised_each_with_a_name_of_its_own() -> None:
    names = [one.name for one in catalogue.FAULTS]

    assert len(names) == len(set(names)) >= 25
    assert {kind for one in catalogue.FAULTS for kind in one.expect.unaffected} == set(KINDS)


def test_faults_are_chosen_by_name() -> None:
    (chosen,) = catalogue.choose(["redis-gone"])

    assert chosen.name == "redis-gone"
    assert catalogue.choose([]) == catalogue.FAULTS
    with pytest.raises(BadValue, match="redis-lost: no such fault"):
        catalogue.choose(["redis-gone", "redis-lost"])


def test_a_sample_is_small_quick_and_the_same_for_the_same_seed() -> None:
    samples = {tuple(one.name for one in catalogue.sample(seed, 2)) for seed in range(30)}

    assert all(one.quick for one in catalogue.sample(7, 2))
    assert catalogue.sample(7, 2) == catalogue.sample(7, 2)
    assert len(samples) > 3


def test_the_table_has_a_row_for_each_fault_and_the_reasons_below() -> None:
    bad = replace(GOOD, lost=2, breaches=("2 of 9 acknowledged messages are lost",))
    skipped = Outcome("certificate-expired", "it ends", skipped="no certificate")

    text = report.to_markdown([GOOD, bad, skipped], 7)

    assert "seed 7" in text
    assert "| redis-gone | passed | 4.0 | 0 of 20 | 1 of 5 | 0 of 5 | 9 | 0 | 0 of 29 |" in text
    assert "| redis-gone | FAILED | 4.0 |" in text
    assert "- **redis-gone**: 2 of 9 acknowledged messages are lost" in text
    assert "- certificate-expired was skipped: no certificate" in text


def test_programs_read_everything() -> None:
    found = json.loads(report.to_json([replace(GOOD, breaches=("x",))], 7))

    assert found["seed"] == 7
    assert found["faults"][0]["requests"]["message"] == {"sent": 5, "failed": 1}
    assert found["faults"][0]["passed"] is False


def test_every_failed_request_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(report, "LOG", tmp_path / "faults.log")

    report.log("redis-gone", [attempt(READ, "", 200, done=True), attempt(READ, "", 503, "later")])
    report.log("redis-killed", [attempt(STREAM, "fault-1", 200, "x" * 500 + "cut")])

    first, second = map(json.loads, report.LOG.read_text().splitlines())
    assert (first["fault"], first["status"], first["text"]) == ("redis-gone", 503, "later")
    assert (second["kind"], second["took"]) == (STREAM, 1.0)
    assert second["text"].endswith("cut")
    assert len(second["text"]) == report.LOGGED


def test_the_list_says_how_each_is_undone_and_what_is_asserted() -> None:
    (gone,) = catalogue.choose(["redis-gone"])

    assert "docker start" in report.catalogue([gone])
    assert "no read fails" in report.catalogue([gone])
    assert "skipped: no tool" in report.plan([gone], {"redis-gone": "no tool"})


def test_the_page_about_faults_has_each_of_them() -> None:
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    rows = [
        f"| `{one.name}` | {one.what} | {one.undo or 'repairs itself'} | {report.asserted(one)} |"
        for one in catalogue.FAULTS
    ]

    assert [line for line in page.splitlines() if line.startswith("| `")] == rows


def test_the_scripted_model_repeats_the_last_message_of_the_user() -> None:
    messages = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "heard one"},
        {"role": "user", "content": [{"type": "text", "text": "two three"}]},
    ]
    request = {"messages": messages}

    assert scripted_model.reply_to(request) == "heard two three"
    assert scripted_model.usage(request, "heard two three") == {
        "prompt_tokens": 5,
        "completion_tokens": 3,
        "total_tokens": 8,
    }
