"""What the server has answered is stored, and stored whole: also when the database fails in the middle."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import importlib
from typing import TYPE_CHECKING, Any

from . import unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_first_messages: contextvars.ContextVar[set[str] | None] = contextvars.ContextVar(
    "first_messages", default=None
)
"""The messages of the agent that is being made, once they are in its transaction."""


def fail_a_turn_that_is_not_stored(module: Any) -> None:
    """Let a turn end with the error because of which its messages were not stored.

    letta/agents/letta_agent_v3.py, _step: counts a step as finished before it stores the messages; if that fails, a `return`
    in its `finally` drops the exception, and the client gets 200 and `end_turn` for a turn that nobody will ever see again.
    """
    agent = module.LettaAgentV3
    checkpoint, step = agent._checkpoint_messages, agent._step  # noqa: SLF001 - it has no other hook

    @functools.wraps(checkpoint)
    async def checkpoint_messages(self: Any, *args: Any, **options: Any) -> Any:
        try:
            return await checkpoint(self, *args, **options)
        except Exception as error:
            self.letta_stack_not_stored = error
            raise

    @functools.wraps(step)
    async def noticing_step(self: Any, *args: Any, **options: Any) -> AsyncIterator[Any]:
        self.letta_stack_not_stored = None
        async with contextlib.aclosing(step(self, *args, **options)) as chunks:
            async for chunk in chunks:
                yield chunk
        if self.letta_stack_not_stored is not None:
            schema = importlib.import_module("letta.schemas.letta_stop_reason")
            self.should_continue = False
            self.stop_reason = schema.LettaStopReason(stop_reason="error")
            raise self.letta_stack_not_stored

    agent._checkpoint_messages, agent._step = checkpoint_messages, noticing_step  # noqa: SLF001 - as above


def store_an_agent_with_its_first_messages(module: Any) -> None:
    """Make an agent in one transaction.

    letta/services/agent_manager.py, create_agent_async: stores the agent, and its first messages in a second transaction. If
    that fails or never begins, the agent stays, and each of its turns fails: "First message is not a system message".
    """
    manager = module.AgentManager
    create, generate = manager.create_agent_async, manager._generate_initial_message_sequence_async  # noqa: SLF001 - it has no other hook
    store = module.MessageManager.create_many_messages_async

    @functools.wraps(create)
    async def create_agent_async(self: Any, *args: Any, **options: Any) -> Any:
        before = _first_messages.set(set())
        try:
            return await create(self, *args, **options)
        finally:
            _first_messages.reset(before)

    @functools.wraps(generate)
    async def generate_and_store(self: Any, actor: Any, *args: Any, **options: Any) -> Any:
        messages = await generate(self, actor, *args, **options)
        stored = _first_messages.get()
        if stored is not None:
            with unavailable.joined():
                await self.message_manager.create_many_messages_async(messages, actor=actor)
            stored.update(one.id for one in messages)
        return messages

    @functools.wraps(store)
    async def store_once(self: Any, pydantic_msgs: Any, *args: Any, **options: Any) -> Any:
        if pydantic_msgs and {one.id for one in pydantic_msgs} <= (_first_messages.get() or set()):
            return pydantic_msgs
        return await store(self, pydantic_msgs, *args, **options)

    manager.create_agent_async = create_agent_async
    manager._generate_initial_message_sequence_async = generate_and_store  # noqa: SLF001 - as above
    module.MessageManager.create_many_messages_async = store_once
