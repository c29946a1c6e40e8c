from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.base.process import Completed
from letta_stack.errors import BadVersion, LettaCode, VersionsDisagree
from letta_stack.image import version

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.fixture
def no_git(monkeypatch: pytest.MonkeyPatch) -> None:
    def probe(argv: Sequence[str], **_: object) -> Completed:
        return Completed(128, "", "fatal: not a git repository")

    monkeypatch.setattr(process, "probe", probe)


def source_tree(directory: Path, *, pyproject: str = "", pkg_info: str = "") -> Path:
    if pyproject:
        (directory / "pyproject.toml").write_text(pyproject, encoding="utf-8")
    if pkg_info:
        (directory / "PKG-INFO").write_text(pkg_info, encoding="utf-8")
    return directory


PYPROJECT = '[project]\nname = "letta"\nversion = "0.16.5"\n'
PKG_INFO = "Metadata-Version: 2.4\nName: letta\nVersion: 0.16.4\n\nVersion: 9.9.9\n"


@pytest.mark.parametrize(
    ("explicit", "pyproject", "pkg_info", "expected"),
    [
        ("0.16.6", PYPROJECT, PKG_INFO, ("--version", "0.16.6")),
        ("", PYPROJECT, PKG_INFO, ("pyproject.toml", "0.16.5")),
        ("", "[project]\nname = 'letta'\n", PKG_INFO, ("PKG-INFO", "0.16.4")),
        ("", "", "", ("pins.env", "0.16.8")),
    ],
)
@pytest.mark.usefixtures("no_git")
def test_precedence(
    explicit: str, pyproject: str, pkg_info: str, expected: tuple[str, str], tmp_path: Path
) -> None:
    tree = source_tree(tmp_path, pyproject=pyproject, pkg_info=pkg_info)

    found = version.detect(pin="0.16.8", explicit=explicit, source=tree)

    assert (found.chosen.source, str(found.version)) == expected
    assert found.answers[-1] is found.chosen


def test_why_asks_every_source_and_marks_the_one_that_counts(tmp_path: Path, no_git: None) -> None:
    tree = source_tree(tmp_path, pyproject=PYPROJECT)

    lines = version.detect(pin="0.16.8", source=tree, image="x", every_source=True).explain()

    assert lines == [
        f"-> pyproject.toml  0.16.5      {tree}/pyproject.toml",
        f"   PKG-INFO        -           {tree} is not an sdist",
        "   image metadata  -           x: fatal: not a git repository",
        f"   git describe    -           {tree} has no upstream tag",
        "   pins.env        0.16.8      LETTA_VERSION",
    ]


def test_a_version_that_was_given_says_so_and_nothing_that_was_not_given_is_asked(
    no_git: None,
) -> None:
    lines = version.detect(pin="0.16.8", explicit="0.16.6", every_source=True).explain()

    assert lines == ["-> --version  0.16.6      given", "   pins.env   0.16.8      LETTA_VERSION"]
    assert version.detect(pin="0.16.8").explain() == ["-> pins.env  0.16.8      LETTA_VERSION"]


def test_no_answer_at_all_says_what_was_looked_at() -> None:
    found = version.Detected((version.Answer("a", None, "no a"), version.Answer("b", None, "no b")))

    with pytest.raises(BadVersion, match=r"\(a: no a, b: no b\); give it with --version"):
        _ = found.version


def test_a_packed_sdist_is_read(tmp_path: Path, no_git: None) -> None:
    path = tmp_path / "letta-0.16.4.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("letta-0.16.4/PKG-INFO")
        member.size = len(PKG_INFO)
        archive.addfile(member, io.BytesIO(PKG_INFO.encode()))

    found = version.detect(pin="0.16.8", source=path).chosen
    assert found == version.Answer("PKG-INFO", Version("0.16.4"), str(path))


@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, None])
def test_an_archive_without_metadata_is_no_sdist(kind: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("letta-0.16.4/README.md"))
        if kind:
            member = tarfile.TarInfo("letta-0.16.4/PKG-INFO")
            member.type = kind
            archive.addfile(member)

    assert version.from_pkg_info(path) == version.Answer(
        "PKG-INFO", None, f"{path} is not an sdist"
    )


@pytest.mark.parametrize("text", ["Name: letta\n", "Name: letta\n\nVersion: 9.9.9\n"])
def test_a_version_in_the_description_is_not_the_packages(text: str, tmp_path: Path) -> None:
    answer = version.from_pkg_info(source_tree(tmp_path, pkg_info=text))

    assert answer.version is None
    assert answer.note == f"the PKG-INFO of {tmp_path} has no Version"


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        ("0.16.8-0-g87fd37aab", "0.16.8"),
        ("0.16.8-7-g87fd37aab", "0.16.8.post7+g87fd37aab"),
    ],
)
def test_git_tags(
    described: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "probe", lambda *_, **__: Completed(0, f"{described}\n", ""))

    answer = version.from_git(tmp_path)
    assert answer == version.Answer("git describe", Version(expected), str(tmp_path))


def test_git_is_asked_beside_an_sdist_and_only_where_there_is_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def probe(argv: Sequence[str], *, cwd: Path) -> Completed:
        assert argv == [*version.DESCRIBE]
        asked.append(cwd)
        return Completed(0, "0.16.8-0-gabc", "")

    monkeypatch.setattr(process, "probe", probe)

    assert version.from_git(tmp_path / "letta.tar.gz").version == Version("0.16.8")
    assert asked == [tmp_path]
    assert version.from_git(tmp_path / "no" / "letta.tar.gz").version is None
    assert asked == [tmp_path]


def test_git_is_asked_for_lightweight_tags_without_v(tmp_path: Path, real_processes: None) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True)

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message=one")
    git("tag", "0.16.8")
    git("tag", "v1.0.0")

    assert Version("0.16.8") == version.from_git(tmp_path).version


def test_a_missing_image_is_a_source_that_knows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        process,
        "probe",
        lambda *_, **__: Completed(125, "", "docker: No such image: x\n\nRun 'docker'"),
    )

    answer = version.from_image("x")
    assert answer == version.Answer("image metadata", None, "x: docker: No such image: x")


def test_an_image_that_says_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "probe", lambda _: Completed(1, "", " \n"))

    assert version.from_image("x").note == "x: no output"


def test_an_image_is_asked_for_its_metadata_without_network_or_pull(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Sequence[str]] = []

    def probe(argv: Sequence[str]) -> Completed:
        asked.append(argv)
        return Completed(0, "0.16.8\n", "")

    monkeypatch.setattr(process, "probe", probe)

    assert version.from_image("x") == version.Answer("image metadata", Version("0.16.8"), "x")
    (argv,) = asked
    assert argv == [
        *("docker", "run", "--rm", "--network", "none", "--pull", "never"),
        *("--entrypoint", "/opt/letta/venv/bin/python", "x", "-c", version.METADATA_SCRIPT),
    ]


def test_the_script_that_reads_metadata_prints_a_version(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"the version of {name}")

    exec(version.METADATA_SCRIPT)

    assert capsys.readouterr().out == "the version of letta\n"


def test_the_images_python_is_where_the_dockerfile_puts_it() -> None:
    directory = Path(version.IMAGE_PYTHON).parents[1]

    assert f"{directory}/bin" in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize(
    "text", ["0.17.0", "0.17.0.dev0", "0.17.0.dev1", "0.17.0rc1", "0.32.13", "1.0.0"]
)
def test_letta_code_is_refused_with_an_override(text: str) -> None:
    with pytest.raises(LettaCode, match="different product"):
        version.check_supported(Version(text))
    version.check_supported(Version(text), allow_letta_code=True)


@pytest.mark.parametrize("text", ["0.16.8", "0.16.99", "0.16.8.post1", "0.16.8+local"])
def test_servers_are_supported(text: str) -> None:
    version.check_supported(Version(text))


@pytest.mark.parametrize("text", ["", "x", "0.16", "0.16.8.1", "1!0.16.8", "0.16.8-beta-x"])
def test_versions_without_a_form_are_refused(text: str) -> None:
    with pytest.raises(BadVersion, match="give"):
        version.parse(text)


def test_a_pyproject_that_is_not_toml_is_named(tmp_path: Path) -> None:
    source_tree(tmp_path, pyproject="[project\n")

    with pytest.raises(BadVersion, match=r"pyproject\.toml is not TOML"):
        version.from_pyproject(tmp_path)


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (None, "pyproject.toml cannot be read"),
        (b"\xff", "pyproject.toml cannot be read"),
        (b"[tool]\n", "pyproject.toml has no [project].version"),
        (b"[project]\nname = 'letta'\n", "pyproject.toml has no [project].version"),
    ],
)
def test_a_pyproject_that_names_no_version_is_a_source_that_knows_nothing(
    content: bytes | None, note: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "pyproject.toml").write_bytes(content)

    answer = version.from_pyproject(tmp_path)

    assert answer == version.Answer("pyproject.toml", None, f"{tmp_path}/{note}")


def test_a_built_image_must_say_the_same_everywhere() -> None:
    found = {"image metadata": "0.16.8", "label": "0.16.8", "/v1/health/": "0.16.8"}

    version.agree(Version("0.16.8"), found)
    version.agree(Version("0.16.8+dev.g1234567"), found)
    with pytest.raises(VersionsDisagree, match=r"/v1/health/ says Letta 0\.16\.7"):
        version.agree(Version("0.16.8"), {**found, "/v1/health/": "0.16.7"})


def test_the_stack_has_a_semantic_version() -> None:
    assert str(version.stack_version("0.1.0")) == "0.1.0"
    with pytest.raises(BadVersion, match="Semantic"):
        version.stack_version("v0.1.0")
