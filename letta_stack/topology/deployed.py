"""Which images a project ran and runs: written by `inv deploy`, read by it and by `inv up`."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from letta_stack.base.paths import STATE
from letta_stack.errors import DeployRefused

if TYPE_CHECKING:
    from pathlib import Path

IMAGE_VARIABLE = "LETTA_STACK_IMAGE"
REPOSITORY = "letta-stack/deployed"  # no registry has that name
MOST = 50


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """One image that a project ran."""

    when: str  # UTC, ISO 8601
    who: str
    reference: str  # what the operator named
    digest: str  # what the engine had under that name
    tag: str  # a name that stays on that image, so that nothing prunes it
    letta_version: str
    replicas: int
    backup: str = ""  # made just before, "" if none


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """A deployment that has begun; also what a killed command leaves."""

    started: float  # seconds of the epoch
    to: Deployment


def history(project: str, *, state: Path = STATE) -> list[Deployment]:
    """Return what a project ran, the oldest first. Raises ``DeployRefused`` if the file cannot be read."""
    path = state / project / "deployments.json"
    if not path.is_file():
        return []
    try:
        return [Deployment(**one) for one in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise DeployRefused(
            f"{path} is not what `inv deploy` wrote ({error}); move it out of the way, then the history begins anew"
        ) from error


def record(project: str, one: Deployment, *, state: Path = STATE) -> None:
    """Append to the history."""
    rows = [asdict(each) for each in [*history(project, state=state), one][-MOST:]]
    write(state / project / "deployments.json", json.dumps(rows, indent=1))


def unfinished(project: str, *, state: Path = STATE) -> Unfinished | None:
    """Return the deployment that has begun and not ended."""
    try:
        fields = json.loads((state / project / "deploying.json").read_text(encoding="utf-8"))
        return Unfinished(started=fields["started"], to=Deployment(**fields["to"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def begin(project: str, one: Unfinished, *, state: Path = STATE) -> None:
    """Remember that a deployment begins."""
    write(state / project / "deploying.json", json.dumps(asdict(one), indent=1))


def end(project: str, *, state: Path = STATE) -> None:
    """Forget it, whether it was finished or undone."""
    (state / project / "deploying.json").unlink(missing_ok=True)


def write(path: Path, text: str) -> None:
    """Replace a file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)


def variables(project: str) -> dict[str, str]:
    """Return the variable by which compose takes the deployed image; one that the shell sets goes before."""
    known = history(project)
    return {IMAGE_VARIABLE: known[-1].tag} if known and IMAGE_VARIABLE not in os.environ else {}
