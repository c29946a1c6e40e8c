"""Which images are taken from the registry, and which are built from Debian packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from letta_stack.base.process import Completed
from letta_stack.errors import CommandFailed, ImageUnavailable
from letta_stack.image import hub, third_party
from tests.support.hub import BOTH, DNS, PINNED, Registry, use

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


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


@pytest.mark.parametrize(
    ("code", "said", "there"),
    [
        (0, "", {"mine", "a/b:1"}),
        (1, "Error response from daemon: No such image: mine:latest", {"a/b:1"}),
        (1, "Error: No such image: a/b:1\nError: No such image: mine:latest", set()),
        (1, "Cannot connect to the Docker daemon", set()),
    ],
)
def test_the_engine_is_asked_once_which_images_it_has(
    code: int, said: str, there: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def probe(argv: Sequence[str]) -> Completed:
        asked.append(argv)
        return Completed(code, "", said)

    monkeypatch.setattr(process, "probe", probe)

    assert third_party.local(["mine", "a/b:1"]) == there
    assert len(asked) == 1


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
