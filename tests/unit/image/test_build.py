from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.base.process import Completed
from letta_stack.engine import inspect
from letta_stack.errors import BadSource, BuildFailed, CommandFailed, EngineMissing, LettaCode
from letta_stack.image import collector, server, third_party
from letta_stack.pins.file import Pins

if TYPE_CHECKING:
    from collections.abc import Sequence

PINS = Pins.load()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
REQUEST = server.Request(("linux/amd64", "linux/arm64"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in server.LETTA_CONTEXT:
        (tmp_path / name).write_text("")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "letta"\nversion = "0.16.8"\n')
    return tmp_path


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """Nothing on the engine, no registry, no git; what would run is kept instead."""
    ran: list[Sequence[str]] = []
    monkeypatch.setattr(process, "probe", lambda *_, **__: Completed(1, "", ""))
    monkeypatch.setattr(process, "run", ran.append)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(inspect, "require", lambda: None)
    return ran


def run(*, otelcol: str = "build", dry_run: bool = False) -> None:
    server.build_server(
        platforms=(),
        letta_source=None,
        images="debian",
        otelcol=otelcol,
        ca=None,
        dry_run=dry_run,
    )


def test_every_pin_of_the_command_is_an_argument_of_the_dockerfile() -> None:
    arguments = set(re.findall(r"(?m)^ARG ([A-Z0-9_]+)=", DOCKERFILE))

    assert {
        *server.ARGUMENTS,
        *server.BASES,
        server.GO,
        "OTELCOL_SOURCE",
        "OTELCOL_OS",
    } == arguments


def test_the_context_is_what_dockerignore_lets_through() -> None:
    allowed = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }

    assert {*server.CONTEXT} - {".dockerignore", "Dockerfile", "pins.env"} == allowed


def test_the_dockerfile_reads_no_more_of_letta_than_is_hashed() -> None:
    copied = re.findall(r"COPY --from=letta-source ((?:/\S* ?)+)", DOCKERFILE)
    names = {name.strip("/") for group in copied for name in group.split() if name != "/rootfs"}

    assert {name for name in names if not name.startswith("rootfs")} == set(server.LETTA_CONTEXT)


def test_the_command_shows_everything_but_no_secret(tmp_path: Path) -> None:
    request = server.Request(
        ("linux/amd64",), letta_source=tmp_path, ca=tmp_path / "ca.pem", no_cache=True
    )

    command = server.argv(
        request, {"DEBIAN_IMAGE": "d"}, otelcol="release", labels={"a": "b"}, output=["--load"]
    )

    assert command[:4] == ["docker", "buildx", "build", "--provenance=false"]
    assert command[-2:] == ["--load", str(ROOT)]
    assert [
        one.partition("=")[2].partition("=")[0] for one in command if "--build-arg=" in one
    ] == [
        *server.ARGUMENTS,
        "DEBIAN_IMAGE",
        "OTELCOL_SOURCE",
    ]
    for option in (
        "--platform=linux/amd64",
        f"--build-arg=LETTA_SDIST_SHA256={PINS['LETTA_SDIST_SHA256']}",
        "--build-arg=DEBIAN_IMAGE=d",
        "--build-arg=OTELCOL_SOURCE=release",
        "--label=a=b",
        f"--build-context=letta-source={tmp_path}",
        f"--secret=id=ca,src={tmp_path}/ca.pem",
        "--no-cache",
    ):
        assert option in command


def test_a_command_has_no_option_that_nobody_asked_for() -> None:
    command = server.argv(REQUEST, {}, otelcol="build", labels={}, output=[])

    assert command[4] == "--platform=linux/amd64,linux/arm64"
    assert all(one.startswith("--build-arg=") for one in command[5:-1])


def test_a_build_makes_its_bases_first_and_labels_its_inputs(commands: list[Sequence[str]]) -> None:
    run()

    *bases, last = [command for command in commands if command[:3] == ["docker", "buildx", "build"]]
    assert [
        next(one for one in base if one.startswith("--file=")).split("/")[-2] for base in bases
    ] == [
        "debian",
        "postgres",
        "golang",
    ]
    native = server.Request((third_party.native(),), "debian", "build")
    assert [one for one in last if one.startswith("--label=")] == [
        f"--label=letta-stack.inputs={native.inputs()}",
        f"--label=org.opencontainers.image.version={PINS['LETTA_VERSION']}",
    ]
    assert third_party.into_engine(server.image_name()) in last


def test_the_release_of_the_collector_needs_no_go(commands: list[Sequence[str]]) -> None:
    run(otelcol="release")

    assert not [one for command in commands for one in command if "golang" in one]


def test_an_unchanged_tree_is_not_built_again(
    monkeypatch: pytest.MonkeyPatch,
    commands: list[Sequence[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    native = server.Request((third_party.native(),), "debian", "build")
    monkeypatch.setattr(process, "probe", lambda *_, **__: Completed(0, f"{native.inputs()}\n", ""))

    run()

    assert commands == []
    assert capsys.readouterr().err == f"{server.image_name()} is up to date\n"


def test_what_is_not_asked_for_is_decided_when_it_is_built() -> None:
    assert server.Request(REQUEST.platforms, "auto", "auto", None, None, no_cache=False) == REQUEST
    assert REQUEST.inputs() == server.Request(REQUEST.platforms[::-1]).inputs()


def test_no_cache_builds_what_is_up_to_date(
    monkeypatch: pytest.MonkeyPatch, commands: list[Sequence[str]], tmp_path: Path
) -> None:
    made: list[object] = []
    native = server.Request((third_party.native(),), "debian", "release")
    monkeypatch.setattr(process, "probe", lambda *_, **__: Completed(0, f"{native.inputs()}\n", ""))
    monkeypatch.setattr(third_party, "make", lambda _, **options: made.append(options))

    server.build_server(
        platforms=(),
        letta_source=None,
        images="debian",
        otelcol="release",
        ca=tmp_path / "ca.pem",
        no_cache=True,
    )

    (command,) = commands
    assert "--no-cache" in command
    assert f"--secret=id=ca,src={tmp_path}/ca.pem" in command
    assert made == [{"ca": tmp_path / "ca.pem", "no_cache": True}]


def test_a_platform_that_is_named_twice_is_built_once(commands: list[Sequence[str]]) -> None:
    server.build_server(
        platforms=("linux/arm64", "linux/arm64"),
        letta_source=None,
        images="debian",
        otelcol="release",
        ca=None,
    )

    assert "--platform=linux/arm64" in commands[-1]


@pytest.mark.parametrize(
    "other",
    [
        server.Request(("linux/amd64",)),
        server.Request(REQUEST.platforms, images="hub"),
        server.Request(REQUEST.platforms, otelcol="build"),
    ],
)
def test_another_request_is_another_image(other: server.Request) -> None:
    assert other.inputs() != REQUEST.inputs()


def test_a_source_tree_is_part_of_the_inputs(source: Path) -> None:
    request = server.Request(REQUEST.platforms, letta_source=source)
    before = request.inputs()

    (source / "letta").unlink()
    (source / "letta").mkdir()
    (source / "letta" / "main.py").write_text("x = 1\n")

    assert request.inputs() != before
    assert before != REQUEST.inputs()


def test_a_dry_run_shows_the_plan_and_does_nothing(
    commands: list[Sequence[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    run(dry_run=True)

    *bases, command = capsys.readouterr().out.splitlines()
    assert [line.partition("=")[0] for line in bases] == [
        "DEBIAN_IMAGE",
        "POSTGRES_IMAGE",
        "GOLANG_IMAGE",
    ]
    assert {line.partition(": ")[2] for line in bases} == {"to be built from Debian packages"}
    assert command.startswith("docker buildx build ")
    assert commands == []


def test_a_dry_run_says_which_bases_are_there(
    commands: list[Sequence[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "probe", lambda *_, **__: Completed(0, "", ""))

    run(dry_run=True, otelcol="release")

    *bases, _ = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[2] for line in bases] == ["there already"] * 2
    assert commands == []


def test_a_failed_build_has_its_own_error(
    monkeypatch: pytest.MonkeyPatch, commands: list[Sequence[str]]
) -> None:
    def fail(argv: Sequence[str]) -> None:
        if argv[-1] == str(ROOT):
            raise CommandFailed(argv, 1)

    monkeypatch.setattr(process, "run", fail)

    with pytest.raises(BuildFailed, match="not built"):
        run()
    assert commands == []


def test_without_an_engine_nothing_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "probe", lambda *_, **__: Completed(127, "", "not installed"))
    monkeypatch.setattr("shutil.which", lambda _: None)

    with pytest.raises(EngineMissing, match="inv engine"):
        run()


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
