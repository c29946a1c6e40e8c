"""The table of all flags: what is typed, which function hears of it, and as what."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from letta_stack.base.paths import ROOT, STATE
from letta_stack.operate.place import Place
from letta_stack.telemetry.layout import DEFAULT_DIRECTORY

PEM = str(ROOT / "LICENSE")  # a file that is there; nothing reads it
DIGEST = f"sha256:{'a' * 64}"


@dataclass(frozen=True)
class Wire:
    """A flag (as the user types it), where it arrives, what is there without it, and what is there with it."""

    flag: str
    path: str
    default: object
    given: str | None  # None: the flag takes no value
    value: object

    @property
    def typed(self) -> list[str]:
        """Return the arguments."""
        return [self.flag] if self.given is None else [self.flag, self.given]


@dataclass(frozen=True)
class Wiring:
    """A task in one of its modes."""

    task: str
    ends_in: str
    wires: tuple[Wire, ...]
    base: tuple[str, ...] = ()
    trailing: tuple[str, ...] = ()
    answer: object = None
    fixed: dict[str, Any] = field(default_factory=dict)  # what no flag changes
    also: dict[str, Any] = field(default_factory=dict)  # what is called besides -> what it answers

    @property
    def name(self) -> str:
        """Name the test."""
        return " ".join([self.task, *(one for one in self.base if one.startswith("--"))])


def switch(flag: str, path: str) -> Wire:
    """Return a flag that is off or on."""
    return Wire(flag, path, default=False, given=None, value=True)


def text(flag: str, path: str, default: str, given: str) -> Wire:
    """Return a flag whose text arrives as it is."""
    return Wire(flag, path, default, given, given)


ENV = Wire("--env", "project.topology.name", "single", "dev", "dev")
PROJECT = text("--project", "project.name", "letta-stack-single", "mine")
PORT = Wire("--port", "project.variables.LETTA_STACK_PORT", None, "9000", "9000")
CLUSTER_CHOICES = (
    "database",
    "gateway",
    "host",
    "ingress_class",
    "max_replicas",
    "replicas",
    "secret",
    "storage_class",
    "tls_secret",
)
CONTEXT = text("--context", "cluster.given.context", "", "mine")
ON_KUBERNETES = ("--env", "kubernetes")
CLUSTER_LIFECYCLE = "letta_stack.topology.cluster_lifecycle:"
COLLECTOR_DIRECTORY = Wire(
    "--directory", "layout.directory", DEFAULT_DIRECTORY, "/srv/otelcol", Path("/srv/otelcol")
)
SOURCES = (
    text("--images", "sources.images", "auto", "debian"),
    text("--otelcol", "sources.otelcol", "auto", "release"),
    Wire("--letta-source", "sources.letta_source", None, str(ROOT), ROOT),
    Wire("--ca", "sources.ca", None, PEM, Path(PEM)),
)
BUILD_SOURCES = tuple(
    Wire(one.flag, one.path.replace("sources.", "self."), one.default, one.given, one.value)
    for one in SOURCES
)
REQUEST_SOURCES = tuple(
    Wire(one.flag, one.path.replace("sources.", "request."), one.default, one.given, one.value)
    for one in SOURCES
)
PUSH_PLATFORM = Wire(
    "--platform",
    "request.platforms",
    ("linux/amd64", "linux/arm64"),
    "linux/arm64",
    ("linux/arm64",),
)
PUBLIC = Wire("--public", "project.variables", {}, None, {"LETTA_STACK_BIND": "0.0.0.0"})
NO_CACHE = switch("--no-cache", "request.no_cache")
DRY_RUN = switch("--dry-run", "dry_run")
CERTS_PROJECT = (
    text("--project", "directory.name", "letta-stack-prod", "mine"),
    Wire(
        "--env", "directory.name", "letta-stack-prod", "observability", "letta-stack-observability"
    ),
)
PROD_ENV = Wire("--env", "project.topology.name", "prod", "dev", "dev")
PROD_PROJECT = text("--project", "project.name", "letta-stack-prod", "mine")
TARGET = (
    Wire("--registry", "options.registries", [], "ghcr.io", ["ghcr.io"]),
    Wire("--repository", "options.repositories", [], "me/letta", ["me/letta"]),
    Wire("--plain-http", "options.plain_http", [], "a.example:80", ["a.example:80"]),
)
NAMING = (
    text("--revision", "options.revision", "0", "2"),
    text("--channel", "options.channel", "release", "nightly"),
    switch("--allow-older", "options.allow_older"),
    switch("--allow-letta-code", "options.allow_letta_code"),
)
RELEASE = (
    *TARGET,
    *NAMING,
    text("--version", "options.version", "", "0.16.8"),
    switch("--allow-dirty", "options.allow_dirty"),
)
PROD_DEFAULT = (
    Wire("--env", "project.topology.name", "prod", "dev", "dev"),
    text("--project", "project.name", "letta-stack-prod", "mine"),
)
OUTPUT = text("--output", "target", "", "bundle.tar.gz")
ARCHIVED_STACK = (
    Wire("--env", "project.topology.name", "single", "dev", "dev"),
    text("--project", "project.name", "letta-stack-single", "mine"),
)
BACKUP_STACK = (
    Wire("--env", "stack.topology.name", "single", "dev", "dev"),
    text("--project", "stack.name", "letta-stack-single", "mine"),
)
BACKUP_CONTEXT = text("--context", "stack.given.context", "", "mine")
DIRECTORY = Wire(
    "--dir", "directory", STATE / "letta-stack-single/backups", str(ROOT / "there"), ROOT / "there"
)
PROTECTION = (
    Wire("--recipient", "to", [], "age1x", ["age1x"]),
    switch("--clear-secrets", "clear"),
)
NO_BACKUPS = Place(Path("nowhere"), None)
ONE_BACKUP = SimpleNamespace(id="one", directory=None)
BACKUP_READ: dict[str, Any] = {"letta_stack.operate.store:in_use": contextlib.nullcontext()}
BACKUP_FOUND: dict[str, Any] = BACKUP_READ | {"letta_stack.operate.store:find": ONE_BACKUP}
BACKUP_ALSO = {"letta_stack.base.lock:held": contextlib.nullcontext()}
LIFECYCLE = "letta_stack.topology.lifecycle:"
PUSH = "letta_stack.release.push:"

TABLE = (
    Wiring("engine", "letta_stack.engine.install:ensure", (switch("--check", "check"),)),
    Wiring(
        "build",
        "letta_stack.image.sources:Sources.build",
        (
            *BUILD_SOURCES,
            Wire("--platform", "platforms", [], "linux/arm64", ["linux/arm64"]),
            switch("--no-cache", "no_cache"),
            DRY_RUN,
        ),
    ),
    Wiring(
        "build",
        f"{PUSH}push",
        (
            *REQUEST_SOURCES,
            PUSH_PLATFORM,
            NO_CACHE,
            DRY_RUN,
            *RELEASE,
            switch("--untagged", "untagged"),
        ),
        base=("--push",),
    ),
    Wiring(
        "build",
        "letta_stack.release.reproducible:check_commit",
        (
            *REQUEST_SOURCES,
            PUSH_PLATFORM,
            DRY_RUN,
            switch("--allow-dirty", "allow_dirty"),
        ),
        base=("--check-reproducible",),
        fixed={"request.no_cache": True},
    ),
    Wiring(
        "promote",
        "letta_stack.release.promote:promote",
        (
            *(one for one in REQUEST_SOURCES if one.flag in {"--ca", "--letta-source"}),
            PUSH_PLATFORM,
            DRY_RUN,
            *RELEASE,
            Wire("--digests", "digests", [DIGEST], f"{DIGEST},x", [DIGEST, "x"]),
        ),
        base=(DIGEST,),
        fixed={"request.no_cache": False, "request.images": "auto", "request.otelcol": "auto"},
    ),
    Wiring(
        "tags",
        f"{PUSH}show_tags",
        (
            *TARGET,
            *NAMING,
            text("--version", "options.version", "0.16.8", "0.16.7"),
            Wire("--ca", "ca", None, PEM, Path(PEM)),
        ),
        base=("0.16.8",),
    ),
    Wiring(
        "notes",
        "letta_stack.release.notes:write",
        (
            text("--image", "image", "me/letta@x", "me/letta@y"),
            text("--reports", "directory", "", "elsewhere"),
        ),
        base=("me/letta@x",),
        answer="the notes",
        fixed={"stdout": "the notes\n"},
    ),
    Wiring(
        "checks",
        "letta_stack.release.checks:show",
        (text("--reports", "directory", "", "elsewhere"),),
        answer="the table",
        fixed={"stdout": "the table\n", "as_json": False},
    ),
    Wiring(
        "checks",
        "letta_stack.release.checks:show",
        (),
        base=("--json",),
        answer="[]",
        fixed={"stdout": "[]\n", "as_json": True},
    ),
    Wiring(
        "version",
        "letta_stack.image.server:show_version",
        (
            switch("--why", "why"),
            text("--version", "explicit", "", "0.16.7"),
            text("--letta-source", "source", "", "letta"),
            text("--image", "image", "", "me/letta:1"),
            switch("--allow-letta-code", "allow_letta_code"),
        ),
        answer=["one", "two"],
        fixed={"stdout": "one\ntwo\n"},
    ),
    Wiring("up", f"{LIFECYCLE}up", (ENV, PROJECT, PORT, *SOURCES, PUBLIC)),
    Wiring(
        "up",
        f"{LIFECYCLE}up",
        (
            Wire("--replicas", "project.replicas", 1, "3", 3),
            Wire("--database", "project.variables.LETTA_STACK_DATABASE", None, "ha", "ha"),
        ),
        base=("--env", "prod"),
    ),
    Wiring(
        "up",
        f"{LIFECYCLE}up",
        (
            Wire("--pg-port", "project.variables.LETTA_STACK_PG_PORT", None, "5433", "5433"),
            Wire("--redis-port", "project.variables.LETTA_STACK_REDIS_PORT", None, "6380", "6380"),
        ),
        base=("--env", "services"),
    ),
    Wiring(
        "up",
        "letta_stack.topology.source_tree:mount",
        (text("--debug-port", "debug_port", "", "5678"),),
        base=("--env", "hot"),
        answer=(None, None),
        also={f"{LIFECYCLE}up": None},
    ),
    Wiring(
        "up",
        f"{LIFECYCLE}up",
        (
            Wire("--llm", "project.variables.LETTA_STACK_LLM", None, "ollama", "ollama"),
            Wire(
                "--llm-endpoint",
                "project.variables.LETTA_STACK_LLM_ENDPOINT",
                None,
                "http://gpu:8000",
                "http://gpu:8000",
            ),
        ),
        base=("--env", "vllm"),
    ),
    Wiring(
        "up",
        f"{LIFECYCLE}up",
        (
            Wire(
                "--dashboard-port",
                "project.variables.LETTA_STACK_DASHBOARD_PORT",
                None,
                "3001",
                "3001",
            ),
        ),
        base=("--env", "observability"),
    ),
    Wiring(
        "env",
        "letta_stack.topology.exports:lines",
        (
            Wire("--env", "project.topology.name", "services", "dev", "dev"),
            text("--project", "project.name", "letta-stack-services", "mine"),
        ),
        answer="export A=1",
        fixed={"stdout": "export A=1\n"},
    ),
    Wiring(
        "down",
        f"{LIFECYCLE}down",
        (ENV, PROJECT, switch("--volumes", "volumes"), switch("--yes", "yes")),
    ),
    Wiring(
        "up",
        f"{CLUSTER_LIFECYCLE}up",
        (
            CONTEXT,
            *(
                text(f"--{name.replace('_', '-')}", f"cluster.given.{name}", "", "x")
                for name in CLUSTER_CHOICES
            ),
            switch("--yes", "yes"),
        ),
        base=ON_KUBERNETES,
    ),
    Wiring(
        "up",
        "letta_stack.topology.swarm_lifecycle:up",
        (Wire("--encrypted", "cluster.given.encrypted", "", None, "yes"),),
        base=("--env", "swarm"),
    ),
    Wiring(
        "deploy",
        "letta_stack.operate.swarm_rollout:deploy",
        (text("--image", "order.image", "", "x"), switch("--dry-run", "order.dry_run")),
        base=("--env", "swarm"),
    ),
    Wiring(
        "doctor",
        "letta_stack.operate.doctor.run:doctor_of_swarm",
        (),
        base=("--env", "swarm", "--json"),
        fixed={"as_data": True},
    ),
    Wiring(
        "rollback",
        "letta_stack.operate.swarm_rollout:rollback",
        (switch("--dry-run", "dry_run"),),
        base=("--env", "swarm"),
    ),
    Wiring("down", f"{CLUSTER_LIFECYCLE}down", (CONTEXT,), base=ON_KUBERNETES),
    Wiring("ps", f"{CLUSTER_LIFECYCLE}ps", (CONTEXT,), base=ON_KUBERNETES, answer=0),
    Wiring(
        "logs",
        f"{CLUSTER_LIFECYCLE}logs",
        (CONTEXT, Wire("--tail", "tail", 100, "7", 7)),
        base=ON_KUBERNETES,
        answer=0,
    ),
    Wiring("restart", f"{CLUSTER_LIFECYCLE}restart", (CONTEXT,), base=ON_KUBERNETES),
    Wiring(
        "exec",
        f"{CLUSTER_LIFECYCLE}execute",
        (CONTEXT,),
        base=ON_KUBERNETES,
        trailing=("--", "id"),
        answer=0,
    ),
    Wiring("cluster.up", "letta_stack.topology.trial_cluster:up", (text("--ca", "ca", "", "x"),)),
    Wiring(
        "cluster.down",
        "letta_stack.topology.trial_cluster:down",
        (switch("--volumes", "volumes"),),
    ),
    Wiring("ps", f"{LIFECYCLE}ps", (ENV, PROJECT), answer=3, fixed={"code": 3}),
    Wiring(
        "logs",
        f"{LIFECYCLE}logs",
        (
            ENV,
            PROJECT,
            text("--service", "service", "", "letta-db"),
            Wire("--tail", "tail", 100, "7", 7),
            switch("--follow", "follow"),
        ),
        answer=-9,
        fixed={"code": 137},
    ),
    Wiring(
        "restart",
        f"{LIFECYCLE}restart",
        (ENV, PROJECT, text("--service", "service", "", "letta-db")),
    ),
    Wiring(
        "exec",
        f"{LIFECYCLE}execute",
        (ENV, PROJECT, text("--service", "service", "", "letta-db")),
        trailing=("--", "sh", "-c", "echo  a b"),
        answer=5,
        fixed={"code": 5, "command": ["sh", "-c", "echo  a b"]},
    ),
    Wiring("config", f"{LIFECYCLE}config", (ENV, PROJECT, PORT), answer=0, fixed={"code": 0}),
    Wiring(
        "wait",
        "letta_stack.base.http_wait:wait_for_status",
        (
            text("--url", "url", "http://a/", "http://b/"),
            Wire("--timeout", "timeout", 60.0, "5", 5.0),
            Wire("--interval", "interval", 0.1, "2", 2.0),
            Wire("--status", "status", 200, "204", 204),
        ),
        base=("http://a/",),
        answer=0.5,
        fixed={"stdout": "", "stderr": "http://a/ answered after 0.50 s\n"},
    ),
    Wiring(
        "render",
        "letta_stack.topology.clustered:render",
        (
            Wire("--env", "cluster.topology.name", "kubernetes", "swarm", "swarm"),
            text("--project", "cluster.name", "letta-stack-kubernetes", "mine"),
            text("--out", "out", "", "there"),
            text("--form", "form", "", "helm"),
            *(
                text(f"--{name.replace('_', '-')}", f"cluster.given.{name}", "", "x")
                for name in CLUSTER_CHOICES
            ),
            Wire("--encrypted", "cluster.given.encrypted", "", None, "yes"),
        ),
    ),
    Wiring(
        "lint",
        "letta_stack.topology.models:models",
        (
            Wire("--env", "envs", [], "dev", ["dev"]),
            Wire("--file", "files", [], "x.yaml", ["x.yaml"]),
        ),
        answer=[],
        fixed={"code": 0},
    ),
    Wiring(
        "certs.make",
        "letta_stack.certs.make:make",
        (
            Wire("--name", "texts", [], "a.example", ["a.example"]),
            Wire("--days", "days", 90, "7", 7),
            switch("--force", "force"),
            *CERTS_PROJECT,
        ),
    ),
    Wiring(
        "certs.use",
        "letta_stack.certs.make:use",
        (
            text("--cert", "chain", "", "b"),
            text("--key", "key", "", "b-key"),
            *CERTS_PROJECT,
        ),
    ),
    Wiring(
        "certs.client",
        "letta_stack.certs.make:client",
        (
            text("--name", "name", "alice", "bob"),
            Wire("--days", "days", 90, "7", 7),
            *CERTS_PROJECT,
        ),
        base=("alice",),
    ),
    Wiring(
        "certs.internal",
        "letta_stack.certs.make:internal",
        (
            Wire("--days", "days", 730, "7", 7),
            switch("--force", "force"),
            *CERTS_PROJECT,
        ),
        answer=False,
    ),
    Wiring(
        "certs.check",
        "letta_stack.certs.check:findings",
        CERTS_PROJECT,
        answer=["one"],
        also={
            "letta_stack.certs.check:describe": "ends soon",
            "letta_stack.certs.check:check_expiry": None,
        },
        fixed={"stdout": "ends soon\n"},
    ),
    Wiring(
        "certs.check",
        "letta_stack.certs.check:check_expiry",
        (Wire("--soon", "soon", 21, "7", 7),),
        also={"letta_stack.certs.check:findings": []},
        fixed={"findings": []},
    ),
    Wiring("secrets.list", "letta_stack.topology.secret_files:show_all", (PROD_ENV, PROD_PROJECT)),
    Wiring(
        "secrets.show",
        "letta_stack.topology.secret_files:show",
        (PROD_ENV, PROD_PROJECT, text("--name", "name", "server-password", "redis-password")),
        base=("server-password",),
    ),
    Wiring(
        "secrets.rotate",
        "letta_stack.topology.rotation:rotate",
        (PROD_ENV, PROD_PROJECT, text("--name", "name", "server-password", "redis-password")),
        base=("server-password",),
    ),
    Wiring(
        "otelcol.install",
        "letta_stack.telemetry.install:install",
        (
            COLLECTOR_DIRECTORY,
            *(one for one in SOURCES if one.flag != "--letta-source"),
        ),
        also={"letta_stack.telemetry.layout:detect": "linux/amd64"},
        fixed={"host": "linux/amd64"},
    ),
    Wiring("otelcol.start", "letta_stack.telemetry.daemon:start", (COLLECTOR_DIRECTORY,)),
    Wiring("otelcol.stop", "letta_stack.telemetry.daemon:stop", (COLLECTOR_DIRECTORY,)),
    Wiring(
        "otelcol.status",
        "letta_stack.telemetry.daemon:status",
        (COLLECTOR_DIRECTORY,),
        answer=["it runs"],
        fixed={"stdout": "it runs\n"},
    ),
    Wiring(
        "otelcol.verify",
        "letta_stack.telemetry.install:verify",
        (COLLECTOR_DIRECTORY,),
        answer="1.2.3",
        fixed={"stdout": f"collector 1.2.3: {DEFAULT_DIRECTORY / 'otelcol-contrib'}\n"},
    ),
    Wiring(
        "doctor",
        "letta_stack.operate.doctor.run:doctor",
        (ENV, PROJECT, switch("--fix", "fix")),
        fixed={"as_data": False},
    ),
    Wiring(
        "doctor",
        "letta_stack.operate.doctor.run:doctor",
        (),
        base=("--json",),
        fixed={"as_data": True},
    ),
    Wiring(
        "doctor",
        "letta_stack.operate.doctor.cluster:doctor",
        (CONTEXT, switch("--fix", "fix")),
        base=ON_KUBERNETES,
        fixed={"as_data": False},
    ),
    Wiring(
        "deploy",
        "letta_stack.operate.deploy:deploy",
        (
            *PROD_DEFAULT,
            text("--image", "order.image", "", "me/letta:2"),
            text("--version", "order.version", "", "0.16.7"),
            switch("--dry-run", "order.dry_run"),
            switch("--maintenance", "order.maintenance"),
            Wire("--no-backup", "order.backup", default=True, given=None, value=False),
        ),
    ),
    Wiring(
        "faults",
        "letta_stack.operate.faults.run:faults",
        (
            *PROD_DEFAULT,
            Wire("--only", "order.only", [], "redis-gone", ["redis-gone"]),
            Wire("--seed", "order.seed", None, "7", 7),
            switch("--yes", "order.yes"),
            switch("--dry-run", "order.dry_run"),
        ),
        fixed={"order.as_json": False},
    ),
    Wiring(
        "faults",
        "letta_stack.operate.faults.run:faults",
        (),
        base=("--json",),
        fixed={"order.as_json": True},
    ),
    Wiring(
        "faults",
        "letta_stack.operate.faults.report:catalogue",
        (),
        base=("--list",),
        answer="all",
        fixed={"stdout": "all\n"},
    ),
    Wiring("rollback", "letta_stack.operate.deploy:rollback", (*PROD_DEFAULT, DRY_RUN)),
    Wiring(
        "deploy",
        "letta_stack.operate.rollout:deploy",
        (
            CONTEXT,
            text("--image", "order.image", "", "me/letta:2"),
            text("--version", "order.version", "", "0.16.7"),
            switch("--dry-run", "order.dry_run"),
            switch("--maintenance", "order.maintenance"),
            Wire("--no-backup", "order.backup", default=True, given=None, value=False),
            switch("--yes", "yes"),
        ),
        base=ON_KUBERNETES,
    ),
    Wiring(
        "rollback",
        "letta_stack.operate.rollout:rollback",
        (CONTEXT, switch("--dry-run", "dry_run"), switch("--yes", "yes")),
        base=ON_KUBERNETES,
    ),
    Wiring(
        "support-bundle",
        "letta_stack.operate.support:write",
        (ENV, Wire("--project", "project.name", "letta-stack-single", "mine", "mine"), OUTPUT),
        answer="bundle.tar.gz",
        fixed={"stdout": "bundle.tar.gz\n"},
    ),
    Wiring(
        "support-bundle",
        "letta_stack.operate.support_cluster:collect",
        (CONTEXT,),
        base=(*ON_KUBERNETES, "--output", "bundle.tar.gz"),
        answer={},
        also={"letta_stack.operate.support:pack": "bundle.tar.gz"},
        fixed={"stdout": "bundle.tar.gz\n"},
    ),
    Wiring(
        "backup.create",
        "letta_stack.operate.backup:create",
        (*BACKUP_STACK, DIRECTORY, *PROTECTION),
        answer=SimpleNamespace(directory="there"),
        also=BACKUP_ALSO,
        fixed={"stdout": "there\n"},
    ),
    Wiring(
        "backup.list",
        "letta_stack.operate.store:directory_of",
        (
            Wire("--env", "project", "letta-stack-single", "dev", "letta-stack-dev"),
            text("--project", "project", "letta-stack-single", "mine"),
            text("--dir", "given", "", "there"),
        ),
        answer=Path("nowhere"),
        fixed={"stdout": "backup  size  Letta  rows  secrets  verified  why\n"},
    ),
    Wiring(
        "backup.verify",
        "letta_stack.operate.verify:verify_for",
        (*BACKUP_STACK, text("--identity", "identity", "", "key")),
        answer="verified",
        also=BACKUP_FOUND,
        fixed={"stdout": "verified\n"},
    ),
    Wiring(
        "backup.verify",
        "letta_stack.operate.store:find",
        (DIRECTORY, text("--backup", "name", "latest", "2026")),
        answer=ONE_BACKUP,
        also=BACKUP_READ | {"letta_stack.operate.verify:verify_for": ""},
        fixed={"stdout": "\n"},
    ),
    Wiring(
        "backup.restore",
        "letta_stack.operate.restore:restore",
        (
            *BACKUP_STACK,
            DIRECTORY,
            *PROTECTION,
            Wire("--identity", "identity", None, "key", Path("key")),
            switch("--foreign", "foreign"),
        ),
        base=("--yes",),
        answer=SimpleNamespace(id="before"),
        also=BACKUP_ALSO | BACKUP_FOUND,
        fixed={"stdout": "restored one; what was there before is backup before\n"},
    ),
    Wiring(
        "backup.restore",
        "letta_stack.operate.store:find",
        (text("--backup", "name", "latest", "2026"),),
        base=("--yes",),
        answer=ONE_BACKUP,
        also=BACKUP_ALSO
        | BACKUP_READ
        | {"letta_stack.operate.restore:restore": SimpleNamespace(id="before")},
        fixed={"stdout": "restored one; what was there before is backup before\n"},
    ),
    Wiring(
        "backup.restore",
        "letta_stack.operate.recovery:run",
        (
            *ARCHIVED_STACK,
            DIRECTORY,
            Wire("--recipient", "recipients", [], "age1x", ["age1x"]),
            switch("--clear-secrets", "clear"),
            switch("--yes", "yes"),
        ),
        base=("--to-time", "2026-11-27 19:00+00"),
        fixed={"to_time": "2026-11-27 19:00+00"},
    ),
    Wiring(
        "backup.create",
        "letta_stack.operate.backup:create",
        (),
        base=("--env", "swarm"),
        answer=SimpleNamespace(directory="there"),
        also=BACKUP_ALSO,
        fixed={"stdout": "there\n"},
    ),
    Wiring(
        "backup.create",
        "letta_stack.operate.backup:create",
        (BACKUP_CONTEXT,),
        base=ON_KUBERNETES,
        answer=SimpleNamespace(directory="there"),
        also=BACKUP_ALSO,
        fixed={"stdout": "there\n"},
    ),
    Wiring(
        "backup.list",
        "letta_stack.operate.place:of",
        (BACKUP_CONTEXT,),
        base=ON_KUBERNETES,
        answer=NO_BACKUPS,
        fixed={"stdout": "backup  size  Letta  rows  secrets  verified  why\n"},
    ),
    Wiring(
        "backup.verify",
        "letta_stack.operate.verify:verify_for",
        (BACKUP_CONTEXT,),
        base=ON_KUBERNETES,
        answer="verified",
        also=BACKUP_FOUND,
        fixed={"stdout": "verified\n"},
    ),
    Wiring(
        "backup.restore",
        "letta_stack.operate.restore:restore",
        (BACKUP_CONTEXT,),
        base=(*ON_KUBERNETES, "--yes"),
        answer=SimpleNamespace(id="before"),
        also=BACKUP_ALSO | BACKUP_FOUND,
        fixed={"stdout": "restored one; what was there before is backup before\n"},
    ),
    Wiring(
        "backup.prune",
        "letta_stack.operate.place:of",
        (BACKUP_CONTEXT,),
        base=ON_KUBERNETES,
        answer=NO_BACKUPS,
        also=BACKUP_ALSO,
    ),
    Wiring(
        "backup.prune",
        "letta_stack.operate.store:prune",
        (
            DIRECTORY,
            Wire("--keep", "keep", 7, "3", 3),
            Wire("--days", "days", 7, "2", 2),
            DRY_RUN,
        ),
        also=BACKUP_ALSO,
    ),
    Wiring(
        "backup.prune",
        "letta_stack.operate.store:directory_of",
        (
            Wire("--env", "project", "letta-stack-single", "dev", "letta-stack-dev"),
            text("--project", "project", "letta-stack-single", "mine"),
        ),
        answer=Path("nowhere"),
        also=BACKUP_ALSO,
    ),
    Wiring(
        "trim",
        "letta_stack.operate.trim:trim",
        (ENV, PROJECT, Wire("--days", "days", 30, "7", 7), DRY_RUN),
        answer=3,
        also=BACKUP_ALSO,
        fixed={"stdout": "provider_traces: 3 rows are gone\n"},
    ),
    Wiring(
        "adopt",
        "letta_stack.operate.adopt.run:adopt",
        (
            text("--from", "order.source", "", "letta"),
            ENV,
            PROJECT,
            PORT,
            text("--database", "order.database", "", "mine"),
            text("--key-file", "order.key_file", "", "key"),
            text("--postgres-image", "order.postgres_image", "", "pgvector/pgvector:pg17"),
            switch("--dry-run", "order.dry_run"),
            switch("--yes", "order.yes"),
        ),
    ),
    Wiring(
        "upgrade",
        "letta_stack.operate.upgrade:upgrade",
        (
            ENV,
            PROJECT,
            text("--postgres-image", "order.postgres_image", "", "pgvector/pgvector:pg14"),
            switch("--dry-run", "order.dry_run"),
            switch("--maintenance", "order.maintenance"),
            switch("--yes", "order.yes"),
        ),
    ),
)
