"""What every task has in common: a known error is one line and an exit code, and a running command is not lost."""

from __future__ import annotations

import functools
from typing import Any

import invoke.tasks
from invoke.exceptions import Exit
from invoke.tasks import Task

from letta_stack.errors import BadValue, InterruptedByUser, LettaStackError

ENV = "topology, see README (default: single)"
PROJECT = "compose project, to run a second stack beside the first"
PORT = "port of the API on this machine (default: 8283)"
PG_PORT = "port of PostgreSQL on this machine, for --env services (default: 5432)"
REDIS_PORT = "port of Redis on this machine, for --env services (default: 6379)"
IMAGES = "where third-party images come from: hub, debian or auto"
OTELCOL = "where the collector comes from: release, build or auto"
LETTA_SOURCE = "directory with the Letta source, instead of the pinned release"
LLM = "what serves the language model of --env vllm: vllm or ollama (default: vllm)"
LLM_ENDPOINT = "URL of a server of its API that runs elsewhere, for --env vllm"
CA = "PEM file of a corporate CA for build steps (default: $LETTA_STACK_CA, $SSL_CERT_FILE)"
DRY_RUN = "only show what would be done"


class StackTask(Task[Any]):
    """Shows a known error as one line and leaves with its exit code."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the body."""
        try:
            if args and args[0].config.run.dry:
                # Invoke's own dry run only reaches commands that go through it, and ours do not.
                raise BadValue("-R (--dry) is not supported; use the task's own --dry-run")
            return super().__call__(*args, **kwargs)
        except LettaStackError as error:
            raise Exit(f"error: {error}", code=error.exit_code) from error
        except KeyboardInterrupt:
            message = f"error: interrupted; run `inv {self.name}` again to go on"
            raise Exit(message, code=InterruptedByUser.exit_code) from None


task = functools.partial(invoke.tasks.task, klass=StackTask)


def leave(exit_code: int) -> None:
    """End with the exit code of a command whose output the user has seen."""
    if exit_code < 0:
        exit_code = 128 - exit_code  # as a shell reports a signal
    if exit_code:
        raise Exit(code=exit_code)
