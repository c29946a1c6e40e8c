"""What is read out of one answer or one error."""

from __future__ import annotations

import json

import pytest
import requests

from letta_stack.errors import RegistryFull, RegistryReadOnly, RegistryRefused
from letta_stack.registry import answers
from letta_stack.registry.reference import Target
from letta_stack.registry.retries import TransientError
from tests.support.scripted import answer

TARGET = Target("registry.example", "letta/letta")
URL = "https://registry.example/v2/letta/letta/blobs/uploads/?n=1"


def error(code: str, message: str = "said") -> dict[str, object]:
    return {"errors": [{"code": code, "message": message}]}


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_worth_another_attempt(status: int) -> None:
    found = answers.failure(answer(status, {}, url=URL, Retry_After="7"), TARGET)

    assert isinstance(found, TransientError)
    assert found.retry_after == 7.0
    assert str(status) in str(found)


@pytest.mark.parametrize("status", [400, 406, 409, 410, 416, 501, 505])
def test_what_stays_as_it_is_is_refused_with_the_request(status: int) -> None:
    found = answers.failure(answer(status, {}, url=URL), TARGET)

    assert isinstance(found, RegistryRefused)
    assert "rejects GET /v2/letta/letta/blobs/uploads/ (" in str(found)


@pytest.mark.parametrize("code", ["DIGEST_INVALID", "SIZE_INVALID"])
def test_content_that_arrived_damaged_is_sent_again(code: str) -> None:
    assert isinstance(answers.failure(answer(400, error(code)), TARGET), TransientError)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write: no space left on device", RegistryFull),
        ("disk quota exceeded", RegistryFull),
        ('{"Err":28}', RegistryFull),
        ('{"Err":122}', RegistryFull),
        ("mkdir: read-only file system", RegistryReadOnly),
        ('{"Err":30}', RegistryReadOnly),
    ],
)
def test_a_file_system_that_takes_nothing_is_no_passing_failure(
    text: str, expected: type[Exception]
) -> None:
    assert isinstance(answers.failure(answer(500, text.encode()), TARGET), expected)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "30"}, 30.0),
        ({"Retry_After": "Tue, 24 Nov 2026 00:01:00 GMT", "Date": "Tue, 24 Nov 2026 00:00:00 GMT"}, 60.0),
        ({"Retry_After": "Tue, 24 Nov 2026 00:00:00 GMT", "Date": "Tue, 24 Nov 2026 00:01:00 GMT"}, 0.0),
        ({"Retry_After": "Tue, 24 Nov 2026 00:00:00 GMT"}, None),
        ({"Retry_After": "soon"}, None),
        ({"Retry_After": "-1"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert answers.retry_after(answer(503, **headers)) == seconds


@pytest.mark.parametrize(
    ("reason", "body", "expected"),
    [
        ("Not Found", error("NAME_UNKNOWN", "no\n such  name"), "404 Not Found, NAME_UNKNOWN: no such name"),
        ("", {"errors": [{"code": "X"}]}, "404, X:"),
        ("", {"errors": [{"message": "why"}]}, "404, : why"),
        ("Not Found", {}, "404 Not Found"),
        ("Not Found", {"errors": []}, "404 Not Found"),
        ("Not Found", {"errors": ["text"]}, "404 Not Found"),
        ("Not Found", ["list"], "404 Not Found"),
        (None, b"<html>", "404"),
    ],
)  # fmt: skip
def test_status_and_words_on_one_line(reason: str | None, body: object, expected: str) -> None:
    one = answer(404, body)
    one.reason = reason  # type: ignore[assignment]

    assert answers.words(one) == expected


def chained() -> Exception:
    try:
        try:
            fail()
        finally:
            raise RuntimeError("outer")
    except RuntimeError as error:
        return error


def fail() -> None:
    raise OSError("the  line\nis down")


class Pool(Exception):
    """What urllib3 raises: the cause is its ``reason``."""

    def __init__(self, reason: object) -> None:
        super().__init__("HTTPSConnectionPool(host=...)")
        self.reason = reason


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (chained(), "the line is down"),
        (Pool(Pool(OSError("refused"))), "refused"),
        (Pool("text"), "HTTPSConnectionPool(host=...)"),
        (requests.ConnectionError(), "ConnectionError"),
    ],
)
def test_the_innermost_reason_is_told(found: Exception, expected: str) -> None:
    assert answers.root_cause(found) == expected


def test_a_cause_that_was_made_elsewhere_is_found() -> None:
    outer = RuntimeError("outer")
    outer.__cause__ = OSError("refused")

    assert answers.root_cause(outer) == "refused"


def test_a_body_is_read_as_the_registry_wrote_it() -> None:
    text = json.dumps(error("DENIED"), separators=(",", ":")).encode()

    assert answers.words(answer(403, text)).endswith("DENIED: said")
