"""Whatever breaks at whichever request: no tag names half a release, and the same push completes it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from letta_stack.base.paths import ROOT
from letta_stack.errors import (
    InterruptedByUser,
    RegistryUnreachable,
)
from tests.release import observe, support
from tests.release.conftest import ALL_FAULTS
from tests.release.fault_proxy import Fault, FaultProxy, Seen
from tests.release.pushes import FLOATING, NEW, OLD, fresh, quiet_push, requests_of_a_push

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.release.conftest import FaultLog
    from tests.release.support import Builds

    Chosen = Callable[..., list[tuple[int, Seen]]]

# Retried until the push succeeds; DEAD and HOLD end it.
PASSING = [fault for fault in Fault if fault not in {Fault.DEAD, Fault.HOLD}]
HANGING = replace(support.QUICK, read_timeout=0.25)
INTERRUPT_SECONDS = 20.0


@pytest.fixture
def chosen(pytestconfig: pytest.Config) -> Chosen:
    """Choose the requests to break: all with --all-faults, else a sample that is the same in each run.

    The sample has the first request of each kind; ``share`` leaves every third of those, and ``turn`` says which.
    """

    def choose(seen: list[Seen], *, share: int = 1, turn: int = 0) -> list[tuple[int, Seen]]:
        if pytestconfig.getoption(ALL_FAULTS, default=False):
            return list(enumerate(seen))
        first: dict[str, tuple[int, Seen]] = {}
        for number, request in enumerate(seen):
            first.setdefault(request.kind, (number, request))
        return list(first.values())[turn % share :: share]

    return choose


def check_no_half_release(registry: str, repository: str, *, old: str, new: str) -> None:
    """Check the promise to everybody who pulls, at whatever point the push ended."""
    found = observe.tags_of(registry, repository)

    assert not observe.defects(registry, repository)
    assert found[OLD] == old
    assert found.get(NEW, new) == new
    for tag in FLOATING:
        assert found[tag] in ({old, new} if NEW in found else {old})
    assert set(found) <= {OLD, NEW, *FLOATING}


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: fault.name.lower())
def test_a_push_survives_one_fault_at_any_request(
    fault: Fault,
    proxy: FaultProxy,
    builds: Builds,
    fault_log: FaultLog,
    chosen: Chosen,
) -> None:
    layout = builds.path(NEW)
    policy = HANGING if fault is Fault.HANG else support.QUICK
    seen = requests_of_a_push(proxy, layout)
    if fault is Fault.TRUNCATE_REQUEST:
        broken = [one for one in chosen(seen) if one[1].sent > 1]
    else:
        broken = chosen(seen, share=3, turn=list(Fault).index(fault))
    assert broken
    for number, request in broken:
        repository = fresh()
        proxy.reset((number, fault))

        digest = support.push(
            proxy.host, repository, NEW, layout, say=lambda _: None, policy=policy
        )

        proxy.resume.set()
        assert observe.tags_of(proxy.upstream, repository) == dict.fromkeys(
            (NEW, *FLOATING), digest
        )
        assert not observe.defects(proxy.upstream, repository)
        fault_log.add(fault, request, "the push succeeded by itself")


def test_a_registry_that_dies_at_any_request_has_no_half_release_and_the_push_completes_later(
    proxy: FaultProxy, registry: str, builds: Builds, fault_log: FaultLog, chosen: Chosen
) -> None:
    old_layout, layout = builds.path(OLD), builds.path(NEW)
    once_more = replace(support.QUICK, attempts=2)
    for number, request in chosen(requests_of_a_push(proxy, layout, old_layout)):
        repository = fresh()
        old = quiet_push(registry, repository, OLD, old_layout)
        proxy.reset((number, Fault.DEAD))

        with pytest.raises(RegistryUnreachable, match="run the same push again"):
            support.push(proxy.host, repository, NEW, layout, say=lambda _: None, policy=once_more)

        new = observe.digest_of(layout)
        check_no_half_release(registry, repository, old=old, new=new)
        proxy.reset()
        assert quiet_push(proxy.host, repository, NEW, layout) == new
        expected = {OLD: old, **dict.fromkeys((NEW, *FLOATING), new)}
        assert observe.tags_of(registry, repository) == expected
        assert not observe.defects(registry, repository)
        fault_log.add(
            Fault.DEAD, request, "the push failed, nothing was half, a second push completed it"
        )


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_ctrl_c_at_any_write_says_what_is_left_and_leaves_nothing_half(
    method: str,
    proxy: FaultProxy,
    builds: Builds,
    fault_log: FaultLog,
    chosen: Chosen,
) -> None:
    old_layout, layout = builds.path(OLD), builds.path(NEW)
    new = observe.digest_of(layout)
    seen = requests_of_a_push(proxy, layout, old_layout)
    for number, request in chosen(seen):
        if request.method != method:
            continue
        repository = fresh()
        old = quiet_push(proxy.upstream, repository, OLD, old_layout)
        proxy.reset((number, Fault.HOLD))
        driver = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.release.driver",
                "push",
                proxy.host,
                repository,
                NEW,
                layout,
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert proxy.held.wait(INTERRUPT_SECONDS)

        driver.send_signal(signal.SIGINT)
        _, errors = driver.communicate(timeout=INTERRUPT_SECONDS)

        proxy.resume.set()
        assert driver.returncode == InterruptedByUser.exit_code
        assert errors.count("\n") == 1
        assert "again to go on" in errors
        check_no_half_release(proxy.upstream, repository, old=old, new=new)
        proxy.reset()
        assert quiet_push(proxy.host, repository, NEW, layout) == new
        expected = {OLD: old, **dict.fromkeys((NEW, *FLOATING), new)}
        assert observe.tags_of(proxy.upstream, repository) == expected
        fault_log.add(
            Fault.HOLD, request, "exit code 130, nothing was half, a second push completed it"
        )
