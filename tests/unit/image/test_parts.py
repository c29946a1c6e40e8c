"""Where the parts of the server's image come from: Letta's source, the collector, what the Dockerfiles name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.base.process import Completed
from letta_stack.errors import BadSource, LettaCode
from letta_stack.image import collector, server
from letta_stack.pins.file import Pins

if TYPE_CHECKING:
    from collections.abc import Sequence

PINS = Pins.load()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
REQUEST = server.Request(("linux/amd64", "linux/arm64"))


def test_a_directory_that_is_no_source_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        BadSource, match=r"has no LICENSE; give the root of a Letta 0\.16 source tree"
    ):
        server.check_source(tmp_path)


def test_letta_code_is_refused(source: Path) -> None:
    (source / "pyproject.toml").write_text('[project]\nversion = "0.17.0"\n')

    with pytest.raises(LettaCode):
        server.check_source(source)


def test_a_project_without_a_version_is_refused(source: Path) -> None:
    (source / "pyproject.toml").write_text("[project]\n")

    with pytest.raises(BadSource, match=r"has no \[project\]\.version"):
        server.check_source(source)


def test_a_source_tree_gives_the_version(source: Path) -> None:
    assert server.check_source(source) == "0.16.8"
    assert server.check_source(None) == PINS["LETTA_VERSION"]


def test_the_collector_is_compiled_when_the_release_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import requests  # noqa: PLC0415 - as the code under test does

    asked: list[str] = []

    def refuse(url: str, *, timeout: float) -> None:
        assert timeout
        asked.append(url)
        raise requests.ConnectionError

    monkeypatch.setattr(requests, "head", refuse)
    collector.choose.cache_clear()

    assert collector.choose("auto") == "build"
    assert collector.choose("auto") == "build"
    assert asked == [f"{PINS['OTELCOL_BASE_URL']}/v{PINS['OTELCOL_VERSION']}/"]
    (said,) = capsys.readouterr().err.splitlines()
    assert said.endswith("does not answer (ConnectionError)")


@pytest.mark.parametrize("error", [None, "SSLError"])
def test_the_collector_is_downloaded_when_its_server_answers(
    monkeypatch: pytest.MonkeyPatch, error: str | None
) -> None:
    import requests  # noqa: PLC0415 - as the code under test does

    def answer(*_: object, **__: object) -> None:
        if error:
            raise getattr(requests.exceptions, error)

    monkeypatch.setattr(requests, "head", answer)
    collector.choose.cache_clear()

    assert collector.choose("auto") == "release"


def test_the_collector_is_made_of_modules_of_the_pinned_version() -> None:
    manifest = yaml.safe_load((ROOT / "otel/builder/manifest.yaml").read_text())
    dist = manifest.pop("dist")

    assert {dist["version"], dist["otelcol_version"]} == {PINS["OTELCOL_VERSION"]}
    modules = [entry["gomod"] for kind in manifest.values() for entry in kind]
    required = (ROOT / "otel/builder/go.mod").read_text().splitlines()
    for module in modules:
        assert module.endswith(f" v{PINS['OTELCOL_VERSION']}")
        assert f"\t{module}" in required
    tool = (ROOT / "otel/builder/tool/go.mod").read_text()
    assert f"go.opentelemetry.io/collector/cmd/builder v{PINS['OTELCOL_VERSION']}\n" in tool


def test_the_image_is_built_with_the_pinned_uv() -> None:
    locked = (ROOT / "requirements/image.txt").read_text()

    assert f"\nuv=={PINS['UV_VERSION']} \\\n" in locked


def test_nothing_in_the_dockerfiles_is_unpinned() -> None:
    for path in [ROOT / "Dockerfile", *sorted((ROOT / "images").glob("*/Dockerfile"))]:
        text = path.read_text()
        stages = set(re.findall(r"(?m)^FROM .* AS (\S+)$", text))
        for image in re.findall(r"(?m)^FROM (?:--platform=\S+ )?(\S+)", text):
            assert (
                image in stages
                or image == "scratch"
                or image.startswith(("$", "otelcol-$", "dependencies-$"))
            ), f"{path.relative_to(Path(ROOT))}: {image}"


@pytest.mark.parametrize(
    ("answer", "found"),
    [(Completed(0, " value\n", ""), "value"), (Completed(1, "value", "no such image"), "")],
)
def test_a_label_is_asked_of_the_engine(
    answer: Completed, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probe(argv: Sequence[str]) -> Completed:
        template = '--format={{index .Config.Labels "a.b"}}'
        assert argv == ["docker", "image", "inspect", template, "letta:1"]
        return answer

    monkeypatch.setattr(process, "probe", probe)

    assert server.label("letta:1", "a.b") == found


@pytest.mark.parametrize(
    ("answer", "labels"),
    [
        (Completed(0, "abc\n", ""), {"org.opencontainers.image.revision": "abc"}),
        (Completed(128, "abc", "not a git repository"), {}),
    ],
)
def test_the_commit_is_a_label_in_a_checkout(
    answer: Completed, labels: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def probe(argv: Sequence[str], *, cwd: Path) -> Completed:
        assert argv == ["git", "rev-parse", "--verify", "HEAD"]
        assert cwd == ROOT
        return answer

    monkeypatch.setattr(process, "probe", probe)

    assert server.revision() == labels


@pytest.mark.parametrize("name", server.LETTA_CONTEXT)
def test_every_part_of_the_source_tree_must_be_there(name: str, source: Path) -> None:
    (source / name).unlink()

    with pytest.raises(BadSource, match=f"has no {name};"):
        server.check_source(source)
