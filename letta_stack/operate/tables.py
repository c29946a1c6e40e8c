"""What is in a database: rows and a content hash of every table, equal before a dump and after its restore."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# The text of a row depends on these.
FORMATS = """
SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres';
SET bytea_output = 'hex'; SET extra_float_digits = 1; SET search_path = pg_catalog;
"""
# Tables of extensions come with the extension. The order of the rows is no property of a table, so the hashes of the rows are
# added up, as two numbers of 64 bits each.
LIST = """
SELECT format(
    $$SELECT %L, count(*), coalesce(sum(('x' || substr(h, 1, 16))::bit(64)::bigint::numeric), 0)
      || ':' || coalesce(sum(('x' || substr(h, 17))::bit(64)::bigint::numeric), 0)
      FROM (SELECT md5(one_row::text) AS h FROM %I.%I AS one_row) AS hashes;$$,
    n.nspname || '.' || c.relname, n.nspname, c.relname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'p'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1
\\gexec
"""


@dataclass(frozen=True)
class Table:
    """The content of one table."""

    rows: int
    hash: str


def parse(rows: Iterable[Sequence[str]]) -> dict[str, Table]:
    """Read the answer to ``LIST``."""
    return {name: Table(int(count), digest) for name, count, digest in rows}


def differences(expected: Mapping[str, Table], found: Mapping[str, Table]) -> list[str]:
    """Say in a line per table what differs."""
    lines = []
    for name in sorted({*expected, *found}):
        before, after = expected.get(name), found.get(name)
        if before is None or after is None:
            lines.append(
                f"{name} is only in the {'backup' if after is None else 'restored database'}"
            )
        elif before.rows != after.rows:
            lines.append(f"{name} has {after.rows} rows instead of {before.rows}")
        elif before.hash != after.hash:
            lines.append(f"{name} has other content in its {after.rows} rows")
    return lines
