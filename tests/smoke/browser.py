"""A browser that looks at the dashboards as a person does."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

from python_on_whales import docker

from letta_stack.base import process
from letta_stack.base.paths import REPORTS, ROOT
from letta_stack.image import third_party
from letta_stack.secrets import monitoring

if TYPE_CHECKING:
    from collections.abc import Sequence

TAG = "letta-stack/test-browser"
CONTEXT = ROOT / "tests" / "smoke" / "chromium"
PICTURES = REPORTS / "dashboards"


@functools.cache
def image() -> str:
    """Build the browser's image, if it is not there; return its name."""
    bases = third_party.ensure(["DEBIAN_IMAGE"], source="auto", ca=None)
    arguments = [f"--build-arg={name}={reference}" for name, reference in bases.items()]
    process.run(["docker", "build", "--quiet", "--tag", TAG, *arguments, str(CONTEXT)])
    return TAG


def look_at(
    uids: Sequence[str], *, address: str, network: str, password: str
) -> dict[str, dict[str, str]]:
    """Open dashboards and leave a picture of each in reports/dashboards.

    Returns:
        By dashboard and title of the panel what is wrong with it, "" if nothing is.

    """
    PICTURES.mkdir(parents=True, exist_ok=True)
    PICTURES.chmod(0o777)  # the browser has a user of its own
    seen: dict[str, dict[str, str]] = json.loads(
        docker.container.run(
            image(),
            [address, *uids],
            envs={"USER_NAME": monitoring.DASHBOARD_USER, "PASSWORD": password},
            networks=[network],
            volumes=[(PICTURES, "/pictures")],
            remove=True,
            pull="never",
        )
    )
    return seen
