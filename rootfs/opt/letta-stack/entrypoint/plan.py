"""What this container will run, decided from its environment alone."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import database, environment, models, reserve, retention, telemetry
from .errors import BadSetting
from .telemetry import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .database import Database

API_PORT = 8283


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The services of this container, and what the server gets to know."""

    database: Database | None
    """The external database; None is the embedded one."""
    redis: tuple[str, int] | None
    """The external Redis; None is the embedded one."""
    collector: str | None
    """The embedded collector's backend (file, clickhouse, signoz); None starts no collector."""
    secure: bool
    host: str
    port: int
    wait_timeout: int
    context: int
    """How many tokens a model takes whose server does not say it."""
    authority: str = ""
    """The authority of external PostgreSQL's and Redis's certificates; "" if they are spoken to without."""

    @property
    def authorities(self) -> dict[str, str]:
        """Return with which authority each of the two is checked, "" for not at all."""
        database_files = self.database.ssl_files if self.database else {}
        return {
            "postgres": self.authority and database_files.get("sslrootcert", ""),
            "redis": self.authority if self.redis else "",
        }

    @property
    def services(self) -> list[str]:
        """Return the service directories to run."""
        embedded = {
            "postgres": self.database is None,
            "redis": self.redis is None,
            "collector": self.collector is not None,
        }
        return [*(name for name, wanted in embedded.items() if wanted), "migrate", "letta"]

    @property
    def probe_host(self) -> str:
        """Return the address under which the server is reached from inside the container."""
        return {"0.0.0.0": LOOPBACK, "::": "::1"}.get(self.host, self.host)  # noqa: S104 - not a bind


def make_plan(settings: Mapping[str, str]) -> Plan:
    """Decide. ``settings`` has no empty variables and no _FILE forms. Raises BadSetting, PartialDatabase, PartialBackend."""
    redis_host = settings.get("LETTA_REDIS_HOST")
    tracing = not environment.flag(settings, "LETTA_DISABLE_TRACING", default=False)
    own_endpoint = telemetry.own_endpoint(settings)
    # Also for a server that sends to a collector of its own: its trace reader needs the whole backend.
    backend = telemetry.backend(settings)
    telemetry.collector_environment(settings)
    telemetry.configuration(settings)
    # The server reads these two itself; here a mistake ends the start.
    reserve.size(settings)
    retention.seconds(settings)
    return Plan(
        database=database.from_environment(settings),
        redis=(redis_host, environment.port(settings, "LETTA_REDIS_PORT", default=6379))
        if redis_host
        else None,
        collector=backend if tracing and not own_endpoint else None,
        secure=environment.flag(settings, "LETTA_SERVER_SECURE", default=True),
        host=settings.get("HOST", "0.0.0.0"),  # noqa: S104 - a container that nobody can reach is no use
        port=environment.port(settings, "PORT", default=API_PORT),
        wait_timeout=environment.wait_timeout(settings),
        authority=settings.get(database.AUTHORITY, ""),
        context=environment.number(
            settings, models.CONTEXT, default=models.DEFAULT_CONTEXT, highest=100_000_000
        ),
    )


def check_authority(plan: Plan) -> None:
    """Raise BadSetting if the authority is no file with certificates that this process can read."""
    if not plan.authority:
        return
    try:
        ssl.create_default_context(cafile=plan.authority)
    except OSError as error:
        raise BadSetting(
            f"{database.AUTHORITY} names {plan.authority}, which is no readable PEM file with a certificate ({error})"
        ) from error


def embedded_database(password: str) -> Database:
    """Return the embedded PostgreSQL: loopback, hence no TLS."""
    return database.Database(
        host=LOOPBACK, port=5432, name="letta", user="letta", password=password, ssl_mode="disable"
    )


def server_environment(
    settings: Mapping[str, str],
    plan: Plan,
    *,
    effective_database: Database,
    encryption_key: str,
    server_password: str | None,
    home: str,
) -> dict[str, str]:
    """Return the environment of migration and server."""
    # The parts form is dropped: the server would put a password with special characters into its URI as it is.
    result = {name: value for name, value in settings.items() if name not in database.PARTS}
    result |= effective_database.driver_environment()
    result |= {
        "HOME": home,
        "HOST": plan.host,
        "PORT": str(plan.port),
        "LETTA_PG_URI": effective_database.server_uri(),
        "LETTA_ENCRYPTION_KEY": encryption_key,
        # The server compares with exactly `true`; `True` leaves the API open.
        "LETTA_SERVER_SECURE": "true" if plan.secure else "false",
        "LETTA_STACK_WAIT_TIMEOUT": str(plan.wait_timeout),
        models.CONTEXT: str(plan.context),
    }
    result.pop("LETTA_SERVER_PASSWORD", None)
    if server_password:
        result["LETTA_SERVER_PASSWORD"] = server_password
    if plan.redis is None:
        result |= {"LETTA_REDIS_HOST": LOOPBACK, "LETTA_REDIS_PORT": "6379"}
    result.pop(database.AUTHORITY, None)
    if authority := plan.authorities["redis"]:
        result["LETTA_STACK_REDIS_CA"] = authority
    if plan.collector is not None:
        result["LETTA_OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://{LOOPBACK}:4317"
    # A pool. Without it the server opens a connection for each session, and some hundred requests at once use up all of
    # PostgreSQL's. A request holds one for milliseconds, so few are enough. The others wait in line, however long it is:
    # a turn that gives up half-way would be lost.
    result.setdefault("LETTA_DISABLE_SQLALCHEMY_POOLING", "false")
    result.setdefault("LETTA_PG_POOL_SIZE", "20")
    result.setdefault("LETTA_PG_MAX_OVERFLOW", "10")
    result.setdefault("LETTA_PG_POOL_TIMEOUT", "600")
    result.setdefault("LETTA_LOGGING_JSON_LOGGING", "true")
    # Cumulative. The server's default is the difference since the last export, of which every backend makes wrong rates as
    # soon as one export is lost or repeated.
    result.setdefault("LETTA_OTEL_PREFERRED_TEMPORALITY", "2")
    # The server puts whole request bodies into its spans. One of a few megabytes is more than a gRPC message may have:
    # the exporter then repeats that batch for a minute, and every span behind it is late or lost.
    result.setdefault("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "16384")
    return result
