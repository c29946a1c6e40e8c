"""`inv render`, without compose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from letta_stack.errors import BadSecret, BadValue
from letta_stack.topology import clustered
from letta_stack.topology.runners.compose import Compose
from tests.support import compose_model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    compose_model.write_files(mounted)
    found = compose_model.model(mounted)
    monkeypatch.setattr(Compose, "config", lambda _: found)
    return found


def test_without_a_directory_all_is_one_text(capsys: pytest.CaptureFixture[str]) -> None:
    clustered.render(clustered.Clustered.of("kubernetes"), out="")

    said = capsys.readouterr()
    kinds = [one["kind"] for one in yaml.safe_load_all(said.out)]
    assert kinds[0] == "Namespace"
    assert kinds.count("Deployment") == 4
    assert "not expressed: services.letta-server.logging" not in said.out
    assert "not expressed: services.letta-server.logging" in said.err


def test_a_directory_is_replaced_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    clustered.render(clustered.Clustered.of("kubernetes", database="trial"), out=str(out))
    assert (out / "letta-db.yaml").exists()

    clustered.render(clustered.Clustered.of("kubernetes", database="external"), out=str(out))
    assert not (out / "letta-db.yaml").exists()
    assert (
        (out / "kustomization.yaml")
        .read_text()
        .startswith("# Made by `inv render --env kubernetes`")
    )


def test_a_directory_with_the_files_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")

    with pytest.raises(BadValue, match="give a new directory"):
        clustered.render(clustered.Clustered.of("kubernetes"), out=str(tmp_path))

    assert (tmp_path / "mine").exists()


def test_a_stack_comes_with_the_files_that_it_names(tmp_path: Path) -> None:
    clustered.render(clustered.Clustered.of("swarm", project="mine"), out=str(tmp_path / "out"))

    stack = yaml.safe_load((tmp_path / "out" / "stack.yaml").read_text())
    for body in stack["configs"].values():
        assert (tmp_path / "out" / body["file"]).exists()
        assert body["name"].startswith("mine_")


def test_a_secret_in_the_environment_is_refused(model: dict[str, Any]) -> None:
    model["services"]["letta-server"]["x-given"] = {"LETTA_SERVER_PASSWORD": "yes"}

    with pytest.raises(BadSecret):
        clustered.render(clustered.Clustered.of("kubernetes"), out="")


def test_a_topology_of_one_host_is_none_of_a_cluster() -> None:
    with pytest.raises(BadValue, match="use one of: kubernetes, swarm"):
        clustered.Clustered.of("prod")


def test_the_flags_lead_back_to_the_same_one() -> None:
    assert clustered.Clustered.of("swarm").flags == "--env swarm"
    other = clustered.Clustered.of("kubernetes", project="mine", context="a b")
    assert other.flags == "--env kubernetes --project mine --context 'a b'"


def test_a_chart_is_a_directory_of_its_own(tmp_path: Path) -> None:
    out = tmp_path / "out"
    clustered.render(
        clustered.Clustered.of("kubernetes", host="a.example"), out=str(out), form="helm"
    )

    chart = yaml.safe_load((out / "Chart.yaml").read_text())
    assert (chart["name"], chart["kubeVersion"]) == ("letta-stack", ">=1.34.0-0")
    assert yaml.safe_load((out / "values.yaml").read_text())["host"] == "a.example"
    assert (out / "templates" / "letta-server.yaml").exists()

    clustered.render(clustered.Clustered.of("kubernetes"), out=str(out))
    assert not list(out.glob("templates/*"))
    assert (out / "kustomization.yaml").exists()


@pytest.mark.parametrize(
    ("env", "out", "form", "said"),
    [
        ("kubernetes", "x", "chart", "use kustomize or helm"),
        ("kubernetes", "", "helm", "give one with --out"),
        ("swarm", "x", "helm", "has one form only"),
    ],
)
def test_a_form_that_cannot_be_is_refused(env: str, out: str, form: str, said: str) -> None:
    with pytest.raises(BadValue, match=said):
        clustered.render(clustered.Clustered.of(env), out=out, form=form)
