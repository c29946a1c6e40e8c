from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.engine import disk
from letta_stack.engine.inspect import Engine
from letta_stack.errors import BadValue, ImageUnavailable
from letta_stack.image import server, third_party
from letta_stack.image.sources import CA_VARIABLES, Sources, find_ca
from letta_stack.topology.catalogue import TOPOLOGIES

if TYPE_CHECKING:
    from pathlib import Path

ENGINE = Engine(
    version="26.1.5",
    containerd_store=True,
    architecture="amd64",
    root_dir="/",
    buildx="0.13.1",
    compose="2.26.1",
)


def sources(**flags: str) -> Sources:
    return Sources.of(
        **{"images": "auto", "otelcol": "auto", "letta_source": "", "ca": "", **flags}
    )


@pytest.fixture(autouse=True)
def no_ca_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"images": "quay"}, "--images 'quay' is not known; use one of: auto, hub, debian"),
        ({"otelcol": "none"}, "--otelcol 'none' is not known; use one of: auto, release, build"),
        ({"letta_source": "/no/such/place"}, "--letta-source '/no/such/place' is not a directory"),
        ({"ca": "/no/such.pem"}, "--ca names '/no/such.pem', which is not a file"),
    ],
)
def test_a_flag_that_cannot_be_meant_is_refused(flags: dict[str, str], says: str) -> None:
    with pytest.raises(BadValue) as raised:
        sources(**flags)

    assert str(raised.value).startswith(says)


def test_the_flag_wins_over_the_environment_and_our_variable_over_the_common_one(
    tmp_path: Path,
) -> None:
    files = {name: tmp_path / name for name in ("flag", "ours", "common")}
    for file in files.values():
        file.write_text("pem")
    environment = {"SSL_CERT_FILE": str(files["common"])}

    assert find_ca("", environment) == files["common"]
    environment["LETTA_STACK_CA"] = str(files["ours"])
    assert find_ca("", environment) == files["ours"]
    assert find_ca(str(files["flag"]), environment) == files["flag"]


def test_no_ca_is_fine() -> None:
    assert find_ca("", {"SSL_CERT_FILE": ""}) is None


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "letta_stack.image.sources.build_server", lambda **arguments: calls.append(arguments)
    )
    return calls


def test_platforms_may_be_repeated_or_joined_with_commas(built: list[dict[str, Any]]) -> None:
    sources().build(["linux/amd64,linux/arm64"])
    sources().build(["linux/amd64", "linux/arm64"])

    assert [call["platforms"] for call in built] == [["linux/amd64", "linux/arm64"]] * 2


def test_a_build_gets_what_the_user_gave(built: list[dict[str, Any]], tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.touch()
    given = sources(images="debian", otelcol="release", letta_source=str(tmp_path), ca=str(ca))

    given.build()
    given.build(no_cache=True, dry_run=True)

    usual = {
        "platforms": [],
        "images": "debian",
        "otelcol": "release",
        "letta_source": tmp_path,
        "ca": ca,
        "no_cache": False,
        "dry_run": False,
    }
    assert built == [usual, {**usual, "no_cache": True, "dry_run": True}]


@pytest.fixture
def ensured(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the images beside the server are asked with; the engine has the image `mine` alone."""
    calls: list[dict[str, Any]] = []

    def ensure(pins: object, **options: object) -> dict[str, str]:
        calls.append({"pins": pins, **options})
        return {"REDIS_IMAGE": "r"}

    monkeypatch.setattr(third_party, "ensure", ensure)
    monkeypatch.setattr(third_party, "is_local", lambda name: name == "mine")
    return calls


@pytest.mark.parametrize("server_", ["", "mine"])
def test_neither_a_topology_without_a_server_nor_an_image_of_ones_own_needs_a_build(
    server_: str, built: list[dict[str, Any]], ensured: list[dict[str, Any]]
) -> None:
    found = sources(images="hub").prepare(["REDIS_IMAGE"], ENGINE, server=server_)

    assert found == {"REDIS_IMAGE": "r"}
    assert ensured == [{"pins": ["REDIS_IMAGE"], "source": "hub", "ca": None}]
    assert built == []


def test_a_ca_and_what_only_a_registry_has_are_handed_on(
    ensured: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ca = tmp_path / "ca.pem"
    ca.touch()
    pulled: list[tuple[str, str]] = []
    monkeypatch.setattr(
        third_party, "pull", lambda reference, *, source: pulled.append((reference, source))
    )

    sources(images="hub", ca=str(ca)).prepare([], ENGINE, pulled=["vllm:1", "vllm:2"])

    assert pulled == [("vllm:1", "hub"), ("vllm:2", "hub")]
    assert ensured == [{"pins": [], "source": "hub", "ca": ca}]


def test_the_server_is_nothing_to_prepare_unless_it_is_named(
    built: list[dict[str, Any]], ensured: list[dict[str, Any]]
) -> None:
    sources().prepare([], ENGINE)

    assert built == []


def test_an_image_of_ones_own_that_is_not_there_is_refused(
    built: list[dict[str, Any]], ensured: list[dict[str, Any]]
) -> None:
    with pytest.raises(ImageUnavailable, match="LETTA_STACK_IMAGE names other, which is not on"):
        sources().prepare([], ENGINE, server="other")

    assert built == ensured == []


def test_an_unknown_platform_is_refused(built: list[dict[str, Any]]) -> None:
    with pytest.raises(BadValue, match="--platform 'linux/x86_64' is not known"):
        sources().build(["linux/amd64", "linux/x86_64"])

    assert built == []


@pytest.mark.parametrize(
    ("there", "asked"), [(True, []), (False, [True])], ids=["there", "missing"]
)
def test_room_to_build_is_asked_for_only_if_the_image_is_missing(
    there: bool, asked: list[bool], built: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(third_party, "is_local", lambda _: there)
    monkeypatch.setattr(disk, "check", lambda _, *, build: seen.append(build))
    monkeypatch.setattr(third_party, "ensure", lambda pins, **_: dict.fromkeys(pins, "made"))

    assert sources().prepare(TOPOLOGIES["dev"].images, ENGINE, server=server.image_name()) == {
        "POSTGRES_IMAGE": "made",
        "REDIS_IMAGE": "made",
        "NGINX_IMAGE": "made",
    }
    assert seen == asked
    assert len(built) == 1
