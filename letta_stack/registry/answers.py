"""What a registry's answer means: its status, the error in its body, and what the user does next."""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from letta_stack.errors import (
    RegistryDenied,
    RegistryFull,
    RegistryReadOnly,
    RegistryRefused,
)
from letta_stack.registry import credentials
from letta_stack.registry.retries import TransientError

if TYPE_CHECKING:
    import requests

    from letta_stack.registry.reference import Target

TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
# A registry on a file system that is full or read-only answers 500 and the error number in its details.
NO_SPACE = ("no space left", '"Err":28', "disk quota exceeded", '"Err":122')
READ_ONLY = ("read-only file system", '"Err":30')


def failure(answer: requests.Response, target: Target) -> Exception:
    """Return what to raise for an answer that is neither a yes nor a 404."""
    status, text = answer.status_code, answer.text
    said = words(answer)
    host = target.registry
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return denied("refuses", answer, target)
    if status == HTTPStatus.INSUFFICIENT_STORAGE or any(sign in text for sign in NO_SPACE):
        return RegistryFull(
            f"{host} has no room left ({said}); free some there and run the same push again"
        )
    if status == HTTPStatus.METHOD_NOT_ALLOWED or any(sign in text for sign in READ_ONLY):
        return RegistryReadOnly(
            f"{host} is read-only ({said}); make it writable, or choose another --registry"
        )
    # A digest that does not fit is a request that arrived damaged.
    if status in TRANSIENT_STATUSES or "DIGEST_INVALID" in said or "SIZE_INVALID" in said:
        return TransientError(said, retry_after(answer))
    return RegistryRefused(
        f"{host} rejects {answer.request.method} {urlsplit(answer.url).path} ({said}); "
        "see the registry's own log"
    )


def denied(what: str, answer: requests.Response, target: Target) -> RegistryDenied:
    """Return what to raise if a login is missing or may not do something."""
    command = credentials.login_command(target.registry)
    return RegistryDenied(
        f"{target.registry} {what} for {target.repository} ({words(answer)}); "
        f"run `{command}` as somebody who may push there"
    )


def retry_after(answer: requests.Response) -> float | None:
    """Read Retry-After in seconds; it may be a number or a date."""
    text = answer.headers.get("Retry-After", "")
    if text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        now = parsedate_to_datetime(answer.headers["Date"])
    except (ValueError, KeyError):
        return None
    return max(0.0, (moment - now).total_seconds())


def words(answer: requests.Response) -> str:
    """Return the status and the registry's own words, on one line."""
    status = f"{answer.status_code} {answer.reason or ''}".strip()
    try:
        first = json.loads(answer.text)["errors"][0]
        text = f"{first.get('code', '')}: {first.get('message', '')}"
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return status
    return f"{status}, {' '.join(text.split())}"


def root_cause(error: BaseException) -> str:
    """Return the innermost reason: the outer ones repeat the URL and name connection pools."""
    cause: BaseException = error
    while True:
        inner = getattr(cause, "reason", None) or cause.__context__ or cause.__cause__
        if not isinstance(inner, BaseException):
            break
        cause = inner
    return " ".join(str(cause).split()) or type(cause).__name__
