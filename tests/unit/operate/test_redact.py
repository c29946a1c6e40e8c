"""Thirty secrets are planted in the kinds of text that a support bundle has; none of them comes out."""

from __future__ import annotations

import base64
import json

import pytest

from letta_stack.operate.redact import HIDDEN, redact

SECRET = "Zq8-planted_secret-7Xw"
KNOWN = 'ab"c\\d/e+f g=ü1234'
ENCODED = base64.b64encode(KNOWN.encode()).decode()

UNKNOWN_PLACES = [
    "LETTA_SERVER_PASSWORD={}",
    "export OPENAI_API_KEY='{}'",
    'ANTHROPIC_API_KEY: "{}"',
    "      AWS_SECRET_ACCESS_KEY: {}",
    '"LETTA_ENCRYPTION_KEY={}",',
    '{{"api_key": "{}"}}',
    '{{"message": "{{\\"api_key\\": \\"{}\\"}}"}}',
    "postgresql://letta:{}@letta-db:5432/letta",
    "redis://:{}@letta-redis:6379",
    "https://user:{}@proxy.example.org:3128",
    "Authorization: Bearer {}",
    "authorization: Basic {}",
    "'Authorization': 'Bearer {}'",
    "X-BARE-PASSWORD: password {}",
    "curl -H 'authorization:{}'",
    "GET /v1/x?token={}&a=1",
    "SIGNOZ_INGESTION_KEY={}",
    "signoz-access-token: {}",
    "set-cookie={}",
    "client_secret={}",
]
SHAPES = [
    "sk-proj-0123456789abcdefghij",
    "ghp_0123456789abcdefghijklmnop",
    "xoxb-0123456789-abcdefghij",
    "AKIA0123456789ABCDEF",
    "AIza0123456789abcdefghijklmnopqrstuv",
    "AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQ",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    "SCRAM-SHA-256$4096:salt$stored:key",
]


@pytest.mark.parametrize("place", UNKNOWN_PLACES)
def test_a_secret_is_known_by_the_name_before_it(place: str) -> None:
    shown = redact(f"before {place.format(SECRET)}\nafter", [])

    assert SECRET not in shown
    assert HIDDEN in shown
    assert shown.startswith("before ")
    assert shown.endswith("\nafter")


@pytest.mark.parametrize("secret", SHAPES)
def test_a_secret_is_known_by_its_shape(secret: str) -> None:
    assert redact(f"the server said {secret} today", []) == f"the server said {HIDDEN} today"


def test_a_private_key_goes_as_a_whole() -> None:
    key = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\nEEIJ\n-----END EC PRIVATE KEY-----"

    assert redact(f"a\n{key}\nb", []) == f"a\n-----BEGIN EC PRIVATE KEY-----{HIDDEN}\nb"


@pytest.mark.parametrize("text", [KNOWN, ENCODED, json.dumps({"x": KNOWN}, ensure_ascii=False)])
def test_a_known_secret_goes_in_every_form_and_place(text: str) -> None:
    shown = redact(f"a word {text} b", [KNOWN])

    assert KNOWN not in shown
    assert ENCODED not in shown
    assert HIDDEN in shown


def test_what_is_no_secret_stays() -> None:
    text = (
        "2026-01-01 INFO tokens used: 12, api_key_enc is a column, http://letta-db:5432/letta healthy, "
        "sha256:0123456789abcdef, password authentication failed for user letta"
    )

    assert redact(text, ["abc"]) == text
