"""A turn that was not stored is an error, and an agent comes with its first messages or not at all; against stand-ins."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from entrypoint import stored, unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Agent:
    """Drops an exception as the server's agent does."""

    stop_reason: Any = "end_turn"
    should_continue = True
    full = False

    async def _checkpoint_messages(self) -> None:
        if self.full:
            raise OSError("disk full")

    async def _step(self) -> AsyncIterator[str]:
        with contextlib.suppress(OSError):
            yield "chunk"
            await self._checkpoint_messages()


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Any:
    schema = ModuleType("letta.schemas.letta_stop_reason")
    monkeypatch.setitem(sys.modules, schema.__name__, schema)
    monkeypatch.setattr(schema, "LettaStopReason", SimpleNamespace, raising=False)
    patched = type("Patched", (Agent,), dict(vars(Agent)))
    stored.fail_a_turn_that_is_not_stored(SimpleNamespace(LettaAgentV3=patched))
    return patched()


async def chunks(agent: Any) -> list[str]:
    return [one async for one in agent._step()]  # noqa: SLF001 - what is patched


def test_a_turn_that_was_stored_ends_as_before(agent: Any) -> None:
    assert asyncio.run(chunks(agent)) == ["chunk"]
    assert agent.stop_reason == "end_turn"


def test_a_turn_that_was_not_stored_ends_with_the_reason(agent: Any) -> None:
    agent.full = True

    with pytest.raises(OSError, match="disk full"):
        asyncio.run(chunks(agent))

    assert agent.stop_reason.stop_reason == "error"
    assert not agent.should_continue
    # The next one is another turn.
    agent.full = False
    assert asyncio.run(chunks(agent)) == ["chunk"]


class Session:
    """Notes what is committed together."""

    committed: list[list[str]] = []  # noqa: RUF012 - one database

    def __init__(self) -> None:
        self.rows: list[str] = []

    async def commit(self) -> None:
        self.committed.append(self.rows)

    async def rollback(self) -> None:
        """Forget."""

    async def close(self) -> None:
        """Give the connection back."""

    def expunge_all(self) -> None:
        """Forget."""


class Messages:
    registry: Any

    async def create_many_messages_async(self, pydantic_msgs: Any, *, actor: str) -> Any:
        assert actor == "me"
        async with self.registry.async_session() as session:
            session.rows += [one.id for one in pydantic_msgs]
        return pydantic_msgs


class Manager:
    registry: Any
    message_manager: Any

    async def create_agent_async(self, actor: str) -> None:
        async with self.registry.async_session() as session:
            session.rows.append("agent")
            messages = await self._generate_initial_message_sequence_async(actor)
        await self.message_manager.create_many_messages_async(messages, actor=actor)

    async def _generate_initial_message_sequence_async(self, _actor: str) -> Any:
        return [SimpleNamespace(id="first"), SimpleNamespace(id="second")]


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Any:
    driver = ModuleType("asyncpg.exceptions")
    monkeypatch.setitem(sys.modules, driver.__name__, driver)
    monkeypatch.setattr(Session, "committed", [])
    database = SimpleNamespace(
        async_session_factory=Session,
        engine=SimpleNamespace(pool=object()),
        DatabaseRegistry=type("Registry", (), {}),
    )
    unavailable.say_so_in_sessions(database)
    registry = database.DatabaseRegistry()
    messages = type("M", (Messages,), {**vars(Messages), "registry": registry})
    agents: Any = type("A", (Manager,), {**vars(Manager), "registry": registry})
    stored.store_an_agent_with_its_first_messages(
        SimpleNamespace(AgentManager=agents, MessageManager=messages)
    )
    agents.message_manager = messages()
    return agents()


def test_an_agent_and_its_first_messages_are_one_transaction(manager: Any) -> None:
    asyncio.run(manager.create_agent_async("me"))

    assert Session.committed == [["agent", "first", "second"]]


def test_messages_of_an_agent_that_is_there_are_stored_as_before(manager: Any) -> None:
    async def reset() -> None:
        messages = await manager._generate_initial_message_sequence_async("me")  # noqa: SLF001 - what is patched
        await manager.message_manager.create_many_messages_async(messages, actor="me")

    asyncio.run(reset())

    assert Session.committed == [["first", "second"]]
