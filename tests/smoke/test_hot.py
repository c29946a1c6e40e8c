"""A source tree that the server runs from: a save is answered by new code, and the tree stays as it is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import requests

from tests.smoke import harness

if TYPE_CHECKING:
    from pathlib import Path

    from tests.smoke.conftest import Deployment

pytestmark = pytest.mark.only("hot")

HEALTH = "letta/server/rest_api/routers/v1/health.py"
RELOAD_SECONDS = 60.0  # mark to beat: 5 s on two idle cores; a busy machine is not a failure


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
    harness.expect(lambda: not said("ok"), timeout=RELOAD_SECONDS, what="the old code goes on")
    file.write_text(original.replace('"ok"', '"warm"'), encoding="utf-8")
    harness.expect(
        lambda: said("warm"), timeout=RELOAD_SECONDS, what="the repaired code does not serve"
    )
    file.write_text(original, encoding="utf-8")
    began = time.monotonic()
    harness.expect(lambda: said("ok"), timeout=RELOAD_SECONDS, what="the save is not served")

    print(f"reloaded in {time.monotonic() - began:.1f} s")
    assert {path: path.stat().st_uid for path in hot_source.rglob("*")} == owners
    assert deployment.inspect().state.running
