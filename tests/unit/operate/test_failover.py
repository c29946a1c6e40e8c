"""What is counted of a failover, what of it is a breach, and what `inv doctor` says of members."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from letta_stack.base import process
from letta_stack.errors import NotWithMembers
from letta_stack.operate import postgres, upgrade
from letta_stack.operate.doctor import members as doctor
from letta_stack.operate.doctor.model import FAIL, OK, WARN, Subject
from letta_stack.operate.faults import catalogue, failover, load, report, sql_client, sql_writer
from letta_stack.operate.faults.client import Answer, Client
from letta_stack.operate.faults.load import Attempt
from letta_stack.operate.faults.model import (
    KINDS,
    Count,
    Expect,
    Outcome,
    Rows,
    breaches,
    breaches_of_rows,
)
from letta_stack.operate.faults.stack import Stack
from letta_stack.operate.plan import Image
from letta_stack.topology import leader
from letta_stack.topology.inputs import Data
from letta_stack.topology.project import Project
from letta_stack.topology.runners.compose import Compose
from letta_stack.topology.runners.protocol import State

HA = Project.of("prod", project="mine", database="ha")
NAMES = ("letta-db-1", "letta-db-2", "letta-db-3")
WITHIN = Expect(writes_within=15)


def rows(**more: Any) -> Rows:
    return dataclasses.replace(Rows(100, 9.5, dict.fromkeys(NAMES, 0)), **more)


def outcome(**more: Any) -> Outcome:
    whole = Outcome("f", "what", requests=dict.fromkeys(KINDS, Count(3, 0)), acknowledged=6)
    return dataclasses.replace(whole, **more)


def message(began: float, ended: float, *, done: bool = True) -> Attempt:
    return Attempt("message", f"fault-{began}", "", began, ended, Answer(200, "", done=done))


def test_the_longest_time_without_a_write_is_between_two_acknowledgements() -> None:
    lines = [json.dumps({"number": n, "at": at}) for n, at in ((1, 5.0), (2, 5.1), (4, 17.5))]

    found = sql_client.read(lines)

    assert found.numbers == {1, 2, 4}
    assert found.longest_gap == pytest.approx(12.4)
    assert sql_client.read([]).longest_gap == 0.0


def test_every_member_is_asked_for_every_row_until_it_had_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    have = {"one": {1, 2, 3}, "two": {1, 2, 3}, "three": {1, 3}}
    target = SimpleNamespace(query=said.append)
    monkeypatch.setattr(sql_client, "CAUGHT_UP_SECONDS", 0.05)
    monkeypatch.setattr(leader, "running", lambda *_: list(have))
    monkeypatch.setattr(postgres, "of", lambda _: target)
    monkeypatch.setattr(sql_client, "numbers", lambda one: frozenset(have[one]))
    stack = Stack(HA, Client("", ""), "", ())

    found = sql_client.rows(stack, sql_client.Written(frozenset({1, 2, 3}), 2.34))

    assert found == Rows(3, 2.3, {"one": 0, "two": 0, "three": 1})
    assert said == [f"DROP TABLE IF EXISTS {sql_writer.TABLE}"]


def test_without_a_message_is_counted_from_the_fault_on() -> None:
    attempts = [message(0, 1), message(1, 2), message(9, 10, done=False), message(11, 12.5)]

    assert load.longest_gap(attempts, 4.0) == pytest.approx(8.5)
    assert load.longest_gap(attempts[:2], 4.0) == 0.0


def test_rows_that_are_everywhere_and_soon_again_are_no_breach() -> None:
    assert breaches_of_rows(WITHIN, rows()) == []
    assert breaches(WITHIN, outcome(rows=rows())) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (rows(lost={"one": 0, "two": 3}), "3 of 100 acknowledged rows are not in two"),
        (rows(longest_gap=15.1), "no row was written for 15.1 s, more than 15 s"),
        (rows(acknowledged=0), "no row was written"),
        (rows(lost={}), "no member could be asked"),
    ],
)
def test_what_does_not_hold_of_rows_is_a_breach(found: Rows, said: str) -> None:
    (breach,) = breaches(WITHIN, outcome(rows=found))

    assert said in breach


def test_who_promises_no_time_may_take_any() -> None:
    assert breaches_of_rows(Expect(), rows(longest_gap=90.0)) == []


def test_the_table_shows_rows_where_there_are_any() -> None:
    with_rows = report.to_markdown([outcome(rows=rows(), longest_gap=10.25)], 7)
    without = report.to_markdown([outcome()], 7)

    assert "| longest without a row s | rows acknowledged | rows lost |" in with_rows
    assert "| 10.2 | 9.5 | 100 | 0 |" in with_rows
    assert "rows acknowledged" not in without


def test_several_members_have_faults_of_their_own() -> None:
    assert catalogue.choose([], members=True) == failover.FAULTS
    assert catalogue.choose([]) == catalogue.FAULTS
    assert [one.name for one in catalogue.choose(["leader-paused"])] == ["leader-paused"]
    assert not {one.name for one in failover.FAULTS} & {one.name for one in catalogue.FAULTS}


def listed(name: str, role: str, state: str = "running", **more: Any) -> dict[str, Any]:
    return {"name": name, "role": role, "state": state, **more}


LEADS = listed("letta-db-2", "leader")
CONFIRMS = listed("letta-db-3", "sync_standby", lag=0)
FOLLOWS = listed("letta-db-1", "replica", lag=1024)


@pytest.mark.parametrize(
    ("found", "state", "said"),
    [
        ([FOLLOWS, LEADS, CONFIRMS], OK, "letta-db-2 leads, letta-db-3 confirms, all of 3 run"),
        ([LEADS, CONFIRMS], WARN, "letta-db-1 is gone"),
        ([LEADS, FOLLOWS], FAIL, "nobody confirms what it writes, so writes wait"),
        ([CONFIRMS, FOLLOWS], FAIL, "nobody leads; letta-db-2 is gone"),
        (
            [LEADS, CONFIRMS, listed("letta-db-1", "replica", "start failed", lag="unknown")],
            WARN,
            "letta-db-1 is start failed; letta-db-1 is nobody knows how far behind",
        ),
        ([LEADS, CONFIRMS, FOLLOWS | {"lag": 2**26}], WARN, "letta-db-1 is 64.0 MiB behind"),
    ],
)
def test_doctor_says_who_leads_and_who_does_not_follow(
    found: list[dict[str, Any]], state: str, said: str
) -> None:
    finding = doctor.verdict(found, NAMES)

    assert finding.state == state
    assert said in finding.seen
    assert bool(finding.fix) is (state != OK)


def subject(*names: str) -> Subject:
    states = [State(name, f"mine-{name}-1", "running", "healthy", 0) for name in names]
    return Subject(HA, Path("backups"), states)


def test_doctor_asks_the_next_member_if_one_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"mine-letta-db-2-1": json.dumps({"members": [LEADS, CONFIRMS, FOLLOWS]})}
    states = subject(*NAMES).states
    monkeypatch.setattr(Compose, "states", lambda _: states)
    monkeypatch.setattr(leader, "answer", lambda container, _: answers.get(container, ""))

    (finding,) = doctor.check(subject(*NAMES))
    answers.clear()
    (silent,) = doctor.check(subject(*NAMES))

    assert finding.state == OK
    assert (silent.state, silent.seen) == (FAIL, "no member answers")


def test_doctor_does_not_ask_one_postgresql() -> None:
    one = dataclasses.replace(subject("letta-db"), project=Project.of("prod", project="mine"))

    assert doctor.check(one) == []


def test_several_members_are_not_brought_to_another_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "capture", lambda *_, **__: "")
    data = Data("mine_db-1", "image", 15, 17, embedded=False)
    step = upgrade.Step(None, Image("me/letta:1", "", "", ""), data, "", None, "letta")

    with pytest.raises(NotWithMembers, match="mine_db-1 has the data of PostgreSQL 15"):
        upgrade.refuse(HA, step)
