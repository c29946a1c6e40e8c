"""When a request is sent again. Answers fall into three groups: yes, no (404), and "could not tell".

Only the last (a dropped connection, 429, 5xx) is retried, and it never becomes a no: a tag that could not be read is
not a free tag.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

import tenacity

from letta_stack.errors import RegistryUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long a registry is asked. All times in seconds."""

    attempts: int = 6
    first_wait: float = 1.0
    longest_wait: float = 30.0
    # A longer Retry-After is not waited for: Docker Hub's pull limit asks for hours.
    longest_retry_after: float = 120.0
    connect_timeout: float = 15.0
    # A registry on an object store moves the blob before it answers the last request of an upload.
    read_timeout: float = 300.0


class TransientError(Exception):
    """Could not tell; worth another attempt. ``retry_after`` is what the registry asked for, in seconds."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        """Keep the reason in words."""
        super().__init__(reason)
        self.retry_after = retry_after


class Retries:
    """Repeats what ends with ``TransientError``, with increasing pauses."""

    def __init__(self, host: str, policy: RetryPolicy, say: Callable[[str], None]) -> None:
        """``host`` is named in messages; ``say`` gets a line before each pause."""
        self._host = host
        self._policy = policy
        self._say = say

    def __call__(self, action: Callable[[], T]) -> T:
        """Return the first result of ``action``.

        Raises:
            RegistryUnreachable: every attempt ended with ``TransientError``, or the registry asks for a long pause.

        """
        retrying = tenacity.Retrying(
            stop=self._gives_up,
            wait=self._pause,
            retry=tenacity.retry_if_exception_type(TransientError),
            before_sleep=self._announce,
            reraise=True,
        )
        try:
            return retrying(action)
        except TransientError as error:
            asked = f", asks to wait {error.retry_after:g} s" if error.retry_after else ""
            message = (
                f"{self._host} gave no usable answer ({error}{asked}); "
                "when it is back, run the same push again"
            )
            raise RegistryUnreachable(message) from None

    def _gives_up(self, state: tenacity.RetryCallState) -> bool:
        asked = _error(state).retry_after or 0.0
        policy = self._policy
        return state.attempt_number >= policy.attempts or asked > policy.longest_retry_after

    def _pause(self, state: tenacity.RetryCallState) -> float:
        asked = _error(state).retry_after
        if asked is not None:
            return asked
        policy = self._policy
        # With jitter, so that two releases do not come back in step.
        backoff = tenacity.wait_exponential(policy.first_wait, policy.longest_wait)
        return backoff(state) + tenacity.wait_random(0, policy.first_wait)(state)

    def _announce(self, state: tenacity.RetryCallState) -> None:
        self._say(
            f"{self._host}: {_error(state)}; "
            f"again in {state.upcoming_sleep:.1f} s ({state.attempt_number} of {self._policy.attempts - 1})"
        )


def _error(state: tenacity.RetryCallState) -> TransientError:
    # Nothing else is tried again, and tenacity asks only after an attempt.
    return cast("TransientError", cast("tenacity.Future", state.outcome).exception())
