"""Which PostgreSQL the server uses, and how to connect to it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from . import pooler
from .errors import BadSetting, PartialDatabase
from .paths import CA_BUNDLE

if TYPE_CHECKING:
    from collections.abc import Mapping

PARTS = tuple(f"LETTA_PG_{part}" for part in ("DB", "USER", "PASSWORD", "HOST", "PORT"))
AUTHORITY = "LETTA_STACK_INTERNAL_CA"
"""PEM file of the authority that signed PostgreSQL's and Redis's certificates: with it, both are spoken to by TLS only."""
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_UNSAID = "prefer"
"""libpq's mode where a URI says none."""
_SSL_FILES = {"sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY"}
"""libpq's query parameters, and the variables by which asyncpg takes the same."""
_DRIVER_OPTIONS = frozenset(
    {"command_timeout", "krbsrvname", "prepared_statement_cache_size", "target_session_attrs"}
)
"""What the server's driver takes from a URI, apart from TLS: SQLAlchemy hands it on as text."""
_TUNING = frozenset(
    {
        "application_name",
        "client_encoding",
        "connect_timeout",
        "fallback_application_name",
        # Of other drivers, for a pooler that lends connections for a transaction: the server's needs no word (pooler.py).
        "pgbouncer",
        "sslcompression",
        "sslsni",
    }
    | {
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "tcp_user_timeout",
    }
)
"""libpq's parameters that the driver does not know, and without which the connection means the same."""
_OPTIONAL = frozenset({"channel_binding", "gssencmode"})
"""The same if their value is one of `disable` and `prefer`."""
_VERIFIED = frozenset({("channel_binding", "require"), ("sslrootcert", "system")})
"""Nobody in between, which the server's driver knows to be sure of by the certificate only; and the public authorities."""


@dataclass(frozen=True, kw_only=True)
class Database:
    """One database and the user who owns it."""

    host: str
    port: int
    name: str
    user: str
    password: str = field(repr=False)
    ssl_mode: str = _UNSAID
    ssl_files: Mapping[str, str] = field(default_factory=dict)
    options: tuple[tuple[str, str], ...] = ()
    """Query parameters that go to the server's driver as they are."""

    @property
    def address(self) -> str:
        """Return ``host:port``, for messages."""
        return f"{self.host}:{self.port}"

    def server_uri(self) -> str:
        """Return the URI for the server, every part percent-encoded.

        It always says what to do about TLS: without that word the server forces TLS as soon as its connection pool is
        on (letta/server/db.py, upstream issue 3219).
        """
        query = urlencode([*self.options, ("ssl", self.ssl_mode)], quote_via=quote)
        password = f":{quote(self.password, safe='')}" if self.password else ""
        return (
            f"postgresql://{quote(self.user, safe='')}{password}"
            f"@{self.host}:{self.port}/{quote(self.name, safe='')}?{query}"
        )

    def migration_uri(self) -> str:
        """Return the URI for Alembic's env.py, which prints it and puts it through ConfigParser's interpolation.

        So it has no password, no TLS parameters (``connect`` adds both) and doubled percent signs.
        """
        uri = f"postgresql://{quote(self.user, safe='')}@{self.address}/{quote(self.name, safe='')}"
        return uri.replace("%", "%%")

    def driver_environment(self) -> dict[str, str]:
        """Return the variables by which asyncpg takes the certificate files."""
        files = dict(self.ssl_files)
        if self.ssl_mode.startswith("verify-"):
            files.setdefault("sslrootcert", str(CA_BUNDLE))
        return {_SSL_FILES[parameter]: path for parameter, path in files.items()}


def from_environment(environment: Mapping[str, str]) -> Database | None:
    """Return the external database, or None if none is configured. The URI goes before the five parts.

    Raises BadSetting, PartialDatabase.
    """
    found = _from_environment(environment)
    authority = environment.get(AUTHORITY)
    if found is None or not authority or found.ssl_files or found.ssl_mode != _UNSAID:
        return found
    return replace(found, ssl_mode="verify-full", ssl_files={"sslrootcert": authority})


def _from_environment(environment: Mapping[str, str]) -> Database | None:
    uri = environment.get("LETTA_PG_URI")
    if uri:
        return from_uri(uri)
    missing = [name for name in PARTS if not environment.get(name)]
    if len(missing) == len(PARTS):
        return None
    if missing:
        raise PartialDatabase(
            f"the external PostgreSQL is only half configured: set {', '.join(missing)} as well, "
            "or none of the five LETTA_PG_* for the embedded one"
        )
    name, user, password, host, _ = (environment[part] for part in PARTS)
    return Database(
        host=_bracketed(host),
        port=_port(environment["LETTA_PG_PORT"], "LETTA_PG_PORT"),
        name=name,
        user=user,
        password=password,
    )


def from_server_environment(environment: Mapping[str, str]) -> Database:
    """Return the database of `Database.server_uri` and `Database.driver_environment`."""
    files = {
        parameter: environment[variable]
        for parameter, variable in _SSL_FILES.items()
        if variable in environment
    }
    return replace(from_uri(environment["LETTA_PG_URI"]), ssl_files=files)


def from_uri(uri: str) -> Database:
    """Take a PostgreSQL URI apart. Raises BadSetting, whose text never holds the URI."""
    try:
        parts = urlsplit(uri)
        port = parts.port or 5432
    except ValueError as error:
        raise BadSetting(
            "LETTA_PG_URI is not a URI; special characters of a password must be percent-encoded"
        ) from error
    if parts.scheme.partition("+")[0] not in {"postgresql", "postgres"}:
        raise BadSetting("LETTA_PG_URI must begin with postgresql://")
    name = unquote(parts.path.removeprefix("/"))
    if not parts.hostname or not parts.username or not name:
        raise BadSetting(
            "LETTA_PG_URI must have the form postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        )
    ssl_mode = _UNSAID
    ssl_files: dict[str, str] = {}
    options: list[tuple[str, str]] = []
    verified: list[tuple[str, str]] = []
    for key, value in parse_qsl(parts.query):
        if key in {"sslmode", "ssl"}:
            ssl_mode = value
        elif (key, value) in _VERIFIED:
            verified.append((key, value))
        elif key in _SSL_FILES:
            ssl_files[key] = value
        elif key in _DRIVER_OPTIONS:
            options.append((key, value))
        elif key not in _TUNING and not (key in _OPTIONAL and value in {"disable", "prefer"}):
            raise BadSetting(_unknown_parameter(key))
    if ssl_mode not in _SSL_MODES:
        raise BadSetting(
            f"sslmode in LETTA_PG_URI must be one of {', '.join(_SSL_MODES)}, not {ssl_mode!r}"
        )
    for parameter in verified:
        ssl_mode = _verified(ssl_mode, *parameter)
    return Database(
        host=_bracketed(parts.hostname),
        port=port,
        name=name,
        user=unquote(parts.username),
        password=unquote(parts.password or ""),
        ssl_mode=ssl_mode,
        ssl_files=ssl_files,
        options=tuple(options),
    )


def _verified(ssl_mode: str, key: str, value: str) -> str:
    """Return the mode that keeps what a parameter promises. Raises BadSetting."""
    if ssl_mode == "disable":
        raise BadSetting(
            f"LETTA_PG_URI has {key}={value}, which needs TLS, and sslmode=disable; remove one of them"
        )
    # One authority for one server, as Cloud SQL has it, tells a stranger as well as the name does.
    return ssl_mode if (ssl_mode, value) == ("verify-ca", "require") else "verify-full"


def _unknown_parameter(key: str) -> str:
    advice = {
        "connection_limit": "; LETTA_PG_POOL_SIZE is the server's",
        "options": "; set what it sets on the role instead: ALTER ROLE ... SET ...",
    }
    return (
        f"LETTA_PG_URI has the parameter {key!r}, which the server's driver does not know; remove it"
        f"{advice.get(key, '')}"
    )


def _bracketed(host: str) -> str:
    """Return the host as a URI wants it: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _port(value: str, name: str) -> int:
    if value.isascii() and value.isdigit() and 1 <= int(value) <= 65535:  # noqa: PLR2004 - the highest port
        return int(value)
    raise BadSetting(f"{name} must be a port number, not {value!r}")


def tls_choices(database: Database) -> list[ssl.SSLContext | Literal[False]]:
    """Return what to try in this order, as libpq defines the modes; False is a connection without TLS.

    (To pg8000, None would be "with TLS if the server has it".)
    """
    mode = database.ssl_mode
    if mode == "disable":
        return [False]
    verify = mode.startswith("verify-")
    context = ssl.create_default_context(
        cafile=database.ssl_files.get("sslrootcert", str(CA_BUNDLE)) if verify else None
    )
    context.check_hostname = mode == "verify-full"
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    if "sslcert" in database.ssl_files:
        context.load_cert_chain(database.ssl_files["sslcert"], database.ssl_files.get("sslkey"))
    if mode == "allow":
        return [False, context]
    return [context, False] if mode == "prefer" else [context]


def connect(driver: Any, database: Database, *, timeout: float | None = None) -> Any:
    """Connect with pg8000 (``driver`` is that module, or a part of it).

    ``timeout`` (seconds) also ends every later statement of the connection. Raises the error of the last try.
    """
    choices = tls_choices(database)
    for ssl_context in choices:
        try:
            connection = driver.connect(
                user=database.user,
                password=database.password,
                host=database.host.strip("[]"),
                port=database.port,
                database=database.name,
                ssl_context=ssl_context,
                timeout=timeout,
            )
        except driver.Error:
            if ssl_context is choices[-1]:
                raise
        else:
            return pooler.send_statements_whole(connection)
    raise AssertionError
