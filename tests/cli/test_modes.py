"""What a task does with its flags together: modes, refusals, and what reaches standard output."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.errors import BadPins
from letta_stack.pins import check
from letta_stack.pins.file import Pins
from letta_stack.policy import monitoring
from letta_stack.policy.model import Finding
from letta_stack.topology.models import Model

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Ended

    Inv = Callable[..., Ended]
    Intercept = Callable[..., list[dict[str, Any]]]

BUILD = "letta_stack.image.sources:Sources.build"
PUSH = "letta_stack.release.push:push"
PROMOTE = "letta_stack.release.promote:promote"
REPRODUCIBLE = "letta_stack.release.reproducible:check_commit"
UPDATE = "letta_stack.pins.update:update"
DIGEST = f"sha256:{'b' * 64}"


@pytest.mark.parametrize(
    "flag",
    [
        ["--untagged"],
        ["--registry", "ghcr.io"],
        ["--repository", "me/letta"],
        ["--version", "0.16.8"],
        ["--revision", "2"],
        ["--channel", "nightly"],
        ["--allow-older"],
        ["--allow-letta-code"],
        ["--plain-http", "a.example"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("mode", [[], ["--check-reproducible"]], ids=["build", "reproducible"])
def test_a_flag_of_releases_without_push_is_refused(
    flag: list[str], mode: list[str], inv: Inv, intercept: Intercept
) -> None:
    calls = [intercept(place) for place in (BUILD, PUSH, REPRODUCIBLE)]

    ended = inv("build", *mode, *flag)

    assert (ended.code, calls) == (4, [[], [], []])
    assert ended.stderr == (
        f"error: {flag[0]} means nothing without --push; add it, or leave that out\n"
    )


def test_all_flags_that_mean_nothing_are_named_at_once(inv: Inv, intercept: Intercept) -> None:
    intercept(BUILD)

    ended = inv("build", "--untagged", "--allow-older", "--allow-dirty")

    assert "--untagged, --allow-older means nothing without --push" in ended.stderr


def test_allow_dirty_goes_with_a_push_or_a_comparison_only(inv: Inv, intercept: Intercept) -> None:
    calls = intercept(BUILD)

    ended = inv("build", "--allow-dirty")

    assert (ended.code, calls) == (4, [])
    assert "--allow-dirty means nothing without --push or --check-reproducible" in ended.stderr


@pytest.mark.parametrize(
    ("flags", "called"),
    [
        ([], [1, 0, 0]),
        (["--push"], [0, 1, 0]),
        (["--check-reproducible"], [0, 0, 1]),
        (["--push", "--check-reproducible"], [0, 1, 1]),
    ],
    ids=str,
)
def test_build_does_what_its_flags_name_and_nothing_else(
    flags: list[str], called: list[int], inv: Inv, intercept: Intercept
) -> None:
    calls = [intercept(place) for place in (BUILD, PUSH, REPRODUCIBLE)]

    assert inv("build", *flags).code == 0
    assert [len(one) for one in calls] == called


@pytest.mark.parametrize(
    ("place", "arguments"), [(PUSH, ["build", "--push"]), (PROMOTE, ["promote", DIGEST])]
)
def test_standard_output_has_the_digest_alone(
    place: str, arguments: list[str], inv: Inv, intercept: Intercept
) -> None:
    intercept(place, DIGEST)

    ended = inv(*arguments)

    assert (ended.code, ended.stdout, ended.stderr) == (0, f"{DIGEST}\n", "")


@pytest.mark.parametrize(
    ("place", "arguments"), [(PUSH, ["build", "--push"]), (PROMOTE, ["promote", DIGEST])]
)
def test_a_dry_run_has_no_digest_to_print(
    place: str, arguments: list[str], inv: Inv, intercept: Intercept
) -> None:
    intercept(place, "")

    assert inv(*arguments, "--dry-run").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (["build", "--push"], PUSH),
        (["build", "--check-reproducible"], REPRODUCIBLE),
        (["promote", DIGEST], PROMOTE),
        (["certs.make"], "letta_stack.certs.make:make"),
        (["certs.use"], "letta_stack.certs.make:use"),
    ],
    ids=str,
)
def test_how_it_goes_is_said_to_standard_error(
    arguments: list[str],
    place: str,
    inv: Inv,
    intercept: Intercept,
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls = intercept(place)
    inv(*arguments)

    calls[0]["say"]("pushing")

    assert capsys.readouterr() == ("", "pushing\n")


def test_tags_are_a_result(
    inv: Inv, intercept: Intercept, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = intercept("letta_stack.release.push:show_tags")
    inv("tags", "0.16.8")

    calls[0]["say"]("0.16.8")

    assert capsys.readouterr() == ("0.16.8\n", "")


def test_several_platforms_registries_and_repositories_add_up(
    inv: Inv, intercept: Intercept
) -> None:
    calls = intercept(PUSH)

    twice = ["--platform", "linux/arm64", "--platform", "linux/amd64"]
    twice += ["--registry", "a.io", "--registry", "b.io", "--repository", "x", "--repository", "y"]
    inv("build", "--push", *twice)

    assert calls[0]["request"].platforms == ("linux/arm64", "linux/amd64")
    assert calls[0]["options"].registries == ["a.io", "b.io"]
    assert calls[0]["options"].repositories == ["x", "y"]


def test_pins_shows_every_pin_and_checks_the_other_files(inv: Inv, intercept: Intercept) -> None:
    updates, checks = intercept(UPDATE), intercept("letta_stack.pins.check:check")

    ended = inv("pins")

    assert [line.split()[0] for line in ended.stdout.splitlines()] == list(Pins.load())
    assert (len(updates), len(checks)) == (0, 1)


def test_a_pin_without_a_value_is_shown_as_not_known(
    inv: Inv, intercept: Intercept, monkeypatch: pytest.MonkeyPatch
) -> None:
    intercept("letta_stack.pins.check:check")
    intercept("letta_stack.pins.file:Pins.load", {"A": "1", "B": ""})

    assert inv("pins").stdout == f"{'A':24} 1\n{'B':24} (not known yet)\n"


def test_pins_check_shows_nothing(inv: Inv, intercept: Intercept) -> None:
    updates, checks = intercept(UPDATE), intercept("letta_stack.pins.check:check")

    assert inv("pins", "--check").stdout == ""
    assert (len(updates), len(checks)) == (0, 1)


def test_pins_update_comes_before_the_check(
    inv: Inv, intercept: Intercept, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates = intercept(UPDATE)

    def refuse() -> None:
        raise BadPins(f"after {len(updates)} update")

    monkeypatch.setattr(check, "check", refuse)
    ended = inv("pins", "--check", "--update")

    assert (ended.code, ended.stderr) == (BadPins.exit_code, "error: after 1 update\n")


def test_lint_writes_what_a_program_reads_and_fails_all_the_same(
    inv: Inv, intercept: Intercept
) -> None:
    service = {"image": "x:1", "restart": "no"}
    found = Model("dev", "dev-compose.yaml", {"services": {"one": service}})
    intercept("letta_stack.topology.models:models", [found])

    for flags in ([], ["--json"], ["--sarif"]):
        ended = inv("lint", *flags)
        assert ended.code == 100
        assert "read-only" in ended.stdout
        if flags:
            json.loads(ended.stdout)


def test_lint_reads_alert_rules_and_dashboards_where_they_belong(
    inv: Inv, intercept: Intercept
) -> None:
    intercept("letta_stack.topology.models:models", [])
    broken = Finding("observability/x.yaml", "ApiDown", monitoring.ALERT, "has no runbook")
    intercept("letta_stack.policy.monitoring:check", [broken])

    assert inv("lint", "--env", "prod").code == 0
    assert inv("lint", "--file", "x.yaml").code == 0
    for flags in ([], ["--env", "observability"], ["--json"], ["--sarif"]):
        ended = inv("lint", *flags)
        assert ended.code == 100
        assert "has no runbook" in ended.stdout
        assert "observability/x.yaml" in ended.stdout


@pytest.mark.parametrize(
    ("task", "place"),
    [
        ("make", "letta_stack.certs.make:make"),
        ("use", "letta_stack.certs.make:use"),
        ("check", "letta_stack.certs.check:check_expiry"),
    ],
)
def test_certificates_are_compared_with_the_time_it_is(
    task: str, place: str, inv: Inv, intercept: Intercept
) -> None:
    intercept("letta_stack.certs.check:findings", [])
    calls = intercept(place)
    before = dt.datetime.now(tz=dt.UTC)

    inv(f"certs.{task}")

    assert before <= calls[0]["now"] <= dt.datetime.now(tz=dt.UTC)
