"""Credentials from where ``docker login`` puts them: Docker's configuration file and its credential helpers."""

from __future__ import annotations

import base64
import binascii
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from letta_stack.base import process
from letta_stack.errors import RegistryDenied
from letta_stack.registry.reference import DOCKER_HUB

# What Docker Hub is called in the configuration file, for historical reasons.
DOCKER_HUB_KEY = "https://index.docker.io/v1/"
# A helper gives this instead of a user name if the secret is a refresh token.
TOKEN_USER = "<token>"  # noqa: S105  # a marker, not a secret
HELPER_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Credentials:
    """``identity_token`` is a refresh token, given instead of a password by some registries."""

    username: str
    password: str = field(repr=False)
    identity_token: str = field(default="", repr=False)


def login_command(host: str) -> str:
    """Return what the user has to type to store credentials."""
    return "docker login" if host == DOCKER_HUB else f"docker login {host}"


def default_config() -> Path:
    """Return the configuration file that the docker client would read."""
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"


def find(host: str, config: Path | None = None) -> Credentials | None:
    """Return the stored credentials for ``host``, or None: many registries can be read without."""
    path = config or default_config()
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        message = f"cannot read {path} ({error}); correct it, or run `{login_command(host)}`"
        raise RegistryDenied(message) from None
    key = DOCKER_HUB_KEY if host == DOCKER_HUB else host
    helper = (document.get("credHelpers") or {}).get(key) or document.get("credsStore")
    if helper:
        return _ask_helper(helper, key, host)
    for name in (key, f"https://{host}", f"https://{host}/v2/"):
        if entry := (document.get("auths") or {}).get(name):
            return _decode(entry, path, host)
    return None


def _ask_helper(helper: str, key: str, host: str) -> Credentials | None:
    answer = process.probe(
        [f"docker-credential-{helper}", "get"], stdin=key, timeout=HELPER_TIMEOUT_SECONDS
    )
    if "credentials not found" in (answer.stdout + answer.stderr):
        return None
    try:
        document = json.loads(answer.stdout if answer.ok else "")
        user, secret = str(document["Username"]), str(document["Secret"])
    except (ValueError, KeyError):
        # Never its stdout: that is where a helper that half works prints secrets.
        reason = next(iter(answer.stderr.strip().splitlines()), f"exit code {answer.exit_code}")
        message = (
            f"docker-credential-{helper} gave no credentials for {host} ({reason}); "
            f"repair the helper, or run `{login_command(host)}`"
        )
        raise RegistryDenied(message) from None
    if user == TOKEN_USER:
        return Credentials("", "", identity_token=secret)
    return Credentials(user, secret)


def _decode(entry: dict[str, Any], path: Path, host: str) -> Credentials | None:
    token = str(entry.get("identitytoken", ""))
    try:
        text = base64.b64decode(entry.get("auth", ""), validate=True).decode()
    except (binascii.Error, ValueError):
        message = f"the entry for {host} in {path} is damaged; run `{login_command(host)}`"
        raise RegistryDenied(message) from None
    user, _, password = text.partition(":")
    if not (user and password) and not token:
        return None
    return Credentials(user, password.rstrip("\0"), identity_token=token)
