"""Asks every check at once and shows the answers."""

from __future__ import annotations

import concurrent.futures
import json
from typing import TYPE_CHECKING, TypeVar

from letta_stack.base import console
from letta_stack.errors import LettaStackError, Unhealthy
from letta_stack.image import contract
from letta_stack.operate import postgres, store, table
from letta_stack.operate.doctor import data, ends, host, inside, members, swarm
from letta_stack.operate.doctor.model import FAIL, ORDER, Finding, Subject, fail

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from letta_stack.topology.clustered import Clustered
    from letta_stack.topology.project import Project

S = TypeVar("S")  # the subject of a check
CHECKS: tuple[Callable[[Subject], Finding | list[Finding]], ...] = (
    *(host.engine, host.room, host.memory, host.services, host.port, host.pins, host.settings),
    *(ends.restarts, host.secrets, inside.check, data.gateway),
    *(data.backups, data.archive, data.interrupted, members.check),
)


def diagnose(project: Project) -> list[Finding]:
    """Return what every check found, the worst first."""
    subject = Subject(project, store.directory_of(project.name), project.runner.states())
    return sort(ask((*CHECKS, growth), subject))


def ask(checks: Sequence[Callable[[S], Finding | list[Finding]]], subject: S) -> list[Finding]:
    """Run every check at once."""
    with concurrent.futures.ThreadPoolExecutor(len(checks)) as pool:
        answers = [pool.submit(answer, check, subject) for check in checks]
    return [finding for one in answers for finding in one.result()]


def sort(found: Sequence[Finding]) -> list[Finding]:
    """Return the worst first."""
    return sorted(found, key=lambda finding: ORDER.index(finding.state))


def answer(check: Callable[[S], Finding | list[Finding]], subject: S) -> list[Finding]:
    """Run a check; one that cannot look is a failure of its own, not of the others."""
    try:
        found = check(subject)
    except (LettaStackError, OSError) as error:
        return [fail(check.__name__, f"could not look: {error}", "see the checks above")]
    return found if isinstance(found, list) else [found]


def growth(subject: Subject) -> list[Finding]:
    """Look at the size of the database and what is left of its disk, if there is one here."""
    try:
        target = postgres.of(subject.project)
        size = int(target.value("SELECT pg_database_size(current_database())"))
        free = int(target.value(contract.FREE_SPACE, database=contract.FREE_SPACE_DATABASE))
    except LettaStackError:
        return []
    given = {contract.RESERVE_VARIABLE: subject.project.setting(contract.RESERVE_VARIABLE)}
    return [
        data.growth(subject, size, free),
        data.reserve(free, contract.reserve_size(given)),
    ]


def repair(findings: Sequence[Finding]) -> None:
    """Do what is safe, and say what was done."""
    for finding in findings:
        if finding.repair:
            console.say(f"{finding.name}: {finding.repair()}")


def as_text(findings: Sequence[Finding]) -> str:
    """Show what was found to a person."""
    rows = []
    for one in findings:
        rows.append((one.state, one.name, one.seen))
        if one.fix:
            rows.append(("", "", f"-> {one.fix}"))
    return table.render(rows)


def as_json(findings: Sequence[Finding]) -> str:
    """Show what was found to a program."""
    fields = ("name", "state", "seen", "fix")
    return json.dumps([{name: getattr(one, name) for name in fields} for one in findings], indent=1)


def doctor(project: Project, *, as_data: bool, fix: bool) -> None:
    """Show what every check found. Raises ``Unhealthy`` if one fails."""
    show(project.name, lambda: diagnose(project), as_data=as_data, fix=fix)


def doctor_of_swarm(cluster: Clustered, *, as_data: bool) -> None:
    """Show what every check found of a swarm and of the stack on it. Raises ``ClusterUnreachable``, ``Unhealthy``."""
    found = [host.engine(cluster), host.pins(cluster), host.settings(cluster)]
    found += [host.secret_files(cluster.name), *swarm.check(cluster)]
    show(cluster.name, lambda: sort(found), as_data=as_data, fix=False)


def show(name: str, diagnosis: Callable[[], list[Finding]], *, as_data: bool, fix: bool) -> None:
    """Show what a diagnosis found, with ``fix`` after what is safe was done. Raises ``Unhealthy`` if a check fails."""
    findings = diagnosis()
    if fix:
        repair(findings)
        findings = diagnosis()
    console.result(as_json(findings) if as_data else as_text(findings))
    if failed := [one.name for one in findings if one.state == FAIL]:
        raise Unhealthy(f"{name}: {', '.join(failed)}; what to do is said above")
