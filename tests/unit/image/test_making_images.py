"""How the images from Debian packages are built and named."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from letta_stack.base import content_hash, process
from letta_stack.base.paths import ROOT
from letta_stack.errors import BootstrapMissing, BuildFailed, CommandFailed
from letta_stack.image import bootstrap, third_party
from tests.support.hub import BOTH, PINNED, PINS, Registry, use

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


def test_a_second_call_does_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    selection = third_party.choose(list(PINNED), source="debian", platforms=BOTH)
    use(monkeypatch, Registry(local=list(selection.rebuilt.values())))

    third_party.make(selection, ca=None)  # conftest.py fails the test if this starts a process


def test_making_builds_the_base_before_what_stands_on_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(monkeypatch, Registry())
    commands: list[Sequence[str]] = []
    monkeypatch.setattr(process, "run", commands.append)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    selection = third_party.choose(["NGINX_IMAGE"], source="debian", platforms=BOTH)

    third_party.make(selection, ca=tmp_path / "ca.pem")

    unpacking, loading, base, nginx = commands
    assert unpacking[:-1] == [*bootstrap.COMMAND]
    assert unpacking[-1].endswith(".tar")  # mmdebstrap goes by the name
    assert loading == ["docker", "import", unpacking[-1], bootstrap.reference(third_party.native())]
    for name, command in {"debian": base, "nginx": nginx}.items():
        assert command[:4] == ["docker", "buildx", "build", "--provenance=false"]
        assert f"--file={third_party.IMAGES}/{name}/Dockerfile" in command
        assert "--no-cache" not in command
        assert command[-1] == str(third_party.IMAGES)
    assert f"--build-arg=BOOTSTRAP_IMAGE={bootstrap.reference(third_party.native())}" in commands[2]
    assert third_party.into_engine(selection.base) in commands[2]
    assert f"--build-arg=DEBIAN_IMAGE={selection.base}" in commands[3]
    assert f"--secret=id=ca,src={tmp_path}/ca.pem" in commands[3]
    assert "--platform=linux/amd64,linux/arm64" in commands[3]


def test_without_cache_everything_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    selection = third_party.choose(["NGINX_IMAGE"], source="debian", platforms=BOTH)
    there = [*selection.rebuilt.values(), bootstrap.reference(third_party.native())]
    use(monkeypatch, Registry(local=there))
    commands: list[list[str]] = []
    monkeypatch.setattr(process, "run", commands.append)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")

    third_party.make(selection, ca=None, no_cache=True)

    assert [command[0] for command in commands] == ["mmdebstrap", "docker", "docker", "docker"]
    assert [command[-1] for command in commands[2:]] == ["--no-cache", "--no-cache"]
    assert not any("--secret" in word for command in commands for word in command)


def test_a_build_without_cache_that_failed_is_not_covered_by_the_last_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    selection = third_party.choose(["REDIS_IMAGE"], source="debian", platforms=BOTH)
    use(
        monkeypatch,
        Registry(local=[*selection.rebuilt.values(), bootstrap.reference(third_party.native())]),
    )
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")

    def fail(argv: Sequence[str]) -> None:
        raise CommandFailed(argv, 1)

    monkeypatch.setattr(process, "run", fail)

    with pytest.raises(BuildFailed):
        third_party.make(selection, ca=None, no_cache=True)


def test_the_debian_base_is_small_and_keeps_the_licences() -> None:
    command = bootstrap.COMMAND

    assert command[0] == "mmdebstrap"
    assert PINS["DEBIAN_IMAGE"] == f"debian:{command[-1]}-slim"
    assert {"--quiet", "--variant=minbase", "--include=usr-is-merged"} < {*command}
    # Debian's own, which makes /bin a link to /usr/bin.
    assert "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr" in command
    excluded = {one.partition("=path-exclude=")[2] for one in command if "=path-exclude=" in one}
    assert excluded == {f"/usr/share/{name}/*" for name in ("doc", "info", "locale", "man")}
    assert "--dpkgopt=path-include=/usr/share/doc/*/copyright" in command


def test_a_tag_is_short_and_names_the_directory() -> None:
    name, _, content = third_party.tag("REDIS_IMAGE", base="a", platforms=BOTH).partition(":")

    assert name == "letta-stack/redis"
    assert len(content) == len(bootstrap.reference(third_party.native()).partition(":")[2]) == 16
    assert bootstrap.reference(third_party.native()).startswith("letta-stack/bootstrap:")


def test_a_base_that_was_made_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made = bootstrap.reference(third_party.native())
    use(monkeypatch, Registry(local=[made]))
    commands: list[list[str]] = []
    monkeypatch.setattr(process, "run", commands.append)

    third_party.make(third_party.choose([], source="debian", platforms=BOTH), ca=None)

    (command,) = commands
    assert f"--build-arg=BOOTSTRAP_IMAGE={made}" in command


def test_an_image_that_is_here_needs_no_answer_of_a_silent_registry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, Registry(local=[PINNED["REDIS_IMAGE"]], silent=True))

    native = (third_party.native(),)
    selection = third_party.choose(
        ["POSTGRES_IMAGE", "REDIS_IMAGE"], source="auto", platforms=native
    )

    assert selection.references["REDIS_IMAGE"] == PINNED["REDIS_IMAGE"]


@pytest.mark.parametrize(
    "dockerfile", sorted(third_party.IMAGES.glob("*/Dockerfile")), ids=lambda path: path.parent.name
)
def test_every_program_that_a_dockerfile_takes_is_part_of_its_tag(
    dockerfile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []

    def digest(_: Path, paths: Iterable[Path], __: object) -> str:
        hashed.extend(paths)
        return "0" * 64

    monkeypatch.setattr(content_hash, "digest", digest)

    third_party.tag(f"{dockerfile.parent.name.upper()}_IMAGE", base="", platforms=BOTH)

    taken = re.findall(r"source=(bin/[^,\s]+)", dockerfile.read_text())
    assert {dockerfile.parent, *(third_party.IMAGES / name for name in taken)} <= {*hashed}


def test_a_missing_mmdebstrap_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Registry())
    monkeypatch.setattr("shutil.which", lambda _: None)

    with pytest.raises(BootstrapMissing, match=r"`inv engine` as root .* or use --images hub"):
        third_party.make(third_party.choose([], source="debian", platforms=BOTH), ca=None)


def test_a_failed_build_says_that_it_can_be_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    selection = third_party.choose(["REDIS_IMAGE"], source="debian", platforms=BOTH)
    use(monkeypatch, Registry(local=[selection.base]))

    def fail(argv: Sequence[str]) -> None:
        raise CommandFailed(argv, 1)

    monkeypatch.setattr(process, "run", fail)

    with pytest.raises(
        BuildFailed, match=r"cannot build letta-stack/redis:.*finished steps are kept"
    ):
        third_party.make(selection, ca=None)


def test_two_runs_may_make_the_same_image(monkeypatch: pytest.MonkeyPatch) -> None:
    selection = third_party.choose(["REDIS_IMAGE"], source="debian", platforms=BOTH)
    use(monkeypatch, Registry(local=[selection.base]))

    def lose_the_race(argv: Sequence[str]) -> None:
        use(monkeypatch, Registry(local=list(selection.rebuilt.values())))
        raise CommandFailed(argv, 1)

    monkeypatch.setattr(process, "run", lose_the_race)

    third_party.make(selection, ca=None)


def test_the_tag_names_everything_that_goes_into_an_equivalent() -> None:
    base = third_party.tag("REDIS_IMAGE", base="a", platforms=BOTH)

    assert base != third_party.tag("REDIS_IMAGE", base="b", platforms=BOTH)
    assert base != third_party.tag("REDIS_IMAGE", base="a", platforms=BOTH[:1])
    assert (
        base.partition(":")[2]
        != third_party.tag("NGINX_IMAGE", base="a", platforms=BOTH).partition(":")[2]
    )


def test_every_image_that_a_pin_names_has_an_equivalent() -> None:
    fragments = [path.read_text() for path in ROOT.glob("compose/services/llm-*.yaml")]
    # Of language models there are no Debian packages.
    registry_only = set(re.findall(r"\$\{(\w+_IMAGE)", "".join(fragments)))
    pins = [pin for pin in PINS if pin.endswith("_IMAGE") and pin not in registry_only]

    assert registry_only == {"OLLAMA_IMAGE", "VLLM_IMAGE"}
    assert [
        pin
        for pin in pins
        if not (third_party.IMAGES / third_party.directory(pin) / "Dockerfile").is_file()
    ] == []
