"""What the container decides from its environment, before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from entrypoint import database, environment, paths, plan
from entrypoint.errors import BadSecretFile, BadSetting, PartialDatabase

if TYPE_CHECKING:
    from pathlib import Path

PARTS = {
    "LETTA_PG_DB": "db",
    "LETTA_PG_USER": "me",
    "LETTA_PG_PASSWORD": "p%a@ss:/w?rd#1",
    "LETTA_PG_HOST": "pg.example",
    "LETTA_PG_PORT": "6432",
}


def read(path: str) -> str:
    files = {"/s/pw": "secret\n", "/s/two": " a b \r\n", "/s/empty": "\n"}
    if path not in files:
        raise FileNotFoundError(2, "No such file or directory", path)
    return files[path]


def server(settings: dict[str, str]) -> dict[str, str]:
    made = plan.make_plan(settings)
    return plan.server_environment(
        settings,
        made,
        effective_database=made.database or plan.embedded_database("pgpw"),
        encryption_key="key",
        server_password="pw" if made.secure else None,
        home="/home/letta",
    )


def test_an_empty_variable_counts_as_not_set() -> None:
    assert environment.drop_empty({"A": "", "B": "0"}) == {"B": "0"}


def test_a_secret_comes_from_the_file_that_its_file_form_names() -> None:
    resolved = environment.resolve_files(
        {"LETTA_SERVER_PASSWORD_FILE": "/s/pw", "OPENAI_API_KEY_FILE": "/s/two"}, read
    )

    assert resolved == {"LETTA_SERVER_PASSWORD": "secret", "OPENAI_API_KEY": " a b "}


def test_a_variable_that_means_a_file_stays_as_it_is() -> None:
    settings = {"SSL_CERT_FILE": "/etc/ca.pem", "LETTA_CONFIG_FILE": "/c"}

    assert settings == environment.resolve_files(settings, read)


@pytest.mark.parametrize(
    ("path", "reason"), [("/s/none", "No such file or directory"), ("/s/empty", "is empty")]
)
def test_a_secret_file_that_gives_nothing_is_an_error(path: str, reason: str) -> None:
    with pytest.raises(BadSecretFile, match=rf"{path}.*LETTA_PG_PASSWORD_FILE.*{reason}"):
        environment.resolve_files({"LETTA_PG_PASSWORD_FILE": path}, read)


def test_both_forms_of_one_secret_are_an_error() -> None:
    with pytest.raises(BadSetting, match="both LETTA_PG_URI and LETTA_PG_URI_FILE"):
        environment.resolve_files({"LETTA_PG_URI": "x", "LETTA_PG_URI_FILE": "/s/pw"}, read)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("true", True), ("True", True), ("1", True), ("false", False), ("OFF", False), ("", True)],
)
def test_a_switch_takes_any_spelling_of_yes_and_no(value: str, expected: bool) -> None:
    assert expected == environment.flag({"X": value}, "X", default=True)


def test_a_switch_that_is_neither_yes_nor_no_is_an_error() -> None:
    with pytest.raises(BadSetting, match="X must be true or false, not 'maybe'"):
        environment.flag({"X": "maybe"}, "X", default=True)


@pytest.mark.parametrize("value", ["0", "65536", "http", "-1", "80 81", "\N{SUPERSCRIPT TWO}"])
def test_a_port_outside_its_range_is_an_error(value: str) -> None:
    with pytest.raises(BadSetting, match="PORT must be a whole number from 1 to 65535"):
        environment.port({"PORT": value}, "PORT", default=8283)


def test_everything_is_embedded_if_nothing_external_is_configured() -> None:
    assert plan.make_plan({}).services == ["postgres", "redis", "collector", "migrate", "letta"]


def test_what_is_external_is_not_started() -> None:
    made = plan.make_plan(
        {
            **PARTS,
            "LETTA_REDIS_HOST": "cache",
            "LETTA_OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel:4317",
        }
    )

    assert made.services == ["migrate", "letta"]
    assert made.redis == ("cache", 6379)


def test_some_of_the_five_parts_are_an_error_that_names_the_others() -> None:
    with pytest.raises(PartialDatabase, match="set LETTA_PG_PASSWORD, LETTA_PG_PORT as well"):
        plan.make_plan(
            {
                name: value
                for name, value in PARTS.items()
                if name not in {"LETTA_PG_PASSWORD", "LETTA_PG_PORT"}
            }
        )


def test_the_uri_goes_before_the_parts() -> None:
    made = plan.make_plan({"LETTA_PG_URI": "postgresql://u:p@other/x", "LETTA_PG_DB": "db"})

    assert made.database is not None
    assert made.database.address == "other:5432"


def test_a_password_survives_parts_uri_and_back() -> None:
    from_parts = database.from_environment(PARTS)

    assert from_parts is not None
    assert from_parts.password == PARTS["LETTA_PG_PASSWORD"]
    assert from_parts == database.from_uri(from_parts.server_uri())


def test_the_uri_for_alembic_has_no_secret_and_survives_interpolation() -> None:
    target = database.from_uri("postgresql+asyncpg://a%40b:pass%25word@h:1/d?sslmode=require")

    assert target.migration_uri() == "postgresql://a%%40b@h:1/d"


def test_the_server_is_always_told_what_to_do_about_tls() -> None:
    # Without the word `ssl` it forces TLS as soon as its connection pool is on.
    target = database.from_uri("postgresql://u:p@h/d")

    assert target.server_uri() == "postgresql://u:p@h:5432/d?ssl=prefer"


def test_options_that_the_driver_takes_go_on_to_it() -> None:
    target = database.from_uri("postgresql://u:p@h/d?target_session_attrs=read-write")

    assert target.server_uri() == (
        "postgresql://u:p@h:5432/d?target_session_attrs=read-write&ssl=prefer"
    )


@pytest.mark.parametrize(
    "parameter",
    [
        *("application_name=x", "connect_timeout=10", "keepalives=1", "channel_binding=prefer"),
        "pgbouncer=true",
    ],
)
def test_a_parameter_that_only_tunes_libpq_is_left_out(parameter: str) -> None:
    target = database.from_uri(f"postgresql://u:p@h/d?sslmode=require&{parameter}")

    assert target.server_uri() == "postgresql://u:p@h:5432/d?ssl=require"


@pytest.mark.parametrize(
    ("parameter", "advice"),
    [
        ("channel_binding=sometimes", "remove it"),
        ("connection_limit=1", "LETTA_PG_POOL_SIZE"),
        ("options=-csearch_path%3Dx", "on the role instead"),
        ("service=mine", "remove it"),
    ],
)
def test_a_parameter_that_the_driver_does_not_know_is_refused_by_name(
    parameter: str, advice: str
) -> None:
    name = parameter.partition("=")[0]

    with pytest.raises(BadSetting, match=rf"parameter '{name}'.*remove it.*") as raised:
        database.from_uri(f"postgresql://u:s3cret@h/d?sslmode=require&{parameter}")

    assert advice in str(raised.value)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("query", "mode"),
    [
        # As Neon and Supabase show it.
        ("sslmode=require&channel_binding=require", "verify-full"),
        ("channel_binding=require&sslmode=require", "verify-full"),
        ("channel_binding=require", "verify-full"),
        ("sslmode=verify-ca&channel_binding=require", "verify-ca"),
        ("sslmode=verify-full&channel_binding=require", "verify-full"),
        ("sslrootcert=system", "verify-full"),
        ("sslmode=verify-ca&sslrootcert=system", "verify-full"),
    ],
)
def test_what_a_parameter_promises_the_certificate_keeps(query: str, mode: str) -> None:
    target = database.from_uri(f"postgresql://u:p@h/d?{query}")

    assert target.server_uri() == f"postgresql://u:p@h:5432/d?ssl={mode}"
    assert target.driver_environment() == {"PGSSLROOTCERT": str(paths.CA_BUNDLE)}


@pytest.mark.parametrize("parameter", ["channel_binding=require", "sslrootcert=system"])
def test_a_promise_without_tls_is_refused(parameter: str) -> None:
    with pytest.raises(BadSetting, match=f"{parameter}, which needs TLS, and sslmode=disable"):
        database.from_uri(f"postgresql://u:p@h/d?sslmode=disable&{parameter}")


def test_a_service_link_of_kubernetes_is_no_setting() -> None:
    links = {
        "LETTA_REDIS_PORT": "tcp://10.96.0.12:6379",
        "LETTA_REDIS_PORT_6379_TCP": "tcp://10.96.0.12:6379",
        "LETTA_PG_PORT": "tcp://10.96.0.13:5432",
    }
    own = {"LETTA_REDIS_HOST": "letta-redis", "PORT": "9000"}

    settings = environment.drop_service_links({**links, **own})

    assert settings == {**own, "LETTA_REDIS_PORT_6379_TCP": "tcp://10.96.0.12:6379"}
    assert plan.make_plan(settings).redis == ("letta-redis", 6379)
    assert plan.make_plan(settings).database is None


def test_certificate_files_travel_in_the_variables_of_the_driver() -> None:
    target = database.from_uri("postgresql://u:p@h/d?sslmode=verify-full&sslrootcert=/ca.pem")

    assert "ca.pem" not in target.server_uri()
    assert target.driver_environment() == {"PGSSLROOTCERT": "/ca.pem"}
    assert target == database.from_server_environment(
        {"LETTA_PG_URI": target.server_uri(), **target.driver_environment()}
    )


@pytest.mark.parametrize(
    ("mode", "tries"),
    [
        ("disable", ["plain"]),
        ("allow", ["plain", "tls"]),
        ("prefer", ["tls", "plain"]),
        ("require", ["tls"]),
    ],
)
def test_tls_modes_mean_what_libpq_says(mode: str, tries: list[str]) -> None:
    target = database.from_uri(f"postgresql://u:p@h/d?sslmode={mode}")

    choices = database.tls_choices(target)

    assert tries == ["plain" if choice is False else "tls" for choice in choices]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("mysql://u:s3cret@h/d", "must begin with postgresql://"),
        ("postgresql://u:s3cret@h", "must have the form"),
        ("postgresql://u:s3cret@h:port/d", "percent-encoded"),
        ("postgresql://u:s3cret@h/d?sslmode=yes", "sslmode in LETTA_PG_URI must be one of"),
    ],
)
def test_a_bad_uri_is_an_error_that_does_not_repeat_it(uri: str, message: str) -> None:
    with pytest.raises(BadSetting, match=message) as caught:
        database.from_uri(uri)

    assert "s3cret" not in str(caught.value)


def test_no_repr_shows_the_password() -> None:
    assert "s3cret" not in repr(database.from_uri("postgresql://u:s3cret@h/d"))


def test_no_collector_is_started_for_a_server_without_tracing() -> None:
    settings = {"LETTA_DISABLE_TRACING": "true"}

    assert plan.make_plan(settings).collector is None
    assert "LETTA_OTEL_EXPORTER_OTLP_ENDPOINT" not in server(settings)


def test_the_server_is_pointed_at_what_is_embedded() -> None:
    result = server({})

    assert result["LETTA_PG_URI"] == "postgresql://letta:pgpw@127.0.0.1:5432/letta?ssl=disable"
    assert result["LETTA_REDIS_HOST"] == "127.0.0.1"
    assert result["LETTA_OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:4317"
    assert result["LETTA_LOGGING_JSON_LOGGING"] == "true"


def test_spans_are_short_unless_the_operator_wants_them_long() -> None:
    own = server({"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "100000"})

    assert server({})["OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"] == "16384"
    assert own["OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"] == "100000"


def test_the_server_gets_the_uri_and_the_pool_but_no_parts() -> None:
    result = server({**PARTS, "LETTA_PG_POOL_SIZE": "5"})

    assert sorted(name for name in result if name.startswith("LETTA_PG_")) == [
        "LETTA_PG_MAX_OVERFLOW",
        "LETTA_PG_POOL_SIZE",
        "LETTA_PG_POOL_TIMEOUT",
        "LETTA_PG_URI",
    ]
    assert result["LETTA_PG_POOL_SIZE"] == "5"


def test_the_connections_to_postgresql_are_bounded() -> None:
    result = server({})

    assert result["LETTA_DISABLE_SQLALCHEMY_POOLING"] == "false"
    # PostgreSQL has 100 by default, and others want some as well.
    assert int(result["LETTA_PG_POOL_SIZE"]) + int(result["LETTA_PG_MAX_OVERFLOW"]) <= 50


def test_authentication_is_on_unless_it_is_switched_off() -> None:
    # The server takes exactly `true`; with `True` it would be open.
    assert server({"LETTA_SERVER_SECURE": "True"})["LETTA_SERVER_SECURE"] == "true"
    assert server({})["LETTA_SERVER_PASSWORD"] == "pw"
    opened = server({"LETTA_SERVER_SECURE": "false", "LETTA_SERVER_PASSWORD": "unused"})
    assert opened["LETTA_SERVER_SECURE"] == "false"
    assert "LETTA_SERVER_PASSWORD" not in opened


def test_metrics_are_cumulative_unless_the_operator_wants_differences() -> None:
    assert server({})["LETTA_OTEL_PREFERRED_TEMPORALITY"] == "2"
    own = server({"LETTA_OTEL_PREFERRED_TEMPORALITY": "1"})
    assert own["LETTA_OTEL_PREFERRED_TEMPORALITY"] == "1"


def test_an_authority_makes_both_connections_tls_with_names_checked() -> None:
    settings = {**PARTS, "LETTA_REDIS_HOST": "cache", "LETTA_STACK_INTERNAL_CA": "/ca.pem"}
    made = plan.make_plan(settings)
    assert made.database is not None
    environment_ = server(settings)

    assert made.database.ssl_mode == "verify-full"
    assert made.authorities == {"postgres": "/ca.pem", "redis": "/ca.pem"}
    assert environment_["LETTA_PG_URI"].endswith("?ssl=verify-full")
    assert environment_["PGSSLROOTCERT"] == environment_["LETTA_STACK_REDIS_CA"] == "/ca.pem"
    assert "LETTA_STACK_INTERNAL_CA" not in environment_


def test_what_a_uri_says_about_tls_goes_before_the_authority() -> None:
    uri = "postgresql://u:p@h/d?sslmode=verify-ca&sslrootcert=/own.pem"
    made = plan.make_plan({"LETTA_PG_URI": uri, "LETTA_STACK_INTERNAL_CA": "/ca.pem"})

    assert made.database is not None
    assert (made.database.ssl_mode, made.database.ssl_files["sslrootcert"]) == (
        "verify-ca",
        "/own.pem",
    )
    # The embedded Redis has no certificate.
    assert made.authorities == {"postgres": "/own.pem", "redis": ""}
    assert plan.make_plan({}).authorities == {"postgres": "", "redis": ""}


def test_an_authority_that_is_none_is_named_before_anything_is_tried(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    made = plan.make_plan({**PARTS, "LETTA_STACK_INTERNAL_CA": str(file)})

    with pytest.raises(BadSetting, match=r"names .*/ca\.pem, which is no readable PEM file"):
        plan.check_authority(made)
    file.write_text("no certificate")
    with pytest.raises(BadSetting, match="no readable PEM file with a certificate"):
        plan.check_authority(made)
    plan.check_authority(plan.make_plan({}))
