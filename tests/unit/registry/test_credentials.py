from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from letta_stack.base.process import Completed
from letta_stack.errors import RegistryDenied
from letta_stack.registry import credentials
from letta_stack.registry.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HOST = "registry.example"
AUTH = base64.b64encode(b"user:pass:word").decode()
# Old clients of docker padded what they stored with zeros.
PADDED = base64.b64encode(b"user:wordX\0\0").decode()
NO_PASSWORD, NO_USER = (base64.b64encode(text).decode() for text in (b"user:", b":word"))


def config(directory: Path, document: object) -> Path:
    path = directory / "config.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("host", "document", "expected"),
    [
        (HOST, {}, None),
        (HOST, {"auths": {HOST: {}}}, None),
        (HOST, {"auths": {HOST: {"auth": AUTH}}}, Credentials("user", "pass:word")),
        (HOST, {"auths": {f"https://{HOST}": {"auth": AUTH}}}, Credentials("user", "pass:word")),
        (
            HOST,
            {"auths": {f"https://{HOST}/v2/": {"auth": AUTH}}},
            Credentials("user", "pass:word"),
        ),
        (HOST, {"auths": {HOST: {"auth": PADDED}}}, Credentials("user", "wordX")),
        (HOST, {"auths": {HOST: {"auth": NO_PASSWORD}}}, None),
        (HOST, {"auths": {HOST: {"auth": NO_USER}}}, None),
        (HOST, {"auths": None, "credHelpers": None}, None),
        (HOST, {"auths": {"other.example": {"auth": AUTH}}}, None),
        (HOST, {"auths": {HOST: {"identitytoken": "t"}}}, Credentials("", "", "t")),
        (
            "docker.io",
            {"auths": {"https://index.docker.io/v1/": {"auth": AUTH}}},
            Credentials("user", "pass:word"),
        ),
    ],
)
def test_the_configuration_file(
    host: str, document: object, expected: Credentials | None, tmp_path: Path
) -> None:
    assert credentials.find(host, config(tmp_path, document)) == expected


@pytest.mark.parametrize(("chosen", "expected"), [("elsewhere", "elsewhere"), ("", "home/.docker")])
def test_the_configuration_is_where_dockers_client_has_it(
    chosen: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / expected
    directory.mkdir(parents=True)
    config(directory, {"auths": {HOST: {"auth": AUTH}}})
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / chosen) if chosen else "")

    assert credentials.find(HOST) == Credentials("user", "pass:word")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()

    with pytest.raises(RegistryDenied, match=r"cannot read .*config\.json"):
        credentials.find(HOST, tmp_path / "config.json")


@pytest.mark.parametrize(
    ("host", "command"), [("docker.io", "docker login"), (HOST, f"docker login {HOST}")]
)
def test_what_the_user_types_to_log_in(host: str, command: str) -> None:
    assert credentials.login_command(host) == command


def test_no_configuration_is_no_login(tmp_path: Path) -> None:
    assert credentials.find(HOST, tmp_path / "config.json") is None


@pytest.mark.parametrize(
    "content",
    ["{", *(json.dumps({"auths": {HOST: {"auth": text}}}) for text in ("not base64!", f"{AUTH}!"))],
    ids=["json", "auth", "end"],
)
def test_a_damaged_file_is_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(content, encoding="utf-8")

    with pytest.raises(RegistryDenied, match=rf"config\.json.*docker login {HOST}"):
        credentials.find(HOST, path)


@pytest.mark.parametrize(
    ("document", "helper"),
    [
        ({"credHelpers": {HOST: "one"}, "credsStore": "two"}, "one"),
        ({"credHelpers": {"other.example": "one"}, "credsStore": "two"}, "two"),
    ],
)
def test_helpers_get_the_host_on_stdin(
    document: object, helper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Sequence[str], str | None]] = []

    def probe(argv: Sequence[str], *, stdin: str | None, timeout: float | None) -> Completed:
        asked.append((argv, stdin))
        assert timeout == credentials.HELPER_TIMEOUT_SECONDS  # one that hangs is given up
        return Completed(0, json.dumps({"Username": "user", "Secret": "word"}), "")

    monkeypatch.setattr(process, "probe", probe)

    assert credentials.find(HOST, config(tmp_path, document)) == Credentials("user", "word")
    assert asked == [([f"docker-credential-{helper}", "get"], HOST)]


def answer(monkeypatch: pytest.MonkeyPatch, completed: Completed) -> None:
    monkeypatch.setattr(process, "probe", lambda *_, **__: completed)


def test_a_refresh_token_is_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, Completed(0, json.dumps({"Username": "<token>", "Secret": "t"}), ""))

    found = credentials.find(HOST, config(tmp_path, {"credsStore": "x"}))

    assert found == Credentials("", "", "t")


def test_a_helper_without_an_entry_is_no_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, Completed(1, "credentials not found in native keychain\n", ""))

    assert credentials.find(HOST, config(tmp_path, {"credsStore": "x"})) is None


@pytest.mark.parametrize(
    ("completed", "reason"),
    [
        (Completed(1, "s3cret", "keyring is locked\nmore"), "keyring is locked"),
        (Completed(3, '{"Username": "user", "Secret": "s3cret"}', ""), "exit code 3"),
        (Completed(0, "s3cret", ""), "exit code 0"),
        (Completed(0, '{"Secret": "s3cret"}', " \n"), "exit code 0"),
    ],
)
def test_a_broken_helper_is_named_without_what_it_printed(
    completed: Completed, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, completed)

    with pytest.raises(RegistryDenied) as caught:
        credentials.find(HOST, config(tmp_path, {"credsStore": "x"}))

    assert f"docker-credential-x gave no credentials for {HOST} ({reason})" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    entry = {"auth": AUTH, "identitytoken": "token"}
    found = credentials.find(HOST, config(tmp_path, {"auths": {HOST: entry}}))

    assert found == Credentials("user", "pass:word", "token")
    assert repr(found) == "Credentials(username='user')"


def test_docker_hub_has_its_old_name_for_helpers_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []

    def probe(_: Sequence[str], *, stdin: str | None = None, **__: object) -> Completed:
        asked.append(stdin)
        return Completed(1, "", "credentials not found")

    monkeypatch.setattr(process, "probe", probe)

    assert credentials.find("docker.io", config(tmp_path, {"credsStore": "x"})) is None
    assert asked == ["https://index.docker.io/v1/"]
