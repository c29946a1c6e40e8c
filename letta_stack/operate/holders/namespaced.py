"""A stack in a namespace of Kubernetes: its pods, its claims and its Secrets."""

from __future__ import annotations

import base64
import contextlib
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from letta_stack.base import process
from letta_stack.base.progress import Progress
from letta_stack.base.wait import wait_until
from letta_stack.errors import BackupForeign, DatabaseElsewhere, NotRunning
from letta_stack.operate import samples, scratch, secrets_bundle
from letta_stack.operate.holders import tool_pod
from letta_stack.operate.holders.in_pod import InPod
from letta_stack.operate.holders.one_host import VERSIONS
from letta_stack.operate.postgres import OWNER
from letta_stack.operate.secrets_bundle import SECRET_NAME, Secrets
from letta_stack.pins.file import Pins
from letta_stack.topology import cluster_lifecycle, cluster_state
from letta_stack.topology.catalogue import DATABASE, SERVER
from letta_stack.topology.cluster_lifecycle import MIGRATION_SECONDS, READY_SECONDS
from letta_stack.topology.render.kubernetes.options import EXTERNAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from letta_stack.operate.manifest import Manifest
    from letta_stack.operate.postgres import Postgres
    from letta_stack.topology.clustered import Clustered
    from letta_stack.topology.runners.kubernetes import Kubernetes

STOP_SECONDS = 900.0  # longer than any pod may take to stop
LETTA_VERSION = "import importlib.metadata as m; print(m.version('letta'))"
# What the cluster wrote into a Job, and takes from nobody.
OWNED = ("controller-uid", "job-name")


@dataclass(frozen=True)
class Namespaced:
    """The pods of a namespace."""

    cluster: Clustered

    @cached_property
    def mine(self) -> Kubernetes:
        """What handles the objects."""
        return cluster_lifecycle.runner(self.cluster)

    def postgres(self) -> Postgres:
        """Return the database of the namespace. Raises ``NotRunning``, ``DatabaseElsewhere``."""
        found = self._workload(f"statefulset/{DATABASE.name}")
        if found is None:
            raise DatabaseElsewhere(
                f"{self.cluster.name} has --database {EXTERNAL}: its PostgreSQL is not part of it; use the tools of that "
                "database (pg_dump, pg_restore), and keep the encryption key of the Secret with its backups"
            )
        pods = [one for one in self.mine.states() if one.service == DATABASE.name and one.ready]
        if not pods:
            raise NotRunning(
                f"{DATABASE.name} of {self.cluster.name} does not run; see `inv ps {self.cluster.flags}`"
            )
        (container,) = found["spec"]["template"]["spec"]["containers"]
        given = {one["name"]: one.get("value", "") for one in container["env"]}
        user = given["POSTGRES_USER"]
        database = InPod(pods[0].container, user, given["POSTGRES_DB"], user, self.mine)
        return replace(database, owner=database.value(OWNER))

    def server(self) -> str:
        """Return the pod of a server that is ready. Raises ``NotRunning``."""
        pods = [one for one in self.mine.states() if one.service == SERVER and one.ready]
        if not pods:
            raise NotRunning(
                f"no {SERVER} of {self.cluster.name} is ready; see `inv ps {self.cluster.flags}`"
            )
        return pods[0].container

    def secrets(self) -> Secrets:
        """Collect the keys of the Secrets that the servers get, as files and as variables. Raises ``NotRunning``."""
        workload = self._workload(f"deployment/{SERVER}")
        if workload is None:
            raise NotRunning(
                f"{self.cluster.name} has no {SERVER}, so nobody knows its encryption key; start it with "
                f"`inv up {self.cluster.flags}`"
            )
        template = workload["spec"]["template"]["spec"]
        (container,) = template["containers"]
        variables = {one["name"]: one.get("value", "") for one in container["env"]}
        for one in container.get("envFrom") or []:
            data = self._data(one["secretRef"]["name"])
            variables |= {key: base64.b64decode(text).decode() for key, text in data.items()}
        files: dict[str, str] = {}
        for volume in template["volumes"]:
            if given := volume.get("secret"):
                data = self._data(given["secretName"])
                files |= {f"run/secrets/{one['path']}": data[one["key"]] for one in given["items"]}
        return Secrets(
            encryption_key=secrets_bundle.effective_key(variables, files),
            files=files,
            environment={
                name: value
                for name, value in variables.items()
                if value and SECRET_NAME.search(name)
            },
        )

    def origin(self, source: Postgres) -> dict[str, Any]:
        """Collect what the manifest says about the namespace."""
        server = self.server()
        return {
            "topology": self.cluster.topology.name,
            "project": self.cluster.name,
            "stack_version": Pins.load()["LETTA_STACK_VERSION"],
            "letta_version": process.capture(
                [*self._in_server(server), samples.PYTHON, "-c", LETTA_VERSION]
            ).strip(),
            "server_image": self._image(server),
            "database_image": self._image(source.container),
        }

    @contextlib.contextmanager
    def scratch(self, about: Manifest) -> Iterator[Postgres]:  # noqa: ARG002 - the present one reads every backup that can be restored
        """Run an empty PostgreSQL in a pod of its own, of the image that the namespace has."""
        workload = self._workload(f"statefulset/{DATABASE.name}")
        if workload is None:
            raise DatabaseElsewhere(
                f"{self.cluster.name} has no PostgreSQL whose image could read the backup; verify it on one host: "
                "`inv backup.verify --backup PATH`"
            )
        environment = {"PGHOST": f"{scratch.HOME}/data"}
        command = ["sh", "-c", scratch.START]
        with tool_pod.started(
            self.mine, workload, command=command, environment=environment
        ) as name:
            target = InPod(name, "postgres", "postgres", "postgres", self.mine)
            wait_until(
                lambda: process.probe(target.argv("pg_isready", "--quiet")).ok,
                timeout=scratch.START_SECONDS,
                interval=0.5,
                describe="the PostgreSQL to verify in does not start",
            )
            yield target

    def readable(self, about: Manifest, sealed: Sequence[str], key: str) -> bool:  # noqa: ARG002 - see above
        """Let a server that runs decrypt one of the samples."""
        python = [*self._in_server(self.server(), interactive=True), samples.PYTHON]
        return samples.readable(python, sealed, key)

    def knows(self, revision: str) -> bool:
        """Look for the migration in a server that runs."""
        pattern = f"^revision.*['\"]{revision}['\"]"
        command = [*self._in_server(self.server()), "grep", "-rlE", pattern, VERSIONS]
        return bool(process.probe(command).stdout.strip())

    @contextlib.contextmanager
    def stopped(self, target: Postgres) -> Iterator[None]:  # noqa: ARG002 - it is in a pod of its own
        """Scale the servers to none for the block. An autoscaler lets a Deployment alone that has none."""
        (present,) = self.mine.get(f"deployment/{SERVER}")
        count = int(present["spec"].get("replicas", 1))
        with Progress("waiting for running turns to end"):
            self.stop()
        try:
            yield
        finally:
            # Before the servers: a backup of an older schema is migrated by a Job of its own.
            self._migrate()
            self.mine.scale(SERVER, count)

    def stop(self) -> None:
        """Scale the servers to none and wait until they have ended their requests and are gone."""
        self.mine.scale(SERVER, 0)
        cluster_state.wait(self.mine, self._gone, STOP_SECONDS)

    def install_key(self, key: str) -> None:
        """Raise ``BackupForeign``: the key is in a Secret, which is its owner's."""
        raise BackupForeign(
            f"the servers of {self.cluster.name} take their encryption key ({len(key)} characters in the backup) from a place "
            "of their own; put it there, `inv restart`, and try again"
        )

    def wait_ready(self) -> None:
        """Wait until every pod does its work and the API answers."""
        with Progress(
            f"waiting for {self.cluster.name}", detail=lambda: cluster_state.overview(self.mine)
        ):
            ready = partial(cluster_state.rolled_out, self.mine)
            cluster_state.wait(self.mine, ready, READY_SECONDS)
        cluster_lifecycle.answer(self.mine)

    def _gone(self) -> bool:
        return not any(one.service == SERVER for one in self.mine.states())

    def _migrate(self) -> None:
        """Run the Job of the migration again, as it was applied."""
        jobs = self.mine.mine("jobs")
        self.mine.delete_jobs(but=[])
        self.mine.apply([again(one) for one in jobs])
        names = [one["metadata"]["name"] for one in jobs]
        migrated = partial(cluster_state.migrated, self.mine, names)
        cluster_state.wait(self.mine, migrated, MIGRATION_SECONDS)

    def _workload(self, name: str) -> dict[str, Any] | None:
        found = self.mine.get(name, "--ignore-not-found")
        return found[0] if found else None

    def _data(self, name: str) -> dict[str, str]:
        found = self.mine.get(f"secret/{name}", "--ignore-not-found")
        return dict(found[0].get("data") or {}) if found else {}

    def _image(self, pod: str) -> str:
        (found,) = self.mine.get(f"pod/{pod}")
        (container,) = found["spec"]["containers"]
        return str(container["image"])

    def _in_server(self, pod: str, *, interactive: bool = False) -> list[str]:
        options = ["--stdin"] if interactive else []
        return self.mine.argv("exec", *options, pod, "--")


def again(job: dict[str, Any]) -> dict[str, Any]:
    """Return a Job as it was applied, so that it can be applied again."""
    kept = {key: job["metadata"][key] for key in ("name", "namespace", "labels")}
    spec = {key: value for key, value in job["spec"].items() if key != "selector"}
    template = spec["template"]
    words = template["metadata"]["labels"].items()
    mine = {key: value for key, value in words if key.rpartition("/")[2] not in OWNED}
    spec["template"] = {**template, "metadata": {"labels": mine}}
    return {"apiVersion": job["apiVersion"], "kind": job["kind"], "metadata": kept, "spec": spec}
