"""`inv render`: the form of a topology for a cluster, on standard output or as files."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from letta_stack.base import console
from letta_stack.base.paths import SECRETS
from letta_stack.errors import BadValue
from letta_stack.pins.file import Pins
from letta_stack.secrets.store import IMAGE_UID
from letta_stack.topology import archive, archive_store, dotenv, members, secret_files
from letta_stack.topology.backups import RECIPIENTS_VARIABLE
from letta_stack.topology.catalogue import find_cluster
from letta_stack.topology.render import choices, files, text
from letta_stack.topology.render.kubernetes import directory, manifests
from letta_stack.topology.render.kubernetes.chart import files as chart
from letta_stack.topology.render.kubernetes.options import OLDEST
from letta_stack.topology.render.swarm import stack
from letta_stack.topology.runners.compose import Compose

if TYPE_CHECKING:
    from collections.abc import Mapping

    from letta_stack.topology.model import Topology

STACK_FILE = "stack.yaml"
MARK = ".letta-stack"
"""The file that says that a directory is ours."""


@dataclass(frozen=True)
class Clustered:
    """A topology under a name on a cluster: a namespace, or a stack."""

    topology: Topology
    name: str
    given: Mapping[str, str]  # flags, by the name of their parameter

    @classmethod
    def of(cls, env: str, *, project: str = "", **given: str) -> Clustered:
        """Take what the user gave; raise ``BadValue``."""
        topology = find_cluster(env)
        return cls(topology, project or topology.default_project, given)

    @property
    def flags(self) -> str:
        """What a user types to mean this one."""
        project = f" --project {self.name}" if self.name != self.topology.default_project else ""
        context = (
            f" --context {shlex.quote(self.given['context'])}" if self.given.get("context") else ""
        )
        return f"--env {self.topology.name}{project}{context}"

    def setting(self, name: str) -> str:
        """Return what the shell or `.env` gives for a variable, "" if nobody sets it."""
        sources = (os.environ, dotenv.values())
        return next((source[name] for source in sources if name in source), "")

    def model(self, variables: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return what compose makes of the entry. Every container has the image's own user: no file of this machine is mounted."""
        user = str(IMAGE_UID)
        known = {
            "LETTA_STACK_UID": user,
            "LETTA_STACK_GID": user,
            "LETTA_STACK_SECRETS": str(SECRETS / self.name),
            # No directory of this machine is on each of the nodes.
            RECIPIENTS_VARIABLE: "",
            archive.VARIABLE: "",
            archive_store.VARIABLE: "",
            members.VARIABLE: "",
        }
        config = Compose(self.name, self.topology.entry, known | dict(variables or {})).config()
        secret_files.single_source(config)
        return config


def with_choice(cluster: Clustered, **given: str) -> Clustered:
    """Return the same one with more flags."""
    return replace(cluster, given={**cluster.given, **given})


def refuse_others(env: str, **given: object) -> None:
    """Raise ``BadValue`` for a flag of `inv up` that a topology does not take; ``given`` are by parameter, false if not given."""
    for name, value in given.items():
        if value:
            flag = f"--{name.replace('_', '-')}"
            raise BadValue(f"{flag}: --env {env} does not take it; see docs/topologies/{env}.md")


@dataclass(frozen=True)
class Rendered:
    """What an engine of many hosts gets."""

    whole: str  # in one text
    files: dict[str, str]  # the same for a directory, by name
    notes: list[str]  # what of the model it does not say


FORMS = (KUSTOMIZE, HELM) = ("kustomize", "helm")
"""How the objects of Kubernetes can be written to a directory."""


def render(cluster: Clustered, *, out: str, form: str = "") -> None:
    """Write the objects or the stack file, to a directory or to standard output.

    Args:
        cluster: the topology, its namespace or name, and the user's choices.
        out: the directory, "" for standard output.
        form: one of ``FORMS``, "" for the first.

    Raises:
        BadSecret: .env or the shell gives what is a secret here.
        BadValue: a flag that the engine does not take, or a directory that something else made.
        NotExpressible: the engine has no place for something of the model.

    """
    made = _form(cluster, out, form)
    for note in made.notes:
        console.say(f"not expressed: {note}")
    if not out:
        console.result(made.whole.rstrip("\n"))
        return
    target = Path(out)
    if target.is_dir() and any(target.iterdir()) and not (target / MARK).exists():
        raise BadValue(f"--out {out!r} has files of somebody else; give a new directory")
    target.mkdir(parents=True, exist_ok=True)
    (target / MARK).write_text("Of `inv render`: all files here are replaced.\n", encoding="utf-8")
    for old in set(target.rglob("*")) - {target / name for name in (MARK, *made.files)}:
        if not old.is_dir():
            old.unlink()
    for name, content in made.files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text(content, encoding="utf-8")
    console.result(f"{len(made.files)} files in {target}")


def objects(cluster: Clustered) -> manifests.Manifests:
    """Return the objects of a namespace; raise ``NotExpressible`` or ``BadValue``."""
    options = choices.kubernetes(cluster.name, cluster.given)
    model = cluster.model()
    return manifests.render(model, files.read(model), options)


def _form(cluster: Clustered, out: str, form: str) -> Rendered:
    if form and form not in FORMS:
        raise BadValue(f"--form {form!r} is unknown; use {' or '.join(FORMS)}")
    if cluster.topology.name != "kubernetes":
        if form:
            raise BadValue(f"--form: --env {cluster.topology.name} has one form only")
        return _swarm(cluster)
    if form == HELM and not out:
        raise BadValue("--form helm: a chart is a directory; give one with --out")
    return _helm(cluster) if form == HELM else _kubernetes(cluster)


def _helm(cluster: Clustered) -> Rendered:
    options = choices.kubernetes(cluster.name, cluster.given)
    model, pins = cluster.model(), Pins.load()
    about = chart.About(
        f"inv render {cluster.flags} --form {HELM}",
        version=pins["LETTA_STACK_VERSION"],
        app_version=pins["LETTA_VERSION"],
        oldest=".".join(map(str, OLDEST)),
    )
    made, notes = chart.render(model, files.read(model), options, about)
    return Rendered("", made, notes)


def _kubernetes(cluster: Clustered) -> Rendered:
    made = objects(cluster)
    command = f"inv render {cluster.flags}"
    return Rendered(text.dump(made.all), directory.files(made, command), made.notes)


def _swarm(cluster: Clustered) -> Rendered:
    options = choices.swarm(cluster.name, cluster.given)
    model = cluster.model()
    mounted = files.read(model)
    made = stack.render(model, mounted, options)
    whole = text.dump([made.content])
    return Rendered(whole, {STACK_FILE: whole, **stack.config_files(mounted)}, made.notes)
