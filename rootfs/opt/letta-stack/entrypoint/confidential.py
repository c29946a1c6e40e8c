"""What the server shows of its secrets to others: patches like those in patches.py, for environments, files and logs."""

from __future__ import annotations

import builtins
import functools
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TOOL_VARIABLES = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "LANGUAGE", "TZ", "TMPDIR"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "PIP_INDEX_URL", "PIP_CERT"),
        *("PYTHONPATH", "VIRTUAL_ENV", "MALLOC_ARENA_MAX"),
    }
)
"""What a tool's process gets from the server's environment, beside LC_*."""


def tool_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the part of the server's environment that is not for the server alone."""
    return {
        name: value
        for name, value in environment.items()
        if name in TOOL_VARIABLES or name.startswith("LC_")
    }


def hide_environment_from_tools(module: Any) -> None:
    """Keep the server's secrets from the code that agents run.

    letta/services/tool_sandbox/base.py, _gather_env_vars: a local tool gets a copy of the server's whole environment,
    with database URI, API keys and encryption key (upstream issue 2435). What is configured for a tool, an agent or the
    sandbox still reaches it: upstream's own code adds that to an empty environment, as it does for remote sandboxes.
    """
    original = module.AsyncToolSandboxBase._gather_env_vars  # noqa: SLF001 - the one place to change

    @functools.wraps(original)
    async def gather(
        self: Any, agent_state: Any, additional_env_vars: Any, sbx_id: Any, is_local: Any
    ) -> dict[str, str]:
        configured = await original(self, agent_state, additional_env_vars, sbx_id, is_local=False)
        return {**tool_environment(os.environ), **configured} if is_local else configured

    module.AsyncToolSandboxBase._gather_env_vars = gather  # noqa: SLF001


def hide_environment_from_pip(module: Any) -> None:
    """Keep the server's secrets from the packages that a tool asks for: setup.py is code as well.

    letta/services/helpers/tool_execution_helper.py: both functions hand ``env`` to pip, and three of their callers take
    os.environ for it. A variable that only the server has is dropped; what a caller added stays.
    """
    for name in ("create_venv_for_local_sandbox", "install_pip_requirements_for_sandbox"):
        setattr(module, name, _with_scrubbed_environment(getattr(module, name)))


def _with_scrubbed_environment(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def scrubbed(*args: Any, **kwargs: Any) -> Any:
        given = kwargs.get("env")
        source = os.environ if given is None else given
        allowed = tool_environment(source)
        kwargs["env"] = {
            name: value
            for name, value in source.items()
            if name in allowed or os.environ.get(name) != value
        }
        return function(*args, **kwargs)

    return scrubbed


def keep_uri_out_of_config_file(module: Any) -> None:
    """Save the legacy configuration file without the database URI.

    letta/config.py, save: writes the URI with its password into ~/.letta/config in clear, where tools can read it, and
    stops at any ``%`` in it, which every percent-encoded password has. Nothing reads the value back.
    """
    original = module.LettaConfig.save
    fields = ("recall_storage_uri", "archival_storage_uri", "metadata_storage_uri")

    @functools.wraps(original)
    def save(self: Any) -> None:
        values = {name: getattr(self, name) for name in fields}
        try:
            for name in fields:
                setattr(self, name, None)
            original(self)
        finally:
            for name, value in values.items():
                setattr(self, name, value)

    module.LettaConfig.save = save


def keep_password_out_of_log(module: Any) -> None:
    """Do not print the server's password.

    letta/server/rest_api/app.py, create_application: prints it at every start, also one that was given.
    """
    secret = os.environ.get("LETTA_SERVER_PASSWORD", "")

    def quiet_print(*values: Any, **options: Any) -> None:
        if not secret or not any(secret in str(value) for value in values):
            builtins.print(*values, **options)

    # Looked up in the module before the builtins.
    module.print = quiet_print
