from __future__ import annotations

import hashlib

import pytest

from letta_stack.errors import BadSecret
from letta_stack.secrets import kinds

GOOD = "x" * kinds.SHORTEST


@pytest.mark.parametrize("name", kinds.NAMES)
def test_a_new_secret_is_accepted_and_another_one_each_time(name: str) -> None:
    kinds.check(name, kinds.new(name))

    assert kinds.new(name) != kinds.new(name)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "is empty"),
        ("letta", "short or well known"),
        ("password12345678", "short or well known"),
        ("short-but-random", ""),
        ("fifteen-letters", "short or well known"),
        ("with spaces and more", "need quoting"),
        ("pass%wordpass%word", "need quoting"),
        ("passwörtpasswört", "not ASCII"),
    ],
)
def test_what_everybody_would_guess_or_nobody_could_pass_on_is_refused(
    value: str, reason: str
) -> None:
    if not reason:
        kinds.check(kinds.SERVER, value)
        return
    with pytest.raises(BadSecret, match=reason) as raised:
        kinds.check(kinds.SERVER, value)

    assert not value or value == "letta" or value not in str(raised.value)


@pytest.mark.parametrize(
    "uri",
    [
        f"postgresql://postgres:{GOOD}@letta-db:5432/letta",
        "postgresql://letta_1@letta-db:5432/letta",
        f"postgresql://letta_1:{GOOD}@[letta-db:5432/letta",
    ],
)
def test_a_database_uri_names_a_login_and_a_password(uri: str) -> None:
    with pytest.raises(BadSecret):
        kinds.check(kinds.DATABASE, uri)


def test_a_rotation_changes_to_the_other_login_and_back() -> None:
    first, second = kinds.LOGINS

    assert kinds.login(kinds.new(kinds.DATABASE, login=second)) == second
    assert (kinds.other_login(first), kinds.other_login(second)) == (second, first)


def test_the_data_services_get_hashes_only() -> None:
    values = {name: kinds.new(name) for name in kinds.NAMES}
    verifiers = {name: kinds.fingerprint(name, value) for name, value in values.items()}

    files = kinds.derived(values, verifiers)

    text = "".join(files.values())
    assert not any(kinds.password(name, value) in text for name, value in values.items())
    assert files[kinds.DATABASE_LOGIN].startswith(
        "ALTER ROLE letta_1 LOGIN PASSWORD 'SCRAM-SHA-256$"
    )
    assert (
        f"#{hashlib.sha256(values[kinds.REDIS].encode()).hexdigest()} " in files[kinds.REDIS_USERS]
    )
