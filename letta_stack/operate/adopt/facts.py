"""What is in the database of a Letta server, before anything is done with it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.errors import SourceForeign
from letta_stack.operate import table
from letta_stack.operate.postgres import literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from letta_stack.operate.postgres import Postgres

# What people look for after a move, by the names that these tables had over the years.
COUNTED = (
    "agents",
    "messages",
    "archival_passages",
    "agent_passages",
    "source_passages",
    "passages",
    "block",
    "tools",
    "sources",
    "files",
    "providers",
    "organizations",
    "users",
)
SCHEMAS = """
SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relname = 'agents' AND n.nspname !~ '^pg_' ORDER BY 1
"""
# One object; the tables' names are only known when it is asked.
COUNT = """
SELECT coalesce(json_object_agg(table_name, (xpath('/row/n/text()', query_to_xml(
    format('SELECT count(*) AS n FROM %I.%I', table_schema, table_name), false, true, '')))[1]::text::bigint), '{{}}')
FROM information_schema.tables WHERE table_schema = {schema} AND table_name IN ({names});
"""
FACTS = """
SELECT json_build_object(
  'major', current_setting('server_version_num')::int / 10000,
  'version', current_setting('server_version'),
  'vector', coalesce((SELECT extversion FROM pg_extension WHERE extname = 'vector'), ''),
  'bytes', pg_database_size(current_database()),
  'revision', coalesce((SELECT (xpath('/row/version_num/text()', query_to_xml(
      format('SELECT max(version_num) AS version_num FROM %I.alembic_version', table_schema), false, true, '')))[1]::text
    FROM information_schema.tables WHERE table_schema = {schema} AND table_name = 'alembic_version'), ''),
  'providers', coalesce((SELECT (xpath('/row/names/text()', query_to_xml(
      format('SELECT string_agg(DISTINCT name, '', '' ORDER BY name) AS names FROM %I.providers', table_schema),
      false, true, '')))[1]::text
    FROM information_schema.tables WHERE table_schema = {schema} AND table_name = 'providers'), ''));
"""


@dataclass(frozen=True)
class Facts:
    """One database."""

    major: int
    version: str
    vector: str  # version of the extension, "" if it is not there
    bytes: int
    revision: str  # of the schema, "" if nobody wrote one down
    providers: str
    schema: str  # where the tables are: upstream makes one that is called like the database
    counts: Mapping[str, int] = field(default_factory=dict)


def of(postgres: Postgres) -> Facts:
    """Look. Raises ``SourceForeign`` if the tables are there twice."""
    schemas = [row[0] for row in postgres.query(SCHEMAS)]
    if len(schemas) != 1:
        raise SourceForeign(
            f"the database {postgres.name} has the tables of a Letta server in the schemas {', '.join(schemas)}; drop "
            "the schema that nobody uses (upstream's server looks into that of search_path first)"
        )
    schema = schemas[0]
    found = json.loads(ask(postgres, FACTS.format(schema=literal(schema))))
    return Facts(**found, schema=schema, counts=counts(postgres, schema))


def counts(postgres: Postgres, schema: str, *, database: str = "") -> dict[str, int]:
    """Return the rows of the tables that people look for."""
    sql = COUNT.format(schema=literal(schema), names=", ".join(map(literal, COUNTED)))
    found: dict[str, int] = json.loads(ask(postgres, sql, database=database))
    return found


def ask(postgres: Postgres, sql: str, *, database: str = "") -> str:
    """Run a statement that answers with JSON, whose bars split no fields."""
    return process.capture(postgres.psql(database=database), stdin=sql)


def lines(found: Facts, *, what: str, key: str, steps: Sequence[str]) -> list[str]:
    """Say what was found, in lines; ``key`` in words."""
    rows = ", ".join(f"{found.counts[name]} {name}" for name in COUNTED if found.counts.get(name))
    behind = f"{len(steps)} migrations behind this server" if steps else "this server's"
    kept = f"{table.size(found.bytes)} in schema {found.schema}"
    return [
        f"source      {what}",
        f"PostgreSQL  {found.version}, pgvector {found.vector or 'missing'}, {kept}",
        f"revision    {found.revision}, {behind}",
        f"rows        {rows or 'none'}",
        f"providers   {found.providers or 'none'}",
        f"key         {key}",
    ]
