"""Which Letta this is, where that was read, and whether it is one that this project can build.

Letta's versions follow PEP 440 and are ordered by ``packaging``; only the project's own version is SemVer.
"""

from __future__ import annotations

import re
import tarfile
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from letta_stack.base import process
from letta_stack.errors import BadVersion, LettaCode, VersionsDisagree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import semver

# The server's last release is 0.16.8. Later versions of the same package name are the Letta Code client.
FIRST_LETTA_CODE = Version("0.17.dev0")
RELEASE_PARTS = 3
METADATA_SCRIPT = "from importlib.metadata import version; print(version('letta'))"
IMAGE_PYTHON = "/opt/letta/venv/bin/python"
# Upstream's tags have no `v` and are lightweight, hence --tags; `v*` would be this project's own.
DESCRIBE = ("git", "describe", "--tags", "--long", "--match", "[0-9]*")
DESCRIBED = re.compile(r"(?P<tag>.+)-(?P<distance>\d+)-g(?P<commit>[0-9a-f]+)")


@dataclass(frozen=True)
class Answer:
    """What one source says. ``version`` is None if it knows none; ``note`` then says why."""

    source: str
    version: Version | None
    note: str


@dataclass(frozen=True)
class Detected:
    """The version, and everything that was looked at, in the order of precedence."""

    answers: tuple[Answer, ...]

    @property
    def chosen(self) -> Answer:
        """The first source that knows a version."""
        for item in self.answers:
            if item.version is not None:
                return item
        looked_at = ", ".join(f"{item.source}: {item.note}" for item in self.answers)
        message = f"no source knows Letta's version ({looked_at}); give it with --version"
        raise BadVersion(message)

    @property
    def version(self) -> Version:
        """The version that counts."""
        version = self.chosen.version
        assert version is not None  # noqa: S101  # what `chosen` promises
        return version

    def explain(self) -> list[str]:
        """Return one line per source, the chosen one marked."""
        chosen = self.chosen
        width = max(len(item.source) for item in self.answers)
        return [
            f"{'->' if item is chosen else '  '} {item.source:<{width}}  "
            f"{item.version or '-'!s:<10}  {item.note}"
            for item in self.answers
        ]


def parse(text: str) -> Version:
    """Parse a version of Letta; ``BadVersion`` unless it is PEP 440 with exactly three numbers.

    Two numbers would be the name of a floating tag, an epoch has no form in a tag.
    """
    try:
        version = Version(text)
    except InvalidVersion:
        message = f"{text!r} is not a version (PEP 440); give one such as 0.16.8 or 0.16.8rc1"
        raise BadVersion(message) from None
    if version.epoch or len(version.release) != RELEASE_PARTS:
        message = (
            f"{text!r} has no form that a tag can carry; give MAJOR.MINOR.PATCH, such as 0.16.8"
        )
        raise BadVersion(message)
    return version


def check_supported(version: Version, *, allow_letta_code: bool = False) -> None:
    """Refuse what is not the server: the package name changed hands at 0.17."""
    if version >= FIRST_LETTA_CODE and not allow_letta_code:
        message = (
            f"Letta {version} is not the server: from 0.17 on the name means Letta Code, which is a "
            "different product; use 0.16.8, or --allow-letta-code if you know that yours is a server"
        )
        raise LettaCode(message)


def detect(
    *,
    pin: str,
    explicit: str = "",
    source: Path | None = None,
    image: str = "",
    every_source: bool = False,
) -> Detected:
    """Ask the sources in order of precedence, and stop at the first answer unless ``every_source``.

    ``source`` is a source tree or an sdist; ``image`` a built image on the engine; ``pin`` the version in
    ``pins.env``. A source that was not given is not asked.
    """
    questions: list[Callable[[], Answer]] = []
    if explicit:
        questions.append(lambda: Answer("--version", parse(explicit), "given"))
    if source is not None:
        questions += [lambda: from_pyproject(source), lambda: from_pkg_info(source)]
    if image:
        questions.append(lambda: from_image(image))
    if source is not None:
        questions.append(lambda: from_git(source))
    questions.append(lambda: Answer("pins.env", parse(pin), "LETTA_VERSION"))

    answers: list[Answer] = []
    for ask in questions:
        answers.append(ask())
        if answers[-1].version is not None and not every_source:
            break
    return Detected(tuple(answers))


def from_pyproject(source: Path) -> Answer:
    """Read ``[project].version`` of a source tree."""
    name = "pyproject.toml"
    path = source / name
    try:
        project = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
    except (OSError, UnicodeDecodeError):
        return Answer(name, None, f"{path} cannot be read")
    except tomllib.TOMLDecodeError as error:
        message = f"{path} is not TOML ({error}); correct it or choose another --letta-source"
        raise BadVersion(message) from None
    if "version" not in project:
        return Answer(name, None, f"{path} has no [project].version")
    return Answer(name, parse(str(project["version"])), str(path))


def from_pkg_info(source: Path) -> Answer:
    """Read the metadata of an sdist, packed or unpacked."""
    name = "PKG-INFO"
    try:
        text = _pkg_info(source)
    except (OSError, tarfile.TarError, KeyError):
        return Answer(name, None, f"{source} is not an sdist")
    match = re.search(r"^Version: (\S+)$", text.partition("\n\n")[0], re.MULTILINE)
    if match is None:
        return Answer(name, None, f"the PKG-INFO of {source} has no Version")
    return Answer(name, parse(match[1]), str(source))


def _pkg_info(source: Path) -> str:
    if source.is_dir():
        return (source / "PKG-INFO").read_text(encoding="utf-8")
    with tarfile.open(source) as archive:
        # An sdist holds one directory, named after the project and the version.
        top = archive.getnames()[0].partition("/")[0]
        member = archive.extractfile(f"{top}/PKG-INFO")
        if member is None:
            raise KeyError(top)
        return member.read().decode()


def from_image(image: str) -> Answer:
    """Ask a built image for its installed metadata.

    ``letta version`` does not exist in 0.16.8, and ``letta.__version__`` takes 5 s, falls back to a stale
    constant and obeys the environment variable LETTA_VERSION: none of them proves a version.
    """
    name = "image metadata"
    argv = ["docker", "run", "--rm", "--network", "none", "--pull", "never"]
    answer = process.probe([*argv, "--entrypoint", IMAGE_PYTHON, image, "-c", METADATA_SCRIPT])
    if not answer.ok:
        reason = next(iter(answer.stderr.strip().splitlines()), "no output")
        return Answer(name, None, f"{image}: {reason}")
    return Answer(name, parse(answer.stdout.strip()), image)


def from_git(source: Path) -> Answer:
    """Ask git for the last upstream tag; commits after it become a post release with a local part."""
    name = "git describe"
    directory = source if source.is_dir() else source.parent
    answer = process.probe([*DESCRIBE], cwd=directory) if directory.is_dir() else None
    match = DESCRIBED.fullmatch(answer.stdout.strip()) if answer is not None else None
    if match is None:
        return Answer(name, None, f"{directory} has no upstream tag")
    text = match["tag"]
    if match["distance"] != "0":
        text += f".post{match['distance']}+g{match['commit']}"
    return Answer(name, parse(text), str(directory))


def agree(release: Version, found: Mapping[str, str]) -> None:
    """Cross-check a built image: each place in ``found`` must give the same public version.

    A local part (``0.16.8+dev...``) names our build of that version; the server itself cannot know it.
    """
    for place, text in found.items():
        if parse(text).public != release.public:
            message = (
                f"{place} says Letta {text}, the release is {release}; "
                "build from the source of that version, or give the right --version"
            )
            raise VersionsDisagree(message)


def stack_version(text: str) -> semver.Version:
    """Parse the project's own version, which is SemVer."""
    import semver  # noqa: PLC0415  # 18 ms that only this function needs

    try:
        return semver.Version.parse(text)
    except ValueError:
        message = (
            f"LETTA_STACK_VERSION={text!r} is not Semantic Versioning; write MAJOR.MINOR.PATCH"
        )
        raise BadVersion(message) from None
