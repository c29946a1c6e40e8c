"""Where things are inside the container."""

from __future__ import annotations

from pathlib import Path

VOLUME = Path("/var/lib/letta")
SECRETS = VOLUME / "secrets"
SERVER_PASSWORD = SECRETS / "server-password"
"""The generated one."""
HOME = VOLUME / "home"

RUN = Path("/run/letta-stack")
"""State of this start: root's, but others may look up a name in it."""

PRIVATE = RUN / "private"
"""Link to a directory of root's in memory: what is in it must end on no disk, also if /run is one."""
MEMORY = Path("/dev/shm")  # noqa: S108 - the name in it is random
SERVER_ENVIRONMENT = PRIVATE / "server.json"
COLLECTOR_ENVIRONMENT = PRIVATE / "collector.sh"
USER = RUN / "user"
"""UID:GID that migration and server run as."""
BACKENDS = RUN / "backends.json"
MIGRATED = RUN / "migrated"
WORK_DIR = Path("/run/letta")
"""Working directory of the server: must be writable, holds nothing worth keeping."""

SERVICES = Path("/etc/letta-stack/services")
SCAN_DIR = Path("/run/service")

INIT_SQL = Path("/docker-entrypoint-initdb.d/init.sql")
DISK_SQL = Path("/docker-entrypoint-initdb.d/disk.sql")
POSTGRES_BIN = Path("/usr/lib/postgresql/15/bin")
POSTGRES_SOCKETS = Path("/run/postgresql")
ALEMBIC = Path("/opt/letta/alembic")
ALEMBIC_ENVIRONMENT = Path(__file__).parent / "migrations"
DEBUGGER = Path("/opt/debugger")
"""Where `hot` mounts debugpy."""
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
