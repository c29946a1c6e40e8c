"""The history of deployments and the one that has begun, as files in the project's own directory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from letta_stack.errors import DeployRefused
from letta_stack.topology import deployed
from letta_stack.topology.deployed import Deployment, Unfinished

if TYPE_CHECKING:
    from pathlib import Path

ONE = Deployment(
    when="2026-11-01T10:00:00Z",
    who="me",
    reference="letta-stack/letta:0.16.8",
    digest="sha256:1",
    tag="letta-stack/deployed:1",
    letta_version="0.16.8",
    replicas=2,
)


def number(count: int) -> Deployment:
    return replace(ONE, tag=f"letta-stack/deployed:{count}")


def test_a_project_that_was_never_deployed_has_no_history(tmp_path: Path) -> None:
    assert deployed.history("p", state=tmp_path) == []
    assert deployed.unfinished("p", state=tmp_path) is None
    deployed.end("p", state=tmp_path)


def test_the_history_is_kept_by_project_the_oldest_first(tmp_path: Path) -> None:
    first, second = number(1), replace(number(2), backup="/backups/1")
    deployed.record("p", first, state=tmp_path)
    deployed.record("p", second, state=tmp_path)

    assert deployed.history("p", state=tmp_path) == [first, second]
    assert deployed.history("other", state=tmp_path) == []
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["deployments.json"]


def test_only_the_last_deployments_are_kept(tmp_path: Path) -> None:
    for count in range(deployed.MOST + 2):
        deployed.record("p", number(count), state=tmp_path)

    kept = deployed.history("p", state=tmp_path)
    assert [one.tag for one in kept] == [number(n).tag for n in range(2, deployed.MOST + 2)]


@pytest.mark.parametrize("text", ["{", '[{"unknown": 1}]', "7"])
def test_a_history_that_cannot_be_read_is_named_and_never_overwritten(
    text: str, tmp_path: Path
) -> None:
    path = tmp_path / "p/deployments.json"
    path.parent.mkdir()
    path.write_text(text)

    with pytest.raises(DeployRefused, match=r"deployments\.json is not what `inv deploy` wrote"):
        deployed.record("p", ONE, state=tmp_path)

    assert path.read_text() == text


def test_what_has_begun_is_known_until_it_ends(tmp_path: Path) -> None:
    begun = Unfinished(started=1.5, to=ONE)
    deployed.begin("p", begun, state=tmp_path)

    assert deployed.unfinished("p", state=tmp_path) == begun
    assert deployed.unfinished("other", state=tmp_path) is None
    deployed.end("p", state=tmp_path)
    assert deployed.unfinished("p", state=tmp_path) is None


@pytest.mark.parametrize(
    "text", ["", "{", "{}", '{"started": 1}', '{"started": 1, "to": {"x": 1}}']
)
def test_a_beginning_that_cannot_be_read_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/deploying.json").write_text(text)

    assert deployed.unfinished("p", state=tmp_path) is None


def test_the_last_deployed_image_runs_unless_the_shell_names_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[Deployment] = []
    monkeypatch.setattr(deployed, "history", lambda project: rows if project == "p" else [])
    monkeypatch.delenv("LETTA_STACK_IMAGE", raising=False)

    assert deployed.variables("p") == {}
    rows += [number(1), number(2)]
    assert deployed.variables("p") == {"LETTA_STACK_IMAGE": "letta-stack/deployed:2"}
    assert deployed.variables("other") == {}
    monkeypatch.setenv("LETTA_STACK_IMAGE", "mine")
    assert deployed.variables("p") == {}


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a/b/file.json"

    deployed.write(path, "1")
    deployed.write(path, "2")

    assert path.read_text() == "2\n"
    assert list(path.parent.iterdir()) == [path]
