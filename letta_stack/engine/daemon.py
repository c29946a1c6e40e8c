"""The engine's own process: the settings that it needs for this project, and its start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from letta_stack.base import console, process
from letta_stack.base.files import replace
from letta_stack.base.progress import Progress
from letta_stack.base.wait import wait_until
from letta_stack.engine import inspect
from letta_stack.errors import EngineStartFailed, EngineStoreWrong, EngineTooOld, WaitTimedOut

START_SECONDS = 90.0
BUILD_CACHE = "20GB"  # twice what all images of this project leave there
SETTINGS = Path("/etc/docker/daemon.json")
LOG = Path("/var/log/dockerd.log")
SYSTEMD_RUNS = Path("/run/systemd/system")


def check_installed() -> None:
    """Raise if the engine that is installed, but not running, is too old to be started."""
    text = process.capture(["dockerd", "--version"])
    if inspect.parse_version(text) < inspect.OLDEST_ENGINE:
        raise EngineTooOld(
            f"the installed engine is too old ({text.strip()}); upgrade it to "
            f"{inspect.render(inspect.OLDEST_ENGINE)} or newer, or remove it and run `inv engine` again"
        )
    write_settings(SETTINGS)


def write_settings(path: Path) -> None:
    """Write what an engine needs for this project into its settings, keeping everything that is there."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    wanted = with_needed_settings(text, path)
    if wanted is not None:
        replace(path, wanted)


def with_needed_settings(text: str, path: Path) -> str | None:
    """Return the settings with the containerd image store on and a limit for the build cache, None if both are there.

    Somebody's own settings of the builder stay as they are.
    """
    try:
        settings: dict[str, Any] = json.loads(text or "{}")
        features: dict[str, Any] = dict(settings.get("features", {}))
    except (json.JSONDecodeError, AttributeError, TypeError, ValueError) as error:
        raise EngineStoreWrong(
            f"{path} is not the JSON that an engine reads ({error}); correct it"
        ) from error
    if features.setdefault("containerd-snapshotter", True) is not True:
        raise EngineStoreWrong(
            f"{path} turns the containerd image store off, so somebody wants that; set "
            "features.containerd-snapshotter to true there and run `inv engine` again"
        )
    # Without a limit the cache takes what the disk has.
    builder = settings.get("builder", {"gc": {"enabled": True, "defaultKeepStorage": BUILD_CACHE}})
    wanted = {**settings, "features": features, "builder": builder}
    return None if wanted == settings else json.dumps(wanted, indent=2) + "\n"


def start() -> None:
    """Start the engine that is installed, with systemd where that runs, and wait until it answers."""
    if answers():
        return  # installing the package has started it
    if SYSTEMD_RUNS.is_dir():
        process.run(["systemctl", "enable", "--now", "docker.service"])
        log = "journalctl -u docker.service"
    else:
        pid = process.spawn(["dockerd"], log=LOG)
        console.say(f"started dockerd (pid {pid}; log {LOG}; stop it with `kill {pid}`)")
        log = str(LOG)
    with Progress("waiting for the engine"):
        try:
            wait_until(answers, timeout=START_SECONDS, describe="no answer")
        except WaitTimedOut as error:
            raise EngineStartFailed(
                f"the engine does not answer {START_SECONDS:g} s after its start; the reason is at "
                f"the end of {log}"
            ) from error


def answers() -> bool:
    """Say whether an engine answers, whatever its state."""
    return process.probe(
        ["docker", "version", "--format", "{{.Server.Version}}"], timeout=inspect.ANSWER_SECONDS
    ).ok
