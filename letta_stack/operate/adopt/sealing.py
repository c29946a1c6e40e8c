"""The values that the server encrypts: which of them are, whether a key opens them, and encrypting them with another one.

The project that takes a database over has a key already, which may come from outside or belong to data that it has; that
key stays, so no moment can have the database of one key and the key of another. Without LETTA_ENCRYPTION_KEY a server writes
such values as they are; one that has a key then takes some of those for encrypted, by their length and letters, and fails.
So a takeover encrypts every value anew.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from letta_stack.base import process
from letta_stack.errors import SourceKeyMissing
from letta_stack.operate import samples
from letta_stack.operate.postgres import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from letta_stack.operate.postgres import Postgres

Cell = tuple[str, str, str, str]  # table, column, id of the row, value
CELLS = """
SELECT format('SELECT json_build_array(%L, %L, id, %I) FROM %I.%I WHERE %I <> %L;',
  table_name, column_name, column_name, table_schema, table_name, column_name, '')
FROM information_schema.columns WHERE table_schema = {schema} AND column_name LIKE '%\\_enc' ORDER BY 1
\\gexec
"""
CODE = f"""{samples.CRYPTO}
import base64
def opened(value, key):
    try:
        return crypto.decrypt(value, key) if key else None
    except ValueError:
        return None
def looks_sealed(value):
    # An empty value, such as the key of a provider that has it from the environment, is too short for the server's own rule.
    try:
        size = len(base64.b64decode(value, validate=True))
    except ValueError:
        return False
    return crypto.is_encrypted(value) or size == crypto.SALT_SIZE + crypto.IV_SIZE + crypto.TAG_SIZE
def renewed(value):
    plain = opened(value, asked["key"])
    if plain is None and asked["key"] and looks_sealed(value):
        return None
    plain = value if plain is None else plain
    new = crypto.encrypt(plain, asked["new"])
    assert crypto.decrypt(new, asked["new"]) == plain
    return new
if asked["new"]:
    answer = [renewed(value) for value in asked["values"]]
else:
    sealed = [value for value in asked["values"] if looks_sealed(value)]
    answer = [len(sealed), sum(opened(one, asked["key"]) is not None for one in sealed[:asked["tries"]])]
json.dump(answer, sys.stdout)
"""
TRIES = 50  # a value takes some 50 ms


@dataclass(frozen=True)
class Values:
    """What was found in the columns for encrypted values."""

    total: int
    sealed: int  # those that look encrypted
    opened: int  # those of at most ``TRIES`` that the key opens


def cells(postgres: Postgres, schema: str, database: str = "") -> list[Cell]:
    """Return every value of these columns."""
    text = process.capture(
        postgres.psql(database=database), stdin=CELLS.format(schema=literal(schema))
    )
    return [(a, b, str(c), d) for a, b, c, d in map(json.loads, text.splitlines())]


def look(found: Sequence[Cell], key: str, image: str) -> Values:
    """Count them with the server's own code."""
    if not found:
        return Values(0, 0, 0)
    values = [one[-1] for one in found]
    sealed, opened = run(image, {"new": "", "key": key, "values": values, "tries": TRIES})
    return Values(len(values), sealed, opened)


def decide(values: Values, key: str | None) -> str:
    """Return the key that belongs to the values, "" if they are not encrypted; ``key`` None is one that nobody knows.

    Raises ``SourceKeyMissing``.
    """
    if key is None:
        if values.sealed:
            raise SourceKeyMissing(
                f"{values.sealed} values (of providers, agents' secrets, MCP servers) look encrypted; give the old server's "
                "LETTA_ENCRYPTION_KEY in a file: --key-file FILE, an empty one if it had none"
            )
        return ""
    if key and values.sealed and not values.opened:
        raise SourceKeyMissing(
            f"the key does not open any of {min(values.sealed, TRIES)} encrypted values: it is not the one that they were "
            "encrypted with; give that one in a file: --key-file FILE"
        )
    return key


def renew(postgres: Postgres, database: str, *, key: str, new: str, image: str) -> tuple[int, int]:
    """Encrypt every value of the schema `public` with ``new``; ``key`` opens those that are encrypted, "" if none are.

    Each is decrypted again and compared. Returns how many there were, and how many of them ``key`` does not open: those
    stay as they are, and are of no more and no less use than before.
    """
    found = cells(postgres, "public", database)
    if not found:
        return 0, 0
    asked = {"key": key, "new": new, "values": [one[-1] for one in found]}
    pairs = list(zip(found, run(image, asked), strict=True))
    updates = [
        f"UPDATE public.{identifier(table)} SET {identifier(column)} = {literal(str(value))} "  # noqa: S608 - quoted
        f"WHERE id = {literal(row)};\n"
        for (table, column, row, _), value in pairs
        if value is not None
    ]
    postgres.query("BEGIN;\n" + "".join(updates) + "COMMIT;\n", database=database)
    return len(found), len(found) - len(updates)


def run(image: str, asked: Mapping[str, object]) -> list[Any]:
    """Let the server's own code answer."""
    options = ["--rm", "--interactive", "--network=none", "--pull=never", "--user=nobody"]
    options += ["--env=HOME=/tmp", "--workdir=/tmp", "--entrypoint=/opt/letta/venv/bin/python"]
    answer: list[Any] = json.loads(
        process.capture(["docker", "run", *options, image, "-c", CODE], stdin=json.dumps(asked))
    )
    return answer
