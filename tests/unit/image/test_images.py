from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from letta_stack.base import content_hash, process
from letta_stack.base.paths import ROOT
from letta_stack.base.process import Completed
from letta_stack.errors import BootstrapMissing, BuildFailed, CommandFailed, ImageUnavailable
from letta_stack.image import bootstrap, hub, third_party
from letta_stack.pins.file import Pins

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

PINS = Pins.load()
PINNED = {pin: PINS[pin] for pin in ("DEBIAN_IMAGE", "POSTGRES_IMAGE", "REDIS_IMAGE")}
BOTH = ("linux/amd64", "linux/arm64")
DNS = (
    "ERROR: failed to solve: x: failed to resolve source metadata for docker.io/library/x: failed to do request: "
    'Head "https://registry.example/v2/": dial tcp: lookup registry.example: no such host\n'
)


class Registry:
    """Answers for docker: which references the registry gives, which the engine has."""

    def __init__(self, *gives: str, local: Sequence[str] = (), silent: bool = False) -> None:
        self.gives = gives
        self.local = local
        self.silent = silent
        self.asked: list[str] = []

    def probe(
        self, argv: Sequence[str], *, stdin: str = "", timeout: float | None = None
    ) -> Completed:
        if argv[:-1] == ["docker", "image", "inspect", "--format={{.Id}}"]:
            return Completed(0 if argv[-1] in self.local else 1, "", "")
        assert timeout == hub.REGISTRY_SECONDS
        question = ["docker", "buildx", "build", "--quiet", "--provenance=false"]
        assert argv[:6] == [*question, "--output=type=cacheonly"]
        assert argv[6].startswith("--platform=linux/")
        assert argv[7:] == ["-"]
        reference = stdin.removeprefix("FROM ").strip()
        self.asked.append(reference)
        if self.silent:
            return Completed(124, "", "no answer within 20 s")
        return Completed(0, "", "") if reference in self.gives else Completed(1, "", DNS)


@pytest.fixture(autouse=True)
def fresh() -> None:
    hub.unavailable.cache_clear()
    third_party._say.cache_clear()  # noqa: SLF001 - once per run, and each test is a run


def use(monkeypatch: pytest.MonkeyPatch, registry: Registry) -> Registry:
    monkeypatch.setattr(process, "probe", registry.probe)
    return registry


def test_hub_takes_the_pinned_references(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Registry(*PINNED.values()))

    selection = third_party.choose(list(PINNED), source="hub", platforms=BOTH)

    assert selection.references == PINNED
    assert selection.rebuilt == {}


def test_hub_without_a_registry_says_which_image_why_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, Registry(PINNED["DEBIAN_IMAGE"]))

    with pytest.raises(ImageUnavailable) as raised:
        third_party.choose(list(PINNED), source="hub", platforms=BOTH)

    message = str(raised.value)
    assert message.startswith(
        f"cannot get {PINNED['POSTGRES_IMAGE']} for linux/amd64 and linux/arm64: Head"
    )
    assert "no such host" in message
    assert "--images debian" in message
    assert "\n" not in message


def test_debian_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = use(monkeypatch, Registry())

    selection = third_party.choose(["REDIS_IMAGE"], source="debian", platforms=BOTH)

    assert registry.asked == []
    assert list(selection.rebuilt) == ["DEBIAN_IMAGE", "REDIS_IMAGE"]
    assert selection.references == {"REDIS_IMAGE": selection.rebuilt["REDIS_IMAGE"]}
    assert selection.references["REDIS_IMAGE"].startswith("letta-stack/redis:")


def test_auto_without_a_registry_takes_equivalents_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, Registry())

    selections = [third_party.choose(list(PINNED), source="auto", platforms=BOTH) for _ in range(2)]

    assert selections[0] == selections[1]
    assert list(selections[0].rebuilt) == list(PINNED)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert all(reference in said[0] for reference in PINNED.values())
    assert "no such host" in said[0]


def test_auto_works_when_only_some_images_can_be_pulled(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Registry(PINNED["DEBIAN_IMAGE"], PINNED["REDIS_IMAGE"]))

    selection = third_party.choose(["POSTGRES_IMAGE", "REDIS_IMAGE"], source="auto", platforms=BOTH)

    assert selection.references["REDIS_IMAGE"] == PINNED["REDIS_IMAGE"]
    assert list(selection.rebuilt) == ["POSTGRES_IMAGE"]
    assert selection.base == PINNED["DEBIAN_IMAGE"]


def test_auto_asks_a_silent_registry_once(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = use(monkeypatch, Registry(silent=True))

    selection = third_party.choose(["POSTGRES_IMAGE", "REDIS_IMAGE"], source="auto", platforms=BOTH)

    assert len(selection.rebuilt) == 3
    # The images of the topology share one question; the base they are built from is the second.
    assert len(registry.asked) == 2


def test_an_image_that_the_engine_has_needs_no_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = use(monkeypatch, Registry(local=list(PINNED.values())))

    selection = third_party.choose(list(PINNED), source="auto", platforms=(third_party.native(),))

    assert selection.references == PINNED
    assert registry.asked == []


def test_an_image_for_another_platform_is_asked_for_though_it_is_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = use(monkeypatch, Registry(local=list(PINNED.values())))

    third_party.choose(["REDIS_IMAGE"], source="auto", platforms=BOTH)

    assert PINNED["REDIS_IMAGE"] in registry.asked


def test_auto_takes_what_it_built_earlier_without_asking(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built = third_party.choose(["REDIS_IMAGE"], source="debian", platforms=BOTH)
    registry = use(monkeypatch, Registry(local=list(built.rebuilt.values())))

    again = third_party.choose(["REDIS_IMAGE"], source="auto", platforms=BOTH)

    assert again == built
    assert registry.asked == []
    assert "built earlier; --images hub asks the registry again" in capsys.readouterr().err


def test_what_was_built_earlier_does_not_stand_for_an_image_that_is_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built = third_party.choose(["REDIS_IMAGE"], source="debian", platforms=BOTH)
    use(monkeypatch, Registry(local=[*built.rebuilt.values(), *PINNED.values()]))

    native = (third_party.native(),)
    again = third_party.choose(["REDIS_IMAGE"], source="auto", platforms=native)

    assert again.references == {"REDIS_IMAGE": PINNED["REDIS_IMAGE"]}


def test_hub_does_not_take_what_was_built_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    built = third_party.choose(["REDIS_IMAGE"], source="debian", platforms=BOTH)
    use(monkeypatch, Registry(PINNED["REDIS_IMAGE"], local=list(built.rebuilt.values())))

    again = third_party.choose(["REDIS_IMAGE"], source="hub", platforms=BOTH)

    assert again.rebuilt == {}


def test_a_registry_that_says_no_is_asked_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = use(monkeypatch, Registry())

    third_party.choose(["POSTGRES_IMAGE", "REDIS_IMAGE"], source="auto", platforms=BOTH)

    assert registry.asked == [
        PINNED[pin] for pin in ("POSTGRES_IMAGE", "REDIS_IMAGE", "DEBIAN_IMAGE")
    ]


@pytest.mark.parametrize("source", ["hub", "debian"])
def test_up_gets_what_is_missing_for_this_machine(
    source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(monkeypatch, Registry(*PINNED.values(), local=[PINNED["REDIS_IMAGE"]]))
    commands: list[list[str]] = []
    made: list[object] = []
    monkeypatch.setattr(process, "run", commands.append)
    monkeypatch.setattr(
        third_party,
        "make",
        lambda selection, *, ca: made.append((dict(selection.rebuilt), selection.platforms, ca)),
    )
    ca = tmp_path / "ca.pem"

    pins = ["POSTGRES_IMAGE", "REDIS_IMAGE"]
    found = third_party.ensure(pins, source=source, ca=ca)

    native = (third_party.native(),)
    fresh_ = third_party.choose(pins, source=source, platforms=native)
    assert found == fresh_.references
    assert made == [(fresh_.rebuilt, native, ca)]
    missing = [one for one in found.values() if one != PINNED["REDIS_IMAGE"]]
    assert commands == [["docker", "pull", one] for one in missing]


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


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        (
            DNS,
            'Head "https://registry.example/v2/": dial tcp: lookup registry.example: no such host',
        ),
        ("no answer within 20 s", "no answer within 20 s"),
        ("a\nERROR: x: not found\n\n", "x: not found"),
        ("ERROR: first\nERROR: last\nnoise\n", "last"),
        ("first\nlast\n", "last"),
        ("", "no reason given"),
    ],
)
def test_the_reason_is_the_end_of_the_last_error(stderr: str, reason: str) -> None:
    assert hub.reason_of(stderr) == reason


def test_bases_are_made_for_this_machine_too_because_build_stages_run_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(third_party, "native", lambda: "linux/amd64")

    selection = third_party.choose(["POSTGRES_IMAGE"], source="debian", platforms=("linux/arm64",))

    assert selection.platforms == BOTH


@pytest.mark.parametrize("source", ["auto", "hub", "debian"])
def test_an_image_that_is_there_is_not_pulled(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Registry(local=["a/b:1"]))
    monkeypatch.setattr(process, "run", lambda argv: pytest.fail(f"ran {argv}"))

    third_party.pull("a/b:1", source=source)


def test_an_image_that_only_a_registry_has_is_pulled(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Registry())
    ran: list[Sequence[str]] = []
    monkeypatch.setattr(process, "run", ran.append)

    third_party.pull("a/b:1", source="auto")

    assert ran == [["docker", "pull", "a/b:1"]]
    with pytest.raises(ImageUnavailable, match="a/b:1 is in no Debian package"):
        third_party.pull("a/b:1", source="debian")


def test_an_image_that_no_registry_gives_is_named_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(argv: Sequence[str]) -> None:
        raise CommandFailed(argv, 1)

    use(monkeypatch, Registry())
    monkeypatch.setattr(process, "run", fail)

    with pytest.raises(ImageUnavailable, match=r"cannot pull a/b:1 .* --llm-endpoint URL"):
        third_party.pull("a/b:1", source="hub")
