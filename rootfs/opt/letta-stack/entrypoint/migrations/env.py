"""Alembic's environment for the server's migrations: on the connection that migrate.py has made, and nothing else.

The server's own env.py imports all of the server for the tables' classes, which only a new migration is written from, prints
the database's URI and loses its TLS parameters (upstream issue 3219).
"""

from __future__ import annotations

import importlib

context = importlib.import_module("alembic.context")
context.configure(connection=context.config.attributes["connection"], include_schemas=True)
with context.begin_transaction():
    context.run_migrations()
