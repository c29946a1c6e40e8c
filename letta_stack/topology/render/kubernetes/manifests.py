"""The whole of a topology: objects in the order in which they are applied, and what could not be said in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from letta_stack.topology.catalogue import DATABASE, GATEWAY, SERVER
from letta_stack.topology.render import keys
from letta_stack.topology.render.kubernetes import (
    cloudnative_pg,
    exposure,
    network,
    objects,
    pods,
    storage,
    workloads,
)
from letta_stack.topology.render.kubernetes.keys import KEYS
from letta_stack.topology.render.kubernetes.options import EXTERNAL, OPERATED, TRIAL
from letta_stack.topology.render.kubernetes.storage import URI
from letta_stack.topology.render.values import secret_environment, tmpfs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from letta_stack.topology.render.files import Mounted
    from letta_stack.topology.render.kubernetes.objects import Object
    from letta_stack.topology.render.kubernetes.options import Options

    Model = Mapping[str, Any]


@dataclass
class Manifests:
    """What `kubectl` gets."""

    first: list[Object] = field(default_factory=list)  # all that the migration needs, and it
    then: list[Object] = field(default_factory=list)  # what depends on the migration
    notes: list[str] = field(default_factory=list)  # what these objects do not say
    secrets: dict[str, list[str]] = field(
        default_factory=dict
    )  # Secrets that must be there, and their keys
    variables: dict[str, dict[str, str]] = field(
        default_factory=dict
    )  # secret variables, by their Secret

    @property
    def all(self) -> list[Object]:
        """Every object, in order."""
        return [*self.first, *self.then]


def render(model: Model, files: Mapping[tuple[str, str], Mounted], options: Options) -> Manifests:
    """Make the objects.

    Args:
        model: what `docker compose config` writes.
        files: what ``files.read`` found for it.
        options: the operator's choices.

    Raises:
        NotExpressible: Kubernetes has no place for something of the model.

    """
    database = model["services"].get(DATABASE.name)
    model = _with_database(model, options)
    result = Manifests(notes=keys.check(model, KEYS))
    result.first += [objects.namespace(options.namespace), objects.account(options.namespace)]
    users = [
        name
        for name, service in sorted(model["services"].items())
        if options.database != TRIAL and URI in _secret_names(service)
    ]
    result.first += network.policies(model, options, users if options.database == EXTERNAL else [])
    if options.database == OPERATED and database:
        result.first += cloudnative_pg.objects(database, files, options, users)
        result.notes.append(cloudnative_pg.NOTE)
    server_image = model["services"][SERVER]["image"]
    late = _after_one_shots(model)
    for name, service in sorted(model["services"].items()):
        found = storage.storage(name, service, files, options)
        own_image = service["image"] == server_image
        template = pods.pod(name, service, found, options, own_image=own_image)
        result.first += found.configs
        if service.get("restart") != "no":
            result.first += network.services(name, service, options)
        made = workloads.workload(name, service, template, found, options)
        (result.then if name in late else result.first).extend(made)
        result.notes += _notes(name, service)
        if given := secret_environment(service):
            result.variables[pods.environment_secret(name)] = given
    result.first.sort(key=lambda one: one["kind"] == "Job")  # stable: a Job needs all the others
    gateway = model["services"][GATEWAY.name]
    result.then += exposure.objects(GATEWAY.name, gateway, _programs(files), options)
    named = {one for service in model["services"].values() for one in _secret_names(service)}
    result.secrets[options.secret] = sorted(
        named - ({URI} if options.database == OPERATED else set())
    )
    return result


def _with_database(model: Model, options: Options) -> Model:
    """Leave the database out if it is elsewhere, or an operator's."""
    if options.database == TRIAL:
        return model
    services = {}
    for name, service in model["services"].items():
        needs = {
            other: condition
            for other, condition in (service.get("depends_on") or {}).items()
            if other != DATABASE.name
        }
        services[name] = {**service, "depends_on": needs}
    del services[DATABASE.name]
    return {**model, "services": services}


def _secret_names(service: Model) -> list[str]:
    return [one["source"] for one in service.get("secrets") or []]


def _after_one_shots(model: Model) -> set[str]:
    """Return the services that depend on one that ends by itself, directly or not."""
    late = {name for name, service in model["services"].items() if service.get("restart") == "no"}
    once = set(late)
    while True:
        more = {
            name
            for name, service in model["services"].items()
            if late & set(service.get("depends_on") or {})
        }
        if more <= late:
            return late - once
        late |= more


def _programs(files: Mapping[tuple[str, str], Mounted]) -> str:
    """Return what the gateway is started with: it knows the defaults of its settings."""
    mine = [mounted for (name, _), mounted in files.items() if name == GATEWAY.name]
    return "\n".join(content for mounted in mine for content in mounted.content.values())


def _notes(name: str, service: Model) -> list[str]:
    """Say what of a value has no counterpart, though its key has one."""
    notes = [
        f"services.{name}.networks: the alias {alias} is no name that a Service can have"
        for alias in network.names(name, service)[1]
    ]
    for entry in service.get("tmpfs") or []:
        path, options = tmpfs(entry)
        if "exec" not in options:
            notes.append(
                f"services.{name}.tmpfs: programs at {path} can run; an emptyDir knows no noexec"
            )
    return notes
