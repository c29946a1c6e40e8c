"""What a swarm must have before anything is applied: a manager, one host for the data, every image where it is needed."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from letta_stack.base import process
from letta_stack.base.progress import Progress
from letta_stack.base.wait import wait_until
from letta_stack.errors import ClusterLacks, ClusterUnreachable, NodesCannotPull
from letta_stack.topology.catalogue import SERVER
from letta_stack.topology.render.swarm.services import DATA_LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PULL_SECONDS = 1800.0
ENDED = {"complete", "failed", "rejected"}
PROBE = Path(__file__).with_name("encryption_probe.py")


@dataclass(frozen=True)
class Host:
    """One engine of a swarm."""

    id: str
    name: str
    data: bool  # whether the volumes are there
    takes: bool  # whether tasks may be started there
    manager: str  # "reachable" or not, "" for one that only works


def require_manager() -> None:
    """Raise ``ClusterUnreachable`` if the engine manages no swarm."""
    state = json.loads(process.capture(["docker", "info", "--format={{json .Swarm}}"]))
    if not state.get("ControlAvailable"):
        raise ClusterUnreachable(
            f"this engine manages no swarm (it is {state.get('LocalNodeState') or 'inactive'}); make one with "
            "`docker swarm init`, or choose a manager with `docker context use`"
        )


def hosts() -> list[Host]:
    """Return the engines of the swarm."""
    ids = process.capture(["docker", "node", "ls", "--quiet"]).split()
    return [
        Host(
            one["ID"],
            one["Description"]["Hostname"],
            (one["Spec"].get("Labels") or {}).get(DATA_LABEL) == "true",
            one["Status"]["State"] == "ready" and one["Spec"]["Availability"] == "active",
            (one.get("ManagerStatus") or {}).get("Reachability", ""),
        )
        for one in json.loads(process.capture(["docker", "node", "inspect", *ids]))
    ]


def label_data_host(known: Sequence[Host]) -> None:
    """Let the only host have the volumes; raise ``ClusterLacks`` if there are several and not one of them does."""
    labelled = [one.name for one in known if one.data]
    if len(labelled) > 1:
        raise ClusterLacks(
            f"{', '.join(labelled)} have the label {DATA_LABEL}, so the database could start without its volume; leave it to "
            f"one: `docker node update --label-rm {DATA_LABEL} HOST`"
        )
    if labelled:
        return
    if len(known) > 1:
        raise ClusterLacks(
            f"no host has the label {DATA_LABEL}, so nobody knows where the database's volume is; choose one: "
            f"`docker node update --label-add {DATA_LABEL}=true HOST`"
        )
    process.run(["docker", "node", "update", "--label-add", f"{DATA_LABEL}=true", known[0].id])


def images(
    stack: str, services: Mapping[str, Any], known: Sequence[Host], *, encrypted: bool
) -> None:
    """Let every host get what it may have to run, and ask its kernel to encrypt if it will have to.

    One host has what was just made for it, and talks to nobody.

    Raises:
        ClusterLacks: a kernel cannot encrypt.
        NodesCannotPull: a host gets no such image.

    """
    if len(known) == 1:
        return
    anywhere = {one["image"] for one in services.values() if "placement" not in one["deploy"]}
    with_data = {one["image"] for one in services.values()} - anywhere
    jobs: dict[str, list[str]] = {}
    count = 0
    for number, image in enumerate([*sorted(anywhere), *sorted(with_data)]):
        asked = encrypted and image == services[SERVER]["image"]
        name = f"{stack}-{'encryption' if asked else 'image'}-{number}"
        jobs[name] = _job(name, image, data=image in with_data, encryption=asked)
        count += len([one for one in known if one.takes and (one.data or image in anywhere)])
    try:
        for name, command in jobs.items():
            process.probe(["docker", "service", "rm", name])  # what a killed command left
            process.capture(command)
        with Progress(f"looking for images on {len(known)} hosts"):
            wait_until(
                partial(_ended, list(jobs), count),
                timeout=PULL_SECONDS,
                interval=0.5,
                describe=lambda: f"hosts are still busy with images: {_rows(list(jobs))}",
            )
    finally:
        process.probe(["docker", "service", "rm", *jobs])


def _job(name: str, image: str, *, data: bool, encryption: bool) -> list[str]:
    where = [f"--constraint=node.labels.{DATA_LABEL}==true"] if data else []
    what = [image]
    program = ["--entrypoint=true"]
    if encryption:
        program = ["--entrypoint=/usr/bin/python3", "--user=0:0", "--cap-add=NET_ADMIN"]
        what += ["-IS", "-c", PROBE.read_text(encoding="utf-8")]
    options = ["--detach", "--quiet", "--mode=global-job", "--restart-condition=none"]
    options += ["--no-resolve-image", "--with-registry-auth", "--no-healthcheck"]
    return ["docker", "service", "create", f"--name={name}", *options, *where, *program, *what]


def _ended(jobs: Sequence[str], count: int) -> bool:
    rows = _rows(jobs)
    for row in rows:
        if row["CurrentState"].startswith("Rejected"):
            raise NodesCannotPull(
                f"{row['Node']} cannot get {row['Image']} ({row['Error']}); push it to a registry that every host reaches and name "
                "it so in .env, or bring it there: `docker save IMAGE | ssh HOST docker load`"
            )
        # A program that is not in an image says that the image is there.
        if row["CurrentState"].startswith("Failed") and "-encryption-" in row["Name"]:
            code = re.search(r"\((\d+)\)", row["Error"])
            why = os.strerror(int(code[1])) if code else row["Error"]
            raise ClusterLacks(
                f"the kernel of {row['Node']} cannot encrypt what passes between hosts ({why}): it needs ESP and AES-GCM "
                "(CONFIG_INET_ESP, CONFIG_CRYPTO_GCM); leave --encrypted out, and put the hosts into a network of their own"
            )
    return len(rows) == count and all(
        row["CurrentState"].partition(" ")[0].lower() in ENDED for row in rows
    )


def _rows(jobs: Sequence[str]) -> list[dict[str, str]]:
    command = ["docker", "service", "ps", "--no-trunc", "--format=json", *jobs]
    return [json.loads(line) for line in process.probe(command).stdout.splitlines()]
