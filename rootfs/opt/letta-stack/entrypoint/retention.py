"""Deletes what the server keeps for debugging and never deletes itself: requests to model providers, and their answers."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import re
from typing import TYPE_CHECKING, Any

from .environment import OFF
from .errors import BadSetting
from .log import log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

VARIABLE = "LETTA_STACK_TRACES_KEEP"
DEFAULT = "30d"
LONGEST_PAUSE = 3600.0
BATCH = 1000
"""Rows; a transaction of this size holds no lock that a running turn would notice."""
# No other table refers to these. Several servers share the work: each takes rows that no other one is deleting.
DELETE = f"""
DELETE FROM provider_traces WHERE id IN (
    SELECT id FROM provider_traces WHERE created_at < now() - make_interval(secs => :seconds)
    LIMIT {BATCH} FOR UPDATE SKIP LOCKED)
"""  # noqa: S608 - a number goes in
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([1-9][0-9]{0,6})([smhd])")


def seconds(environment: Mapping[str, str]) -> int:
    """Return for how long traces are kept, 0 for ever. Raises BadSetting."""
    value = environment.get(VARIABLE, "").strip().lower() or DEFAULT
    if value in OFF:
        return 0
    match = _DURATION.fullmatch(value)
    if match is None:
        raise BadSetting(
            f"{VARIABLE} must be a time like 30d or 12h, or `off` to keep all, not {value!r}"
        )
    return int(match[1]) * _UNITS[match[2]]


def forget_old_traces(module: Any) -> None:
    """Delete old rows of provider_traces while the server runs.

    letta/orm/provider_trace.py: half of a busy database is in this table, and nothing ever deletes from it.
    """
    kept = seconds(os.environ)
    if not kept:
        return
    router = module.app.router
    original = router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with original(app) as state:
            task = asyncio.create_task(_forever(kept))
            try:
                yield state
            finally:
                task.cancel()

    router.lifespan_context = lifespan


async def _forever(kept: int) -> None:
    """Delete what is older than ``kept`` seconds, again and again: often enough that little more is ever there."""
    pause = min(LONGEST_PAUSE, kept / 4)
    while True:
        try:
            await _delete(kept)
        except Exception as error:  # noqa: BLE001 - a database that is not there now will be later
            log(f"old provider traces stay for now: {type(error).__name__}")
        await asyncio.sleep(pause)


async def _delete(kept: int) -> None:
    sqlalchemy: Any = importlib.import_module("sqlalchemy")
    engine = importlib.import_module("letta.server.db").engine
    deleted = 0
    while True:
        async with engine.begin() as connection:
            answer = await connection.execute(sqlalchemy.text(DELETE), {"seconds": kept})
        deleted += answer.rowcount
        if answer.rowcount < BATCH:
            break
        # Running turns come first.
        await asyncio.sleep(0.1)
    if not deleted:
        return
    async with engine.connect() as connection:
        # What is deleted gives its room to the rows that come. Not in a transaction, so by the driver itself: what SQLAlchemy prepares
        # outside of one, a pooler may not find again.
        raw = await connection.get_raw_connection()
        await raw.driver_connection.execute("VACUUM provider_traces")
    log(f"deleted {deleted} provider traces, which were older than {VARIABLE} allows")
