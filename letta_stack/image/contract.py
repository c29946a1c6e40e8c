"""What the host may know about the inside of the image: the image's own start code says it, read from the checkout."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING

from letta_stack.base.paths import ROOT
from letta_stack.errors import BadPins

if TYPE_CHECKING:
    from collections.abc import Mapping

_START_CODE = ROOT / "rootfs/opt/letta-stack"
if not _START_CODE.is_dir():
    raise BadPins(f"{ROOT} is not a checkout of letta-stack; change into one")
sys.path.append(str(_START_CODE))  # its last place: nothing else may be shadowed

from entrypoint import debugger, environment, errors, paths, plan, reserve, telemetry  # noqa: E402 - needs the line above

API_PORT = plan.API_PORT  # inside the container
DEBUG_PORT = debugger.PORT  # inside the container
DEBUGGER = str(paths.DEBUGGER)  # where it is mounted
VOLUME = str(paths.VOLUME)
SECRETS = str(paths.SECRETS)
PASSWORD_FILE = str(paths.SERVER_PASSWORD)
OFF = environment.OFF  # what a switch takes for "no", in any case of letters
collector_configuration = telemetry.configuration
FREE_SPACE = reserve.QUESTION  # in SQL
FREE_SPACE_DATABASE = reserve.DATABASE
RESERVE_VARIABLE = reserve.VARIABLE
reserve_size = reserve.size

_FILE_VALUES = {"URI": "postgresql://user:password@host/database", "PORT": "1"}


def problem_of_settings(given: Mapping[str, str]) -> str:
    """Return why a container with this environment would not start, "" if its settings agree.

    Secret files are not read: only the container sees them.
    """

    def read(name: str) -> str:
        return _FILE_VALUES.get(name.removesuffix("_FILE").rpartition("_")[2], "from a file")

    settings = environment.drop_service_links(environment.drop_empty(given))
    named = {name: name if name.endswith("_FILE") else value for name, value in settings.items()}
    try:
        plan.make_plan(environment.resolve_files(named, read))
    except errors.StartError as error:
        return str(error)
    return ""


EXIT_CODES = {
    error.exit_code: inspect.cleandoc(str(error.__doc__)).partition("\n")[0]
    for error in vars(errors).values()
    if inspect.isclass(error) and issubclass(error, errors.StartError)
}
"""Why the container did not start, by exit code; one sentence each."""
