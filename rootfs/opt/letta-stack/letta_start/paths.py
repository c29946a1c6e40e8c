"""Where things are inside the container."""

from __future__ import annotations

from pathlib import Path

VOLUME = Path("/var/lib/letta")
SECRETS = VOLUME / "secrets"
HOME = VOLUME / "home"

RUN = Path("/run/letta-stack")
"""State of this start: root's, but others may look up a name in it."""

SERVER_ENVIRONMENT = RUN / "server.json"
COLLECTOR_ENVIRONMENT = RUN / "collector.sh"
BACKENDS = RUN / "backends.json"
MIGRATED = RUN / "migrated"
WORK_DIR = Path("/run/letta")
"""Working directory of the server: must be writable, holds nothing worth keeping."""

SERVICES = Path("/etc/letta-stack/services")
SCAN_DIR = Path("/run/service")

INIT_SQL = Path("/docker-entrypoint-initdb.d/init.sql")
POSTGRES_BIN = Path("/usr/lib/postgresql/15/bin")
POSTGRES_SOCKETS = Path("/run/postgresql")
ALEMBIC = Path("/opt/letta/alembic")
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
