from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.base.process import Completed
from letta_stack.errors import BuildFailed, CommandFailed, EngineMissing
from letta_stack.image import server, third_party
from letta_stack.pins.file import Pins

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PINS = Pins.load()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
REQUEST = server.Request(("linux/amd64", "linux/arm64"))


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
