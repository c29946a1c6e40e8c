"""What `inv` adds to an entry point: TLS inside, and a debugger."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.certs import make, store
from letta_stack.policy.rules import RULES
from letta_stack.topology.project import Project

if TYPE_CHECKING:
    from collections.abc import Callable

    Render = Callable[..., dict[str, Any]]

ENCRYPTED = ["prod", "observability"]


@pytest.fixture
def certified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return what gives a topology certificates for TLS inside."""
    monkeypatch.setattr(store, "DIRECTORY", tmp_path / "certs")

    def certify(env: str) -> Path:
        directory = store.directory(Project.of(env).name)
        make.internal(directory, days=730, force=False, now=dt.datetime.now(tz=dt.UTC), say=print)
        return directory / store.INTERNAL

    return certify


@pytest.mark.parametrize("env", ENCRYPTED)
def test_certificates_inside_add_tls_and_keep_the_rest(
    env: str, render: Render, certified: Callable[[str], Path]
) -> None:
    plain = render(env)["services"]
    directory = certified(env)
    encrypted = render(env)["services"]

    for name in ("letta-db", "letta-redis"):
        # The overlay can only replace a command, so that it repeats it.
        assert encrypted[name]["command"][: len(plain[name]["command"])] == plain[name]["command"]
    assert {"ssl=on", "hba_file=/etc/letta-stack/pg_hba.conf"} <= {
        *encrypted["letta-db"]["command"]
    }
    redis = encrypted["letta-redis"]["command"]
    assert redis[redis.index("--port") + 1] == "0"
    for name in ("letta-server", "letta-migrate"):
        assert encrypted[name]["environment"]["LETTA_STACK_INTERNAL_CA"] in {
            one["target"]
            for one in encrypted[name]["volumes"]
            if one["source"] == str(directory / store.AUTHORITY)
        }
    for name, one in encrypted.items():
        seen = [rule.name for rule in RULES for _ in rule.problems(one)]
        assert seen == [rule.name for rule in RULES for _ in rule.problems(plain[name])], name


def test_what_watches_the_data_services_speaks_tls_with_them(
    render: Render, certified: Callable[[str], Path]
) -> None:
    certified("observability")
    services = render("observability")["services"]

    uri = services["letta-postgres-exporter"]["environment"]["DATA_SOURCE_URI"]
    assert "sslmode=verify-full" in uri
    assert services["letta-redis-exporter"]["environment"]["REDIS_ADDR"].startswith("rediss://")


def test_a_database_that_speaks_tls_writes_its_log_for_the_collector_as_well(
    render: Render, certified: Callable[[str], Path]
) -> None:
    plain = render("observability")
    certified("observability")
    encrypted = render("observability")

    # Each script starts the one after it.
    scripts = encrypted["services"]["letta-db"]["entrypoint"]
    assert scripts == ["/etc/letta-stack/start-with-logs", "/etc/letta-stack/start-with-tls"]
    mounts = {one["target"]: one for one in encrypted["services"]["letta-db"]["volumes"]}
    assert all(Path(mounts[script]["source"]).is_file() for script in scripts)
    for name in ("letta-nginx", "letta-db", "letta-collector"):
        logs = [
            [one for one in model["services"][name]["volumes"] if "/var/log/letta" in one["target"]]
            for model in (plain, encrypted)
        ]
        assert logs[0] == logs[1] != []
    assert encrypted["services"]["letta-db"]["init"] is True


@pytest.mark.parametrize(("given", "source"), [("", "/dev/null"), ("clients.pem", "clients.pem")])
def test_the_authority_of_clients_is_a_file_of_the_checkout_or_any_other(
    render: Render,
    checkout: Path,
    certified: Callable[[str], Path],
    given: str,
    source: str,
) -> None:
    directory = certified("prod").parent
    now = dt.datetime.now(tz=dt.UTC)
    make.make(directory, [], days=90, force=False, now=now, say=print)

    gateway = render("prod", LETTA_STACK_CLIENT_CA=given)["services"]["letta-nginx"]

    (mount,) = [one for one in gateway["volumes"] if one["target"].endswith("/client-ca.pem")]
    assert mount["source"] == str(checkout / source)
    assert mount["read_only"]
    assert gateway["environment"]["LETTA_STACK_CLIENT_CA"] == given


def test_a_debugger_is_never_published_to_others(render: Render) -> None:
    server = render("hot", LETTA_STACK_DEBUG_PORT="5678", LETTA_STACK_BIND="0.0.0.0")["services"][
        "letta-server"
    ]

    assert [(one["host_ip"], one["published"]) for one in server["ports"]] == [
        ("127.0.0.1", "5678")
    ]
    assert server["environment"]["LETTA_STACK_DEBUG"] == "true"
