"""A small model as `docker compose config` writes it: one service of each kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

IMAGE = "registry.example/letta@sha256:" + "a" * 64
START = "MAX_BODY=$(number LETTA_STACK_MAX_BODY 512 1 2)\nTURN=$(number LETTA_STACK_TURN_TIMEOUT 3600 1 2)\n"


def write_files(directory: Path) -> None:
    """Write what the services mount."""
    gateway = directory / "gateway"
    (gateway / "static").mkdir(parents=True)
    (gateway / "static" / "robots.txt").write_text("User-agent: *\n")
    (gateway / "api.conf.template").write_text("proxy_buffering off;\n")
    (gateway / "start").write_text(START)
    (gateway / "start").chmod(0o755)
    (directory / "init.sql").write_text("CREATE EXTENSION vector;\n")


def model(directory: Path) -> dict[str, Any]:
    """Return the model; ``write_files`` has made what it mounts."""
    return {
        "name": "letta-stack-kubernetes",
        "services": {
            "letta-server": _server(),
            "letta-migrate": _common(IMAGE)
            | {
                "command": ["migrate"],
                "restart": "no",
                "user": "10001:10001",
                "healthcheck": {"disable": True},
                "networks": {"data": None},
                "secrets": [_secret("database-uri")],
            },
            "letta-db": _database(directory),
            "letta-redis": _common("redis:7")
            | {
                "user": "999:999",
                "healthcheck": _check(["CMD", "redis-cli", "ping"]),
                "networks": {"data": None},
                "tmpfs": ["/data"],
            },
            "letta-nginx": _gateway(directory),
            "letta-collector": _common(IMAGE)
            | {
                "user": "10002:10002",
                "healthcheck": _check([]),
                "networks": {"edge": None},
                "volumes": [_volume("collector", "/var/lib/letta/otel")],
            },
        },
        "networks": {
            "edge": {"name": "x_edge", "ipam": {}},
            "data": {"name": "x_data", "ipam": {}, "internal": True},
        },
        "volumes": {"db": {"name": "x_db"}, "collector": {"name": "x_collector"}},
        "secrets": {
            name: {"name": f"x_{name}", "file": f"/secrets/{name}"}
            for name in ("database-uri", "database-login")
        },
    }


def _common(image: str) -> dict[str, Any]:
    return {
        "cap_drop": ["ALL"],
        "command": None,
        "deploy": {
            "resources": {"limits": {"cpus": 1, "memory": "1024", "pids": 9}},
            "placement": {},
        },
        "entrypoint": None,
        "environment": {},
        "image": image,
        "logging": {"driver": "json-file", "options": {"max-size": "10m"}},
        "read_only": True,
        "restart": "unless-stopped",
        "security_opt": ["no-new-privileges:true"],
    }


def _server() -> dict[str, Any]:
    return _common(IMAGE) | {
        "command": ["serve"],
        "deploy": {
            "replicas": 1,
            "resources": {
                "limits": {"cpus": 2, "memory": "4096"},
                "reservations": {"cpus": 0.5, "memory": "1024"},
            },
        },
        "depends_on": {
            "letta-db": {"condition": "service_started", "required": True},
            "letta-migrate": {"condition": "service_started", "required": True},
        },
        "environment": {
            "LETTA_PG_URI_FILE": "/run/secrets/database-uri",
            "OPENAI_API_KEY": None,
            "TZ": "a$$(b)",
        },
        "healthcheck": _check([]) | {"start_period": "5m0s", "start_interval": "1s"},
        "init": True,
        "networks": {"edge": None, "data": None},
        "secrets": [_secret("database-uri")],
        "stop_grace_period": "10m0s",
        "tmpfs": ["/run:uid=10001", "/var/lib/letta:uid=10001,exec,size=1g"],
        "user": "10001:10001",
    }


def _database(directory: Path) -> dict[str, Any]:
    return _common("pgvector:1") | {
        "cpu_shares": 2048,
        "command": ["postgres", "-c", "max_connections=300", "-c", "max_wal_size=256MB"],
        "environment": {
            "POSTGRES_DB": "letta",
            "POSTGRES_PASSWORD_FILE": "/run/secrets/database-login",
            "POSTGRES_USER": "letta",
        },
        "healthcheck": _check(["CMD-SHELL", 'pg_isready -U "$$POSTGRES_USER"']),
        "networks": {"data": {"aliases": ["pgvector_db", "database"]}},
        "secrets": [_secret("database-login")],
        "shm_size": "268435456",
        "stop_grace_period": "1m0s",
        "stop_signal": "SIGINT",
        "user": "999:999",
        "volumes": [
            _volume("db", "/var/lib/postgresql/data"),
            _bind(directory / "init.sql", "/docker-entrypoint-initdb.d/init.sql"),
        ],
    }


def _gateway(directory: Path) -> dict[str, Any]:
    return _common("nginx:1") | {
        "depends_on": {"letta-server": {"condition": "service_started", "required": True}},
        "entrypoint": ["/etc/letta-stack/gateway/start"],
        "healthcheck": _check(["CMD", "curl", "http://127.0.0.1:8080/nginx-health"]),
        "networks": {"edge": None},
        "ports": [
            {
                "mode": "ingress",
                "host_ip": "127.0.0.1",
                "target": 8080,
                "published": "8283",
                "protocol": "tcp",
            }
        ],
        "stop_grace_period": "10m0s",
        "tmpfs": ["/tmp"],
        "user": "101:101",
        "volumes": [
            _bind(directory / "gateway", "/etc/letta-stack/gateway"),
            _bind(directory / "gateway" / "static", "/srv/static"),
            _bind(Path("/dev/null"), "/etc/letta-stack/client-ca.pem"),
        ],
    }


def _check(test: list[str]) -> dict[str, Any]:
    times = {"interval": "10s", "timeout": "3s", "start_period": "30s", "start_interval": "500ms"}
    return {**({"test": test} if test else {}), **times, "retries": 3}


def _secret(name: str) -> dict[str, Any]:
    return {"source": name, "target": f"/run/secrets/{name}"}


def _volume(source: str, target: str) -> dict[str, Any]:
    return {"type": "volume", "source": source, "target": target, "volume": {}}


def _bind(source: Path, target: str) -> dict[str, Any]:
    return {
        "type": "bind",
        "source": str(source),
        "target": target,
        "read_only": True,
        "bind": {"create_host_path": True},
    }
