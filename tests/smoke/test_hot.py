"""A source tree that the server runs from: a save is answered by new code, and the tree stays as it is."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import requests

from letta_stack.image import contract
from tests.smoke import harness
from tests.smoke.debug_client import DebugClient
from tests.support import processor

if TYPE_CHECKING:
    from pathlib import Path

    from tests.smoke.conftest import Deployment

pytestmark = pytest.mark.only("hot")

HEALTH = "letta/server/rest_api/routers/v1/health.py"
MODULES = "/opt/letta/venv/lib/python3.11/site-packages/letta"  # of the image
RELOAD_SECONDS = 5.0  # of one processor, which is what an idle machine needs on the clock
GIVE_UP_SECONDS = 100.0  # on the clock: a busy machine is not a failure


def debug_port(deployment: Deployment) -> int:
    return int(harness.published_url(deployment.container, contract.DEBUG_PORT).rpartition(":")[2])


def test_a_debugger_stops_the_server_at_a_line_and_lets_it_go_on(
    deployment: Deployment, hot_source: Path
) -> None:
    file = hot_source / HEALTH
    lines = file.read_text(encoding="utf-8").splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "return Health(" in text)
    modules = {"localRoot": str(hot_source / "letta"), "remoteRoot": MODULES}

    with DebugClient(debug_port(deployment)) as debugger, ThreadPoolExecutor() as threads:
        abilities = debugger.request("initialize", adapterID="debugpy", pathFormat="path")
        debugger.send("attach", pathMappings=[modules], justMyCode=False)
        debugger.event("initialized")
        (point,) = debugger.request(
            "setBreakpoints", source={"path": str(file)}, breakpoints=[{"line": line}]
        )["breakpoints"]
        debugger.request("configurationDone")
        answer = threads.submit(requests.get, harness.health_url(deployment.url), timeout=30)
        thread = debugger.event("stopped")["threadId"]
        (frame, *_) = debugger.request("stackTrace", threadId=thread)["stackFrames"]
        debugger.request("setBreakpoints", source={"path": str(file)}, breakpoints=[])
        debugger.request("continue", threadId=thread)

    assert abilities["supportsConfigurationDoneRequest"]
    assert point["verified"]
    assert (frame["source"]["path"], frame["line"]) == (str(file), line)
    assert answer.result().json()["status"] == "ok"


def test_a_save_is_answered_by_the_new_code(deployment: Deployment, hot_source: Path) -> None:
    file = hot_source / HEALTH
    original = file.read_text(encoding="utf-8")
    owners = {path: path.stat().st_uid for path in hot_source.rglob("*")}

    def said(status: str) -> bool:
        try:
            answer = requests.get(harness.health_url(deployment.url), timeout=2)
        except requests.RequestException:
            return False
        return answer.status_code == 200 and answer.json()["status"] == status

    file.write_text("this is no Python\n", encoding="utf-8")
    harness.expect(lambda: not said("ok"), timeout=GIVE_UP_SECONDS, what="the old code goes on")
    file.write_text(original.replace('"ok"', '"warm"'), encoding="utf-8")
    harness.expect(
        lambda: said("warm"), timeout=GIVE_UP_SECONDS, what="the repaired code does not serve"
    )
    began, used = time.monotonic(), processor.seconds(deployment.container)
    file.write_text(original, encoding="utf-8")
    harness.expect(lambda: said("ok"), timeout=GIVE_UP_SECONDS, what="the save is not served")
    taken, used = time.monotonic() - began, processor.seconds(deployment.container) - used

    # Not the worker that began: the next one has the port, too.
    with DebugClient(debug_port(deployment)) as debugger:
        assert debugger.request("initialize", adapterID="debugpy")
    print(f"reloaded in {taken:.1f} s, with {used:.1f} s of a processor")
    assert used < RELOAD_SECONDS
    assert {path: path.stat().st_uid for path in hot_source.rglob("*")} == owners
    assert deployment.inspect().state.running
