"""ClickHouse over HTTP: whether the collector's user can use it, and the tables that nobody else makes."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT = 10.0
_REASON_LENGTH = 200


def prepare(variables: Mapping[str, str], tables: str) -> str | None:
    """Make database and tables, SQL statements; return why that cannot be done now, None if it is done."""
    database = variables["CLICKHOUSE_DATABASE"]
    try:
        _execute(variables, f"CREATE DATABASE IF NOT EXISTS `{database}`", database="default")
        for statement in tables.split(";\n"):
            if statement.strip():
                _execute(variables, statement, database=database)
    except urllib.error.HTTPError as error:
        text = error.read(_REASON_LENGTH).decode(errors="replace").strip()
        return f"{variables['CLICKHOUSE_ENDPOINT']} answers {error.code}: {text.splitlines()[0] if text else ''}"
    except (OSError, ValueError) as error:
        return (
            f"{variables['CLICKHOUSE_ENDPOINT']} does not answer: {getattr(error, 'reason', error)}"
        )
    return None


def _execute(variables: Mapping[str, str], statement: str, *, database: str) -> None:
    """Run one statement. Raises OSError, HTTPError, and ValueError for what is no address."""
    question = urllib.parse.urlencode({"database": database})
    request = urllib.request.Request(  # noqa: S310 - the rule in telemetry.py admits http and https
        f"{variables['CLICKHOUSE_ENDPOINT'].rstrip('/')}/?{question}",
        data=statement.encode(),
        headers={
            "X-ClickHouse-User": variables["CLICKHOUSE_USERNAME"],
            "X-ClickHouse-Key": variables["CLICKHOUSE_PASSWORD"],
        },
    )
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310 - see above
        response.read()
