"""Checks in clean environments. Plain `nox` runs them all; `nox -t fast` is for between edits: no containers.

Tags: fast (lint, types, unit, cli, coverage), docker (arm64, smoke, release, build, gateway, alerts,
compose), cluster (chart, smoke(kubernetes), smoke(swarm), faults(kubernetes); only on request), update (fix, lock; only on request). Without a tag and on
request: pythons, faults, failover, load, mutation.

Sessions run side by side, and each shows its output when it ends. What is chosen with `-s` runs one at a time and shows
its output as it comes; so does everything with `-j1`.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))  # nox's own environment does not have the package

from letta_stack.base import process  # noqa: E402 - needs the line above
from letta_stack.base.paths import REPORTS  # noqa: E402 - needs the line above
from letta_stack.engine import inspect  # noqa: E402 - needs the line above
from letta_stack.pins.file import Pins  # noqa: E402 - needs the line above
from letta_stack.release import checks  # noqa: E402 - needs the line above
from letta_stack.topology.catalogue import TOPOLOGIES  # noqa: E402 - needs the line above

nox.needs_version = ">=2026.10.20"  # the first that is known to run sessions side by side
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.reuse_venv = "yes"
nox.options.allow_parallel = True
# One session a processor of a small machine: a third one only makes the other two miss their deadlines.
nox.options.parallel = 1 if {"-s", "--session", "--sessions"} & set(sys.argv) else 2
# An interpreter may be missing on a contributor's machine; in CI each of them must be there.
nox.options.error_on_missing_interpreters = "CI" in os.environ

# Without the one that nox runs on, which `unit` uses.
OTHER_PYTHONS = [
    version
    for version in ("3.11", "3.12", "3.13", "3.14")
    if version != f"{sys.version_info.major}.{sys.version_info.minor}"
]

# requirements/<name>.txt -> where it comes from
LOCKED = {
    "runtime": ["pyproject.toml"],
    "lint": ["--group=lint"],
    "types": ["pyproject.toml", "--group=types"],
    "test": ["pyproject.toml", "--group=test"],
    "smoke": ["pyproject.toml", "--group=smoke"],
    "bench": ["pyproject.toml", "--group=bench"],
    "image": ["--group=image"],
    "backup": ["--group=backup"],
    "debugger": ["--group=debugger"],
    "nox": ["--group=nox"],
}


def install(session: nox.Session, name: str) -> None:
    """Install a locked set of requirements; the package itself is the checkout."""
    session.install("--require-hashes", "-r", f"requirements/{name}.txt")


def tracked(*patterns: str) -> list[str]:
    """Return the files of the checkout that match git's patterns."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    return process.capture(command, cwd=ROOT).splitlines()


def shell_scripts() -> list[str]:
    """Return what begins with the name of a shell; most have no ending."""
    files = [name for name in tracked() if Path(ROOT, name).is_file()]
    first_lines = {name: Path(ROOT, name).read_bytes().partition(b"\n")[0] for name in files}
    return [
        name for name, line in first_lines.items() if re.match(rb"#!.*[/ ](ba|da)?sh( |$)", line)
    ]


def selected(session: nox.Session, *defaults: str) -> list[str]:
    """Return pytest's arguments: the session's own, and ``defaults`` unless they name files or directories."""
    paths = [one for one in session.posargs if Path(ROOT, one.partition("::")[0]).exists()]
    return [*([] if paths else defaults), *session.posargs]


def run_docker(session: nox.Session, *command: str) -> None:
    """Run what starts containers: interrupted, it undoes what it began, which takes longer than nox's own 0.3 s."""
    session.run(*command, interrupt_timeout=60.0, terminate_timeout=30.0)


def report(session: nox.Session) -> str:
    """Return the option that leaves a report for `inv notes` and `inv checks`: smoke-dev-amd64.xml."""
    name = "-".join(re.findall(r"\w+", session.name))
    return f"--junit-xml={REPORTS / f'{name}-{inspect.native_architecture()}.xml'}"


@nox.session
def engine(session: nox.Session) -> None:
    """Make sure that a container engine answers, once for the sessions that use it."""
    install(session, "runtime")
    run_docker(session, "inv", "engine")


def coverage_file(session_name: str) -> Path:
    """Return where a session leaves what it has covered."""
    return REPORTS / f"coverage.{session_name}"


def measure(session: nox.Session, directory: str) -> None:
    """Run the tests of a directory, or those of the arguments, and note what they cover."""
    data = f"--data-file={coverage_file(session.name)}"
    session.run("coverage", "run", data, "-m", "pytest", *selected(session, directory))


@nox.session(requires=["engine"])
def images(session: nox.Session) -> None:
    """Make all images, once for the sessions that start containers."""
    install(session, "runtime")
    run_docker(session, "python", "-m", "tests.support.images")


@nox.session(tags=["fast"])
def types(session: nox.Session) -> None:
    """Check types."""
    install(session, "types")
    session.run("mypy", *session.posargs)


@nox.session(tags=["fast"])
def lint(session: nox.Session) -> None:
    """Check style and known mistakes in every kind of file. Arguments go to ruff."""
    install(session, "lint")
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")
    session.run("hadolint", *tracked("*Dockerfile"))
    session.run("shellcheck", *shell_scripts())
    session.run("yamllint", "--strict", ".")
    compose_files = tracked("compose/*.yaml", "*compose.yaml")
    # Its parser has no tags of compose's own (!reset); `nox -s compose` lets compose read those files.
    compose_files = [name for name in compose_files if b" !" not in Path(ROOT, name).read_bytes()]
    session.run("check-jsonschema", "--builtin-schema=vendor.compose-spec", *compose_files)
    workflows, actions = tracked(".github/workflows/*.yml"), tracked(".github/actions/*.yml")
    session.run("check-jsonschema", "--builtin-schema=vendor.github-workflows", *workflows)
    session.run("check-jsonschema", "--builtin-schema=vendor.github-actions", *actions)
    session.run("zizmor", "--offline", "--quiet", *workflows, *actions)


@nox.session(tags=["fast"])
def unit(session: nox.Session) -> None:
    """Test the logic, without containers. Arguments go to pytest."""
    install(session, "test")
    session.run("inv", "pins", "--check")
    measure(session, "tests/unit")


@nox.session(tags=["fast"])
def cli(session: nox.Session) -> None:
    """Test the tasks, without containers. Arguments go to pytest."""
    install(session, "test")
    measure(session, "tests/cli")


@nox.session(tags=["fast"], requires=["unit", "cli"])
def coverage(session: nox.Session) -> None:
    """Hold what `unit` and `cli` have covered together against the gate."""
    install(session, "test")
    if not session.posargs:  # a part of the tests covers a part
        session.run("coverage", "combine", *(str(coverage_file(name)) for name in ("unit", "cli")))
        session.run("coverage", "report")


@nox.session(python=OTHER_PYTHONS, default=False)
def pythons(session: nox.Session) -> None:
    """Test the logic and the tasks on the other versions of Python, on request and in CI. Arguments go to pytest."""
    install(session, "test")
    session.run("pytest", *selected(session, "tests/unit", "tests/cli"))


@nox.session(tags=["docker"], requires=["images"])
def arm64(session: nox.Session) -> None:
    """Start the arm64 image, under emulation if need be. Arguments are added to pytest's."""
    install(session, "smoke")
    try:
        run_docker(session, "pytest", "tests/smoke", "-m=arm64", report(session), *session.posargs)
    finally:
        checks.write()


@nox.session(tags=["docker"], requires=["images"])
@nox.parametrize(
    "topology", [nox.param(name, id=name, tags=list(one.tags)) for name, one in TOPOLOGIES.items()]
)
def smoke(session: nox.Session, topology: str) -> None:
    """Run a topology and use it as a client does. Arguments are added to pytest's."""
    smoke_of(session, topology)


def smoke_of(session: nox.Session, topology: str) -> None:
    """Run the smoke tests of a topology, and leave their report."""
    install(session, "smoke")
    options = ["-m=not arm64", f"--topology={topology}", report(session)]
    try:
        run_docker(session, "pytest", "tests/smoke", *options, *session.posargs)
    finally:
        checks.write()


@nox.session(name="smoke(kubernetes)", tags=["cluster"], default=False, requires=["images"])
def smoke_on_kubernetes(session: nox.Session) -> None:
    """Run the stack on a cluster of one node and use it as a client does, on request. Arguments are added to pytest's."""
    smoke_of(session, "kubernetes")


@nox.session(name="smoke(swarm)", tags=["cluster"], default=False, requires=["images"])
def smoke_on_swarm(session: nox.Session) -> None:
    """Run the stack on a swarm of three engines in containers of their own, on request. Arguments go to pytest."""
    install(session, "smoke")
    run_docker(session, "pytest", *selected(session, "tests/swarm"))


@nox.session(tags=["docker"], requires=["images"])
def release(session: nox.Session) -> None:
    """Publish to real registries while a sample of requests breaks, each with --all-faults. Arguments go to pytest."""
    install(session, "test")
    run_docker(session, "pytest", *selected(session, "tests/release"))


@nox.session(tags=["docker"], requires=["images"])
def build(session: nox.Session) -> None:
    """Test where images and collector come from, with real builds. Arguments go to pytest."""
    install(session, "test")
    run_docker(session, "pytest", *selected(session, "tests/build"))


@nox.session(tags=["docker"], requires=["images"])
def gateway(session: nox.Session) -> None:
    """Test the gateway's contract with its clients, without a server. Arguments go to pytest (-m long: what takes minutes)."""
    install(session, "smoke")
    run_docker(session, "pytest", *selected(session, "tests/gateway"))


@nox.session(tags=["docker"], requires=["images"])
def alerts(session: nox.Session) -> None:
    """Test every alert with promtool, and the receivers with amtool. Arguments go to pytest."""
    install(session, "test")
    run_docker(session, "pytest", *selected(session, "tests/alerts"))


@nox.session(requires=["images"], default=False)
def faults(session: nox.Session) -> None:
    """Break a running stack in every known way; nothing may be lost. Arguments go to pytest (--seed N, -k NAME)."""
    install(session, "smoke")
    run_docker(session, "pytest", *selected(session, "tests/faults"))


@nox.session(name="faults(kubernetes)", tags=["cluster"], default=False, requires=["images"])
def faults_on_kubernetes(session: nox.Session) -> None:
    """Break a cluster of one node and what runs on it, on request; nothing may be lost. Arguments go to pytest (-k NAME)."""
    install(session, "smoke")
    run_docker(session, "pytest", *selected(session, "tests/cluster_faults"))


@nox.session(requires=["images"], default=False)
def failover(session: nox.Session) -> None:
    """Break a database of three members in every known way; no write may be lost. Arguments go to pytest (-k NAME)."""
    install(session, "smoke")
    run_docker(session, "pytest", *selected(session, "tests/failover"))


@nox.session(requires=["images"], default=False)
def load(session: nox.Session) -> None:
    """Measure what `prod` can take. Arguments: another module, and what it takes (default: bench.load)."""
    install(session, "bench")
    run_docker(session, "python", "-m", *(session.posargs or ["bench.load"]))


@nox.session(tags=["docker"], requires=["engine"])
def compose(session: nox.Session) -> None:
    """Test what compose makes of every topology. Arguments go to pytest."""
    install(session, "test")
    run_docker(session, "pytest", *selected(session, "tests/compose"))


@nox.session(default=False)
def mutation(session: nox.Session) -> None:
    """Put mistakes into the code and count how many the tests notice. Arguments: packages, `--every N` and `--offset N` for a sample."""
    install(session, "test")
    session.run("python", "-m", "tests.mutation.run", *session.posargs)


@nox.session(tags=["cluster"], default=False, requires=["images"])
def chart(session: nox.Session) -> None:
    """Give the Helm chart to Helm, and install it in a cluster for trials, on request. Arguments go to pytest."""
    install(session, "smoke")
    run_docker(session, "pytest", *selected(session, "tests/chart"))


@nox.session(tags=["update"], default=False)
def fix(session: nox.Session) -> None:
    """Repair what ruff can repair, and format. Arguments go to `ruff check`."""
    install(session, "lint")
    session.run("ruff", "check", "--fix", *session.posargs)
    session.run("ruff", "format")


@nox.session(tags=["update"], default=False)
def lock(session: nox.Session) -> None:
    """Write requirements/*.txt anew from pyproject.toml; arguments go to uv, for instance --upgrade."""
    uv = f"uv=={Pins.load()['UV_VERSION']}"
    session.install(uv)
    # The image builds with the same uv.
    constraints = Path(session.create_tmp(), "constraints.txt")
    constraints.write_text(f"{uv}\n", encoding="utf-8")
    session.env["UV_CONSTRAINT"] = str(constraints)
    session.env["UV_CUSTOM_COMPILE_COMMAND"] = "nox -s lock"
    options = ["--universal", "--python-version=3.11", "--generate-hashes", "--no-emit-index-url"]
    for name, sources in LOCKED.items():
        output = f"--output-file=requirements/{name}.txt"
        session.run("uv", "pip", "compile", "-q", *options, *sources, output, *session.posargs)


if __name__ == "__main__":
    nox.main()
