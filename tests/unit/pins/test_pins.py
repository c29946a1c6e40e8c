from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from letta_stack.base.paths import ROOT
from letta_stack.errors import BadPins, PinsDisagree
from letta_stack.pins import check, update
from letta_stack.pins.file import Pins, parse

if TYPE_CHECKING:
    from pathlib import Path


def test_the_projects_own_pins_can_be_read() -> None:
    assert Pins.load()["LETTA_VERSION"] == "0.16.8"


def test_comments_empty_lines_and_empty_values_are_fine(tmp_path: Path) -> None:
    text = "# why\n\nA=1\nB_SHA256=\nIMAGE=org/name:tag@sha256:00ff\n"

    assert parse(text, tmp_path) == {"A": "1", "B_SHA256": "", "IMAGE": "org/name:tag@sha256:00ff"}


@pytest.mark.parametrize(
    "line",
    ['A="1"', "A='1'", "A = 1", "A=1 2", "a=1", "A", "=1", "export A=1", "A=$B", " A=1", "A=1 # x"],
)
def test_a_line_that_some_reader_would_take_differently_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "pins.env"
    path.write_text(f"FIRST=1\n{line}\n")

    with pytest.raises(BadPins, match=re.escape(f"{path}:2: ")):
        Pins.load(path)


def test_a_pin_that_is_set_twice_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadPins, match=":3: A is set a second time"):
        parse("A=1\nB=2\nA=1\n", tmp_path / "pins.env")


def test_a_missing_file_says_where_to_stand(tmp_path: Path) -> None:
    with pytest.raises(BadPins, match="inside the letta-stack checkout"):
        Pins.load(tmp_path / "pins.env")


def test_a_missing_key_names_the_file() -> None:
    with pytest.raises(BadPins, match=r"pins\.env has no NO_SUCH_PIN"):
        Pins.load()["NO_SUCH_PIN"]


def test_every_file_of_the_project_agrees_with_its_pins() -> None:
    check.check(ROOT)


def test_a_dockerfile_default_that_differs_is_named_with_its_line() -> None:
    text = "ARG UV_VERSION=1\nARG OTHER=2\nARG UV_VERSION\n  ARG UV_VERSION=3\n"

    assert list(check.dockerfile_problems(text, {"UV_VERSION": "3"})) == [
        (1, "ARG UV_VERSION defaults to '1', pins.env has '3'")
    ]


def test_a_compose_image_without_a_pin_is_named_with_its_line() -> None:
    text = "services:\n  a:\n    image: redis:7\n  b:\n    image: ${B_IMAGE:?set}\n"

    assert list(check.compose_problems(text, {"B_IMAGE": "b:1"})) == [
        (3, "image 'redis:7' is not named by a pin")
    ]
    assert list(check.compose_problems("    image: ${B_IMAGE:?set}\n", {})) == [
        (1, "B_IMAGE is not in pins.env")
    ]


def test_disagreement_is_an_error_that_says_which_file_to_correct(tmp_path: Path) -> None:
    (tmp_path / "pins.env").write_text("UV_VERSION=2\n")
    (tmp_path / "Dockerfile").write_text("ARG UV_VERSION=1\n")

    with pytest.raises(PinsDisagree, match=r"^Dockerfile:1: .* correct this line"):
        check.check(tmp_path)


def test_an_update_changes_values_and_nothing_else() -> None:
    text = "# A=0\nA=1\n\nB=\n"

    assert update.replace_values(text, {"B": "2"}) == "# A=0\nA=1\n\nB=2\n"


def test_an_update_leaves_dockerfiles_that_agree(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pins.env").write_text((ROOT / "pins.env").read_text())
    shutil.copy(ROOT / "Dockerfile", tmp_path)
    shutil.copytree(ROOT / "images", tmp_path / "images")
    pins = Pins.load(tmp_path / "pins.env")
    monkeypatch.setattr(Pins, "load", lambda *_: pins)
    monkeypatch.setattr(update, "resolve_image", lambda reference: f"{reference}@sha256:{'a' * 64}")
    checksums = {"OTELCOL_SHA256_AMD64": "b" * 64, "OTELCOL_SHA256_ARM64": "c" * 64}
    monkeypatch.setattr(update, "resolve_otelcol", lambda _: checksums)

    update.update()

    monkeypatch.undo()
    check.check(tmp_path)
    updated = Pins.load(tmp_path / "pins.env")
    assert updated["OTELCOL_SHA256_ARM64"] == "c" * 64
    assert updated["POSTGRES_IMAGE"].endswith(f"@sha256:{'a' * 64}")


def test_the_collectors_checksums_are_found_in_the_releases_file() -> None:
    amd64, arm64 = "a" * 64, "b" * 64
    text = (
        f"{'c' * 64}  otelcol-contrib_0.96.0_darwin_amd64.tar.gz\n"
        f"{amd64}  otelcol-contrib_0.96.0_linux_amd64.tar.gz\n"
        f"{arm64}  otelcol-contrib_0.96.0_linux_arm64.tar.gz\n"
    )

    assert update.otelcol_checksums(text, "0.96.0") == {
        "OTELCOL_SHA256_AMD64": amd64,
        "OTELCOL_SHA256_ARM64": arm64,
    }


def test_a_checksum_that_the_release_does_not_list_is_not_invented() -> None:
    with pytest.raises(LookupError, match="does not list"):
        update.otelcol_checksums("not a checksum file\n", "0.96.0")
