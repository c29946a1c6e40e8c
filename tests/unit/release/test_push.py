"""What `inv build --push` and `inv promote` hand to the publisher, and what a dry run leaves alone."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.base import git
from letta_stack.base.git import Checkout
from letta_stack.base.paths import ROOT
from letta_stack.errors import BadReference, LowDisk
from letta_stack.image import server, third_party
from letta_stack.image.server import Request
from letta_stack.registry import oci
from letta_stack.registry.reference import Target
from letta_stack.registry.repository import Repository
from letta_stack.release import build, promote, push, version_check
from letta_stack.release.options import Options
from tests.support.layouts import Memory

if TYPE_CHECKING:
    from letta_stack.release.publisher import Publisher

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REQUEST = Request(("linux/amd64",), images="hub", otelcol="release")
OPTIONS = Options([], ["a.example/letta/letta"], plain_http=["a.example:80"])
DIGEST = "sha256:" + "a" * 64


@pytest.fixture(autouse=True)
def checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git, "read", lambda _: Checkout(COMMIT, 1_700_000_000))


@pytest.fixture(autouse=True)
def bases(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = third_party.Selection({"DEBIAN_IMAGE": "debian@sha256:1"}, {}, ())
    monkeypatch.setattr(third_party, "choose", lambda *_, **__: plan)


@pytest.mark.parametrize("no_cache", [False, True])
def test_a_push_is_labelled_with_its_inputs_and_built_anew_without_cache(
    no_cache: bool, published: list[tuple[str, Publisher, dict[str, Any]]]
) -> None:
    ca = Path("ca.pem")
    both = ("linux/amd64", "linux/arm64")
    request = Request(both, images="hub", otelcol="release", ca=ca, no_cache=no_cache)
    days = [dt.datetime.now(tz=dt.UTC).date()]

    assert push.push(OPTIONS, request, say=print) == DIGEST

    ((name, publisher, options),) = published
    assert name == "push"
    assert options["reuse"] is not no_cache
    assert options["needed_bytes"] == 2 * build.BYTES_PER_PLATFORM
    assert publisher.wanted.labels[server.INPUTS_LABEL] == build.inputs(request)
    assert publisher.wanted.labels[server.REVISION_LABEL] == COMMIT
    assert publisher.wanted.day in {*days, dt.datetime.now(tz=dt.UTC).date()}
    assert publisher.targets == [Target("a.example", "letta/letta")]
    assert (publisher.plain_http, publisher.ca) == (["a.example:80"], ca)
    assert publisher.say is print


def test_the_build_has_the_labels_and_is_started_once(
    published: list[tuple[str, Publisher, dict[str, Any]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built: list[tuple[list[str], dict[str, str]]] = []
    started: list[Path] = []
    monkeypatch.setattr(
        server, "run", lambda _, output, labels, **__: built.append((output, labels))
    )
    monkeypatch.setattr(version_check, "check_answer", lambda path, *_: started.append(path))
    push.push(OPTIONS, REQUEST, say=print)
    ((_, publisher, options),) = published

    options["arguments"][0](tmp_path / "x.tar")

    ((output, labels),) = built
    assert labels == publisher.wanted.labels
    assert f"--output=type=oci,dest={tmp_path / 'x.tar'},force-compression=true" in output
    assert started == [tmp_path / "x.tar"]


def test_an_image_is_inspected_for_the_version_of_its_tag(
    published: list[tuple[str, Publisher, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[tuple[object, object]] = []
    monkeypatch.setattr(version_check, "check_metadata", lambda *one: checked.append(one))
    push.push(OPTIONS, REQUEST, say=print)
    ((_, publisher, _),) = published
    image = oci.Image(oci.Manifest(b"{}", oci.INDEX_TYPE), Memory())

    publisher.inspect(image)

    assert checked == [(image, publisher.wanted.version)]


@pytest.mark.parametrize("untagged", [False, True])
def test_a_machine_that_cannot_build_is_noticed_first(
    untagged: bool,
    published: list[tuple[str, Publisher, dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: Request) -> None:
        raise LowDisk("full")

    monkeypatch.setattr(build, "check_machine", refuse)

    with pytest.raises(LowDisk):
        push.push(OPTIONS, REQUEST, say=print, untagged=untagged)
    assert published == []


def test_an_untagged_push_only_uploads(
    published: list[tuple[str, Publisher, dict[str, Any]]],
) -> None:
    assert push.push(OPTIONS, REQUEST, say=print, untagged=True) == DIGEST

    ((name, _, options),) = published
    assert name == "upload"
    assert options["needed_bytes"] == build.BYTES_PER_PLATFORM


def test_a_dry_run_of_a_push_shows_plan_and_command(
    published: list[tuple[str, Publisher, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[tuple[Any, ...]] = []
    monkeypatch.setattr(server, "run", lambda *given, dry_run: runs.append((*given, dry_run)))

    assert push.push(OPTIONS, REQUEST, say=print, dry_run=True) == ""

    ((name, publisher, _),) = published
    assert name == "preview"
    output = build.output_options("image.tar", git.read(ROOT))
    assert runs == [(REQUEST, output, publisher.wanted.labels, True)]


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_promotion_tags_digests_and_asks_for_no_inputs(
    dry_run: bool, published: list[tuple[str, Publisher, dict[str, Any]]]
) -> None:
    done = promote.promote(OPTIONS, REQUEST, [DIGEST], say=print, dry_run=dry_run)

    ((name, publisher, options),) = published
    assert (done, name) == (("", "preview") if dry_run else (DIGEST, "promote"))
    assert server.INPUTS_LABEL not in publisher.wanted.labels
    assert publisher.wanted.commit == COMMIT
    assert publisher.wanted.day <= dt.datetime.now(tz=dt.UTC).date()
    if not dry_run:
        source, digests = options["arguments"]
        assert str(source.target) == "a.example/letta/letta"
        assert digests == [DIGEST]


def test_what_is_promoted_is_read_from_the_first_registry(
    published: list[tuple[str, Publisher, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[Target, dict[str, object]]] = []

    def note(target: Target, **options: object) -> Repository:
        opened.append((target, options))
        return Repository(target)

    monkeypatch.setattr(promote, "Repository", note)
    ca = Path("ca.pem")
    options = Options(["a.example", "b.example"], ["letta"], plain_http=["a.example"])

    assert promote.promote(options, replace(REQUEST, ca=ca), [DIGEST], say=print) == DIGEST

    assert opened == [
        (Target("a.example", "letta"), {"ca": ca, "plain_http": ["a.example"], "say": print})
    ]
    assert len(published[0][1].targets) == 2


@pytest.mark.parametrize(
    ("digests", "words"), [([], "no digest given"), (["latest"], "is no digest")]
)
def test_a_promotion_needs_digests(
    digests: list[str], words: str, published: list[tuple[str, Publisher, dict[str, Any]]]
) -> None:
    with pytest.raises(BadReference, match=words):
        promote.promote(OPTIONS, REQUEST, digests, say=print)
    assert published == []


def test_a_host_that_may_be_plain_has_no_scheme() -> None:
    options = Options([], ["a.example/letta/letta"], plain_http=["http://a.example"])

    with pytest.raises(BadReference, match="without a scheme"):
        options.targets()


def test_the_inputs_depend_on_bases_and_collector_and_not_on_platforms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    two = {"DEBIAN_IMAGE": "debian@sha256:1", "POSTGRES_IMAGE": "postgres@sha256:1"}
    ordered = []
    for references in (two, dict(reversed(two.items()))):
        plan = third_party.Selection(references, {}, ())
        monkeypatch.setattr(third_party, "choose", lambda *_, plan=plan, **__: plan)
        ordered.append(build.inputs(REQUEST))
    assert ordered[0] == ordered[1]

    first = build.inputs(REQUEST)
    both = Request(("linux/amd64", "linux/arm64"), images="hub", otelcol="release")
    assert build.inputs(both) == first

    compiled = Request(("linux/amd64",), images="hub", otelcol="build")
    assert build.inputs(compiled) != first
    plan = third_party.Selection({"DEBIAN_IMAGE": "debian@sha256:2"}, {}, ())
    monkeypatch.setattr(third_party, "choose", lambda *_, **__: plan)
    assert build.inputs(REQUEST) != first
