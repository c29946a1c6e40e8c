"""Each patch of the server, against a stand-in for the module that it changes.

That the real modules still look like that is what the smoke tests show.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import importlib
import os
import re
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from entrypoint import confidential, patches, startup, tracing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def server_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/bin")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("LETTA_PG_URI", "s3cret")
    monkeypatch.setenv("OPENAI_API_KEY", "s3cret")
    monkeypatch.setenv("LETTA_SERVER_PASSWORD", "s3cret")


class Sandbox:
    async def _gather_env_vars(
        self, _agent_state: Any, additional_env_vars: Any, sbx_id: str, is_local: bool
    ) -> dict[str, str]:
        # As upstream's: what is configured, on top of the environment for a local sandbox.
        environment = os.environ.copy() if is_local else {}
        environment.update({"SANDBOX": sbx_id, **(additional_env_vars or {})})
        return environment


def gathered(*, is_local: bool) -> dict[str, str]:
    module = SimpleNamespace(AsyncToolSandboxBase=type("Patched", (Sandbox,), {}))
    confidential.hide_environment_from_tools(module)
    sandbox = module.AsyncToolSandboxBase()
    gather = sandbox._gather_env_vars(None, {"OPENAI_API_KEY": "own"}, "sbx", is_local)  # noqa: SLF001 - what is patched
    return dict(asyncio.run(gather))


def test_a_tool_sees_no_secret_of_the_server() -> None:
    environment = gathered(is_local=True)

    assert "s3cret" not in environment.values()
    assert environment["PATH"] == "/bin"
    assert environment["LC_ALL"] == "C.UTF-8"


def test_a_tool_sees_what_is_configured_for_it() -> None:
    assert gathered(is_local=True)["OPENAI_API_KEY"] == "own"
    assert gathered(is_local=False) == {"SANDBOX": "sbx", "OPENAI_API_KEY": "own"}


def test_pip_sees_no_secret_of_the_server_but_what_its_caller_added() -> None:
    seen = []
    module = SimpleNamespace(
        create_venv_for_local_sandbox=lambda **options: seen.append(options["env"]),
        install_pip_requirements_for_sandbox=lambda _, **options: seen.append(options["env"]),
    )
    confidential.hide_environment_from_pip(module)

    module.create_venv_for_local_sandbox(env={**os.environ, "ADDED": "x"})
    module.install_pip_requirements_for_sandbox("configs", env=None)

    for environment in seen:
        assert "s3cret" not in environment.values()
        assert environment["PATH"] == "/bin"
    assert seen[0]["ADDED"] == "x"


def test_the_configuration_file_gets_no_uri_and_the_server_keeps_it() -> None:
    class Config:
        recall_storage_uri: str | None = "s3cret"
        archival_storage_uri: str | None = "s3cret"
        metadata_storage_uri: str | None = None
        saved: tuple[str | None, ...] = ("nothing",)

        def save(self) -> None:
            self.saved = (self.recall_storage_uri, self.archival_storage_uri)

    confidential.keep_uri_out_of_config_file(SimpleNamespace(LettaConfig=Config))
    config = Config()
    config.save()

    assert config.saved == (None, None)
    assert config.recall_storage_uri == "s3cret"


def test_the_password_is_not_printed_and_other_lines_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    module: Any = ModuleType("app")
    confidential.keep_password_out_of_log(module)

    module.print("secure mode with password: s3cret")
    module.print("server", "starts")

    assert capsys.readouterr().out == "server starts\n"
    assert builtins.print is not module.print


def test_the_openapi_schema_is_made_by_upstream_but_on_request_and_without_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["letta"])
    app: Any = SimpleNamespace(openapi_schema=None, openapi=lambda: {"paths": {}})

    def generate_openapi_schema(app: Any) -> None:
        app.openapi_schema = {**app.openapi(), "title": "Letta API"}
        module.Path("openapi_letta.json").write_text("{}")

    module: Any = SimpleNamespace(app=app, generate_openapi_schema=generate_openapi_schema)
    startup.postpone_openapi_schema(module)
    assert sys.argv == ["letta", "--no-generation"]
    startup.make_openapi_schema_on_request(module)

    assert sys.argv == ["letta"]
    assert vars(app)["openapi_schema"] is None
    assert app.openapi() == {"paths": {}, "title": "Letta API"}
    assert app.openapi_schema == {"paths": {}, "title": "Letta API"}
    assert list(tmp_path.iterdir()) == []


def test_the_server_downloads_nothing_while_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ModuleType("nltk")
    monkeypatch.setitem(sys.modules, "nltk", real)
    seen = []

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[str]:
        seen.append(importlib.import_module("nltk"))
        assert seen[0].download("punkt_tab", quiet=True)
        yield "state"

    router = SimpleNamespace(lifespan_context=lifespan)
    startup.start_without_nltk(SimpleNamespace(app=SimpleNamespace(router=router)))

    async def live() -> None:
        async with router.lifespan_context(None) as state:
            assert state == "state"
            assert sys.modules["nltk"] is real

    asyncio.run(live())

    assert seen != [real]


@pytest.mark.parametrize(
    ("looks", "waits"),
    [
        # Taken at once; given back by another replica; held by one that hangs.
        ([True], 0),
        ([False, False, True], 2),
        ([False] * 9, 3),
    ],
)
def test_the_server_starts_under_a_lock_that_it_gives_back(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    looks: list[bool],
    waits: int,
) -> None:
    events: list[str] = []
    clock = [0.0]

    class Connection:
        async def execute(self, statement: str) -> None:
            events.append(statement.partition(";")[0])

        async def fetchval(self, statement: str) -> bool:
            assert "pg_try_advisory_xact_lock" in statement
            events.append("look")
            return looks.pop(0)

        async def close(self) -> None:
            events.append("close")

    async def connect(**_: Any) -> Connection:
        return Connection()

    async def sleep(_: float) -> None:
        clock[0] += 20.0

    asyncpg = SimpleNamespace(connect=connect, InterfaceError=KeyError)
    monkeypatch.setitem(sys.modules, "asyncpg", asyncpg)
    monkeypatch.setenv("LETTA_PG_URI", "postgresql://u:p@h/d")
    monkeypatch.setattr(startup, "asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(startup, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        events.append("start")
        yield

    router = SimpleNamespace(lifespan_context=lifespan)
    startup.start_one_at_a_time(SimpleNamespace(app=SimpleNamespace(router=router)))

    async def live() -> None:
        async with router.lifespan_context(None):
            events.append("live")

    asyncio.run(live())

    # Whoever waits has no transaction open.
    look = ["BEGIN", "look"]
    gives_up = waits == 3
    assert events == [
        *[*look, "ROLLBACK"] * waits,
        *([*look, "ROLLBACK"] if gives_up else look),
        *("start", "ROLLBACK", "close", "live"),
    ]
    assert ("not waiting" in capsys.readouterr().err) is gives_up


def test_health_checks_make_no_spans() -> None:
    expressions: list[str] = []
    tracing.trace_no_health_checks(SimpleNamespace(_excluded_v1_endpoints_regex=expressions))
    (pattern,) = expressions

    assert re.match(pattern, "GET /v1/health/")
    assert not re.match(pattern, "GET /v1/agents/")


def test_tracing_of_sqlalchemy_finds_its_engine() -> None:
    module: Any = SimpleNamespace(DatabaseRegistry=type("DatabaseRegistry", (), {}), engine="it")
    patches.allow_sqlalchemy_tracing(module)

    assert module.DatabaseRegistry().get_async_engine() == "it"


def test_shutdown_does_not_wait_for_the_watchdog() -> None:
    class Watchdog:
        timeout_threshold = 15.0
        _thread: object = SimpleNamespace(join=lambda **_: pytest.fail("waited"))

        def stop(self) -> None:
            if self._thread:
                self._thread.join(timeout=2)  # type: ignore[attr-defined]

    patches.stop_watchdog_at_once(SimpleNamespace(EventLoopWatchdog=Watchdog))

    watchdog = Watchdog()
    watchdog.stop()

    assert watchdog.timeout_threshold > 1e9


def test_decorated_functions_stay_as_they_are() -> None:
    module: Any = SimpleNamespace()
    startup.check_no_types_at_run_time(module)

    assert module.typechecked(len) is len
    assert module.typechecked(collection_check_strategy="all")(len) is len


def test_what_checks_a_parameter_is_made_once_and_when_it_is_needed() -> None:
    made: list[Any] = []

    def type_adapter(what: Any) -> Any:
        made.append(what)
        return what

    class ModelField:
        def __init__(self, annotation: Any) -> None:
            self.field_info = SimpleNamespace(annotation=annotation)
            self.__post_init__()

        def __post_init__(self) -> None:
            self._type_adapter = "made at once"

    module = SimpleNamespace(ModelField=ModelField, TypeAdapter=type_adapter)
    startup.make_validators_on_demand(module)
    fields: list[Any] = [ModelField(int), ModelField(str)]
    assert made == []

    adapters = [fields[1]._type_adapter for _ in range(2)]  # noqa: SLF001 - what is patched

    assert made == [Annotated[str, fields[1].field_info]]
    assert adapters == made * 2


def test_a_patch_runs_when_its_module_is_imported_and_not_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "patched_by_test.py").write_text("seen = before\nvalue = 'upstream'\n")
    (tmp_path / "left_alone_by_test.py").write_text("value = 'upstream'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(
        patches, "BEFORE", {"patched_by_test": (lambda module: setattr(module, "before", 1),)}
    )
    monkeypatch.setattr(
        patches, "AFTER", {"patched_by_test": (lambda module: setattr(module, "value", "ours"),)}
    )
    finders = len(sys.meta_path)
    patches.install()
    patches.install()

    assert len(sys.meta_path) == finders + 2
    patched = importlib.import_module("patched_by_test")
    assert (patched.seen, patched.value) == (1, "ours")
    assert importlib.import_module("left_alone_by_test").value == "upstream"


def test_a_client_that_is_dropped_closes_nothing_by_itself() -> None:
    finalised = []
    client = type("Client", (), {"__del__": lambda _: finalised.append("closed")})
    patches.close_no_client_from_its_finaliser(SimpleNamespace(AsyncHttpxClientWrapper=client))

    client()  # dropped at once

    assert finalised == []


class RedisClient:
    def __init__(self, host: str, port: int, password: str | None = None) -> None:
        self.address = (host, port)
        self.password = password


@pytest.mark.parametrize("given", ["s3cret", None])
def test_redis_gets_the_password_that_is_set(
    given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LETTA_REDIS_PASSWORD", raising=False)
    if given:
        monkeypatch.setenv("LETTA_REDIS_PASSWORD", given)
    module = SimpleNamespace(AsyncRedisClient=type("Patched", (RedisClient,), {}))
    patches.give_redis_its_password(module)

    client = module.AsyncRedisClient(host="redis", port=6379)

    assert (client.address, client.password) == (("redis", 6379), given)


class Pool:
    def __init__(self, **options: Any) -> None:
        self.options = options


def test_redis_is_spoken_to_by_tls_where_there_is_an_authority(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secure = object()
    monkeypatch.setitem(sys.modules, "redis.asyncio", SimpleNamespace(SSLConnection=secure))
    monkeypatch.delenv("LETTA_STACK_REDIS_CA", raising=False)
    plain, encrypted = SimpleNamespace(ConnectionPool=Pool), SimpleNamespace(ConnectionPool=Pool)

    patches.speak_tls_with_redis(plain)
    monkeypatch.setenv("LETTA_STACK_REDIS_CA", "/ca.pem")
    patches.speak_tls_with_redis(encrypted)

    assert plain.ConnectionPool(host="redis").options == {"host": "redis"}
    assert encrypted.ConnectionPool(host="redis").options == {
        "host": "redis",
        "connection_class": secure,
        "ssl_ca_certs": "/ca.pem",
        "ssl_check_hostname": True,
    }
