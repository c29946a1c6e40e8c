"""`inv cluster.up`, with an engine that answers as a test says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.base import process
from letta_stack.base.process import Completed
from letta_stack.engine import inspect
from letta_stack.errors import BuildFailed, ClusterFailed, CommandFailed
from letta_stack.image import third_party
from letta_stack.topology import trial_cluster

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CONFIG = "server: https://localhost:6443\n"


class Engine:
    """An engine in the place of docker."""

    def __init__(self) -> None:
        self.running = ""
        self.local: set[str] = set()
        self.loaded: set[str] = set()
        self.ready = True
        self.broken = False
        self.commands: list[list[str]] = []

    def capture(self, argv: Sequence[str], **_: Any) -> str:
        ended = self.probe(argv)
        if not ended.ok:
            raise CommandFailed(argv, ended.exit_code, ended.stderr)
        return ended.stdout

    def run(self, argv: Sequence[str], **_: Any) -> None:
        self.capture(argv)

    def stream(self, argv: Sequence[str], **_: Any) -> None:
        self.capture(argv)

    def probe(self, argv: Sequence[str], **_: Any) -> Completed:  # noqa: PLR0911 - one for each question
        self.commands.append(list(argv))
        match list(argv[1:]):
            case ["inspect", *_]:
                return Completed(0, self.running, "")
            case ["buildx", *rest]:
                if self.broken:
                    return Completed(1, "", "no space left\n")
                (output,) = [one for one in rest if one.startswith("--output=")]
                self.local.add(output.partition("name=")[2].partition(",")[0])
            case ["run", *_, image]:
                self.running = image
            case ["image", "inspect", *_]:
                return Completed(0, "sha256:0123456789abcdef0\n", "")
            case ["exec", _, "test", "-e", "/run/node-ready"]:
                return Completed(0 if self.ready else 1, "", "")
            case ["exec", _, "ctr", *_, "list", "--quiet"]:
                return Completed(0, "\n".join(self.loaded), "")
            case ["exec", _, "cat", _]:
                return Completed(0, CONFIG, "")
            case ["port", *_]:
                return Completed(0, "127.0.0.1:40001\n", "")
            case ["save", "--output", path, image]:
                self.loaded.add(f"docker.io/{image}")
                open(path, "w", encoding="utf-8").close()  # noqa: PTH123 - what docker does
            case ["logs", *_]:
                return Completed(0, "node: etcd has ended\n", "")
            case _:
                pass
        return Completed(0, "", "")

    def called(self, verb: str) -> list[list[str]]:
        return [one for one in self.commands if one[1] == verb]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Engine:
    found = Engine()
    for name in ("capture", "run", "probe", "stream"):
        monkeypatch.setattr(process, name, getattr(found, name))
    monkeypatch.setattr(inspect, "require", lambda: None)
    monkeypatch.setattr(third_party, "ensure", lambda pins, **_: dict.fromkeys(pins, "base:1"))
    monkeypatch.setattr(third_party, "is_local", lambda image: image in found.local)
    monkeypatch.setattr(trial_cluster, "CLUSTER", tmp_path)
    return found


def test_the_node_is_built_once_and_its_configuration_leads_to_it(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial_cluster.up()
    trial_cluster.up()

    assert len(engine.called("buildx")) == 1
    assert len(engine.called("run")) == 1
    assert (tmp_path / "config").read_text() == "server: https://localhost:40001\n"
    assert (tmp_path / "config").stat().st_mode & 0o777 == 0o600
    assert len(engine.called("cp")) == 1
    assert (
        "inv up --env kubernetes --context letta-stack --database trial" in capsys.readouterr().out
    )


def test_an_image_is_loaded_once_and_has_the_name_of_its_content_in_the_cluster(
    engine: Engine,
) -> None:
    images = {
        trial_cluster.name_of(image): image for image in ("a:1", "host:5000/b/c@sha256:12", "d")
    }
    trial_cluster.load(images)
    trial_cluster.load(images)

    content = "0123456789abcdef"
    names = [f"letta-stack-cluster/{name}:{content}" for name in ("a", "c", "d")]
    assert [one[-1] for one in engine.called("save")] == names
    # What the engine was given for the way is gone again.
    assert [one[-1] for one in engine.called("image") if one[2] == "rm"] == names


def test_what_was_built_from_broken_sources_is_said(engine: Engine) -> None:
    engine.broken = True

    with pytest.raises(BuildFailed, match="run the same command again"):
        trial_cluster.up()


def test_a_node_that_ends_is_said_with_its_last_words(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_cluster, "running", lambda: "")

    with pytest.raises(ClusterFailed, match="etcd has ended"):
        trial_cluster.up()


def test_a_node_that_does_not_become_ready_is_said(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.ready = False
    monkeypatch.setattr(trial_cluster, "READY_SECONDS", 0.0)

    with pytest.raises(ClusterFailed, match=r"inv cluster\.down --volumes"):
        trial_cluster.up()


def test_down_keeps_what_is_in_the_node_unless_it_is_told_to_delete_it(engine: Engine) -> None:
    trial_cluster.down(volumes=False)
    assert engine.called("volume") == []

    trial_cluster.down(volumes=True)
    (removed,) = engine.called("volume")
    assert removed[-3:] == [
        f"letta-stack-cluster-{name}" for name in ("containerd", "kubelet", "node")
    ]
