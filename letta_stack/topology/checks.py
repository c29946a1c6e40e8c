"""All that `inv up` looks at before it makes anything, in one order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from letta_stack.base import console
from letta_stack.base.paths import ROOT
from letta_stack.engine import disk
from letta_stack.policy import monitoring
from letta_stack.policy.lint import refuse_published_data
from letta_stack.topology import (
    capacity,
    deployed,
    dotenv,
    inputs,
    language_model,
    preflight,
    secret_files,
)
from letta_stack.topology.catalogue import SERVER
from letta_stack.topology.runners.protocol import published

if TYPE_CHECKING:
    from letta_stack.engine.inspect import Engine
    from letta_stack.topology.project import Project


def before_anything(project: Project, running_engine: Engine) -> tuple[Project, dict[str, Any]]:
    """Refuse what cannot work, each with its own error, and warn of what probably will not.

    Returns:
        The project with the variables that the machine decides, and its rendered model.

    """
    dotenv.check()
    language_model.check(project)
    project = project.with_variables(
        capacity.variables(running_engine) | deployed.variables(project.name)
    )
    if project.topology.secrets:
        project = project.with_variables(secret_files.store(project).user)
    config = project.runner.config()
    secret_files.single_source(config)
    project = project.counted(config)
    capacity.check(config, project.expected, running_engine)
    capacity.check_accelerators(config, running_engine)
    inputs.settings(config)
    inputs.bind_mounts(config)
    ports = published(config)
    refuse_published_data(project.topology.name, config)
    if project.topology.monitoring:
        monitoring.refuse_unreadable(ROOT)
    preflight.ports(ports, project.name, project.port_flags)
    preflight.open_api(ports, config)
    if project.topology.tls:
        preflight.certificate(project.name)
        preflight.client_authority(project.name, config)
    preflight.telemetry_authority(config)
    disk.check(running_engine, build=False)
    if project.topology.has_server:
        environment = config["services"][SERVER]["environment"]
        for warning in preflight.loopback_settings(environment):
            console.say(f"warning: {warning}")
    return project, config
