"""The schedule of backups as settings, and the directories that its service writes to."""

from __future__ import annotations

import configparser
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from letta_stack.base import flags
from letta_stack.base.paths import STATE
from letta_stack.errors import BadSettings, BadValue, SecretsExposed
from letta_stack.secrets.store import Store
from letta_stack.topology import metrics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from letta_stack.topology.project import Project

RECIPIENTS_VARIABLE = "LETTA_STACK_BACKUP_RECIPIENTS"  # whoever sets it wants the schedule
INTERVAL_VARIABLE = "LETTA_STACK_BACKUP_INTERVAL"
KEEP_VARIABLE = "LETTA_STACK_BACKUP_KEEP"
DAYS_VARIABLE = "LETTA_STACK_BACKUP_DAYS"
TO_VARIABLE = "LETTA_STACK_BACKUP_TO"
CREDENTIALS_VARIABLE = (
    "LETTA_STACK_BACKUP_CREDENTIALS"  # names a file, so that no key is in an argument or a variable
)
SCHEME = "s3://"
DEFAULTS = {INTERVAL_VARIABLE: "24h", KEEP_VARIABLE: "7", DAYS_VARIABLE: "7"}
UNITS = {"m": 60, "h": 3600, "d": 86400}
INTERVAL = re.compile(r"([1-9][0-9]{0,4})([mhd])")


def interval(text: str) -> int:
    """Read a time like 24h; return seconds. Raises ``BadValue``."""
    match = INTERVAL.fullmatch(text)
    if match is None:
        raise BadValue(f"{INTERVAL_VARIABLE} {text!r} is not a time; give one such as 24h or 30m")
    return int(match[1]) * UNITS[match[2]]


def retention(settings: Mapping[str, str]) -> tuple[int, int]:
    """Return how many backups are kept, and those of how many days. Raises ``BadValue``."""
    keep, days = (
        flags.count(name, settings.get(name) or DEFAULTS[name])
        for name in (KEEP_VARIABLE, DAYS_VARIABLE)
    )
    if keep < 1:
        raise BadValue(f"{KEEP_VARIABLE} 0 would delete the last backup; keep at least 1")
    return keep, days


def wanted(project: Project) -> bool:
    """Tell whether backups are made on a schedule: where they are to be, and somebody can open them."""
    return project.topology.backups and bool(project.setting(RECIPIENTS_VARIABLE))


def prepare(project: Project) -> None:
    """Check the settings of a schedule and make its directories, for the user of the service. Raises ``BadSettings``."""
    if not wanted(project):
        return
    check(project)
    owner = Store.of(project.name).user
    if project.setting(TO_VARIABLE):
        credentials(project, int(owner["LETTA_STACK_UID"]))
    for path, mode in ((directory(project), 0o700), (metrics.directory(project.name), 0o755)):
        path.mkdir(mode=mode, parents=True, exist_ok=True)
        if os.getuid() == 0:
            os.chown(path, int(owner["LETTA_STACK_UID"]), int(owner["LETTA_STACK_GID"]))


def check(project: Project) -> None:
    """Raise ``BadSettings`` for an interval or a retention that is none."""
    settings = {name: project.setting(name) for name in DEFAULTS}
    try:
        interval(settings[INTERVAL_VARIABLE] or DEFAULTS[INTERVAL_VARIABLE])
        retention(settings)
    except BadValue as error:
        raise BadSettings(f"{error} (in .env or the shell)") from error


def credentials(project: Project, uid: int) -> None:
    """Look at what a schedule needs to write elsewhere. Raises ``BadSettings``."""
    address, named = project.setting(TO_VARIABLE), project.setting(CREDENTIALS_VARIABLE)
    if not address.startswith(SCHEME):
        raise BadSettings(
            f"{TO_VARIABLE} is {address!r}, and the schedule knows only {SCHEME}bucket/prefix; unset it for .state/"
        )
    path = Path(named)
    if not named or not path.is_file():
        raise BadSettings(f"{TO_VARIABLE} needs keys: {CREDENTIALS_VARIABLE} has to name a file")
    if path.stat().st_uid != uid:
        raise BadSettings(
            f"user {uid}, who makes the backups, cannot read {path}; run `chown {uid} {path}`"
        )


def parts(address: str, project: str) -> tuple[str, str]:
    """Read ``s3://bucket/prefix``; return the bucket, and where in it a project has its own. Raises ``BadValue``."""
    url = urlsplit(address)
    if not url.netloc or url.query or url.fragment or "@" in url.netloc:
        raise BadValue(f"{address!r} is no place in a store; give one like {SCHEME}bucket/prefix")
    return url.netloc, "/".join([*filter(None, url.path.split("/")), project, ""])


def check_credentials(path: Path) -> None:
    """Raise ``BadValue`` for a file that is not there, ``SecretsExposed`` for one that others can read."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise BadValue(
            f"{CREDENTIALS_VARIABLE} names {path}, which cannot be read ({error.strerror}); write "
            "aws_access_key_id, aws_secret_access_key, region and endpoint_url below [default] into it"
        ) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SecretsExposed(f"others can read {path}; run `chmod 600 {path}`")


def keys(path: Path) -> dict[str, str]:
    """Read what a file like ~/.aws/credentials says below [default]. Raises ``BadValue``."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8"), source=str(path))
        return dict(parser["default"])
    except (configparser.Error, KeyError, UnicodeDecodeError):
        # Not the error's own words: they repeat a line of the file.
        raise BadValue(
            f"{path} has no section [default] with NAME = VALUE lines below it; see docs/operating.md"
        ) from None


def directory(project: Project) -> Path:
    """Return where the service leaves backups."""
    return STATE / project.name / "backups"
