"""What an operator does: `inv --list`. Thin tasks; the logic is in letta_stack/, imported when a task runs."""

from __future__ import annotations

import functools
import sys
from typing import Any

import invoke.tasks
from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task

from letta_stack.errors import InterruptedByUser, LettaStackError

ENV = "topology, see README (default: single)"
PROJECT = "compose project, to run a second stack beside the first"
PORT = "port of the API on this machine (default: 8283)"
IMAGES = "where third-party images come from: hub, debian or auto"
OTELCOL = "where the collector comes from: release, build or auto"
LETTA_SOURCE = "directory with the Letta source, instead of the pinned release"
REGISTRY = "where to push, HOST or HOST:PORT, repeatable (default: docker.io)"
REPOSITORY = "name in the registry, or with it: ghcr.io/me/letta; repeatable"
REVISION = "which image of this version: 2 becomes VERSION-r2 (default: the first)"
CHANNEL = "release, nightly or commit: which kind of tags (default: release)"
ALLOW_OLDER = "publish a version below the highest one; `latest` stays"
ALLOW_LETTA_CODE = "accept a version from 0.17 on, which should be another product"
CA = "PEM file of a corporate CA for build steps (default: $LETTA_STACK_CA, $SSL_CERT_FILE)"


class StackTask(Task[Any]):
    """Shows a known error as one line and leaves with its exit code."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the body."""
        try:
            return super().__call__(*args, **kwargs)
        except LettaStackError as error:
            raise Exit(f"error: {error}", code=error.exit_code) from error
        except KeyboardInterrupt:
            message = f"error: interrupted; run `inv {self.name}` again to go on"
            raise Exit(message, code=InterruptedByUser.exit_code) from None


task = functools.partial(invoke.tasks.task, klass=StackTask)


@task(
    iterable=["platform", "registry", "repository", "digest"],
    help={
        "platform": "linux/amd64 or linux/arm64, repeatable (default: this machine's; to push: both)",
        "letta_source": LETTA_SOURCE,
        "images": IMAGES,
        "otelcol": OTELCOL,
        "ca": CA,
        "no_cache": "build every step anew",
        "dry_run": "only show what would be built and pushed",
        "check_reproducible": "build twice without cache and compare",
        "push": "publish, verify and tag instead of loading",
        "untagged": "with --push: only by digest, for a later --digest",
        "digest": "with --push: tag what is in the registry instead of building, repeatable",
        "registry": REGISTRY,
        "repository": REPOSITORY,
        "version": "with --push: VERSION[-rN] (default: that of the source)",
        "revision": REVISION,
        "channel": CHANNEL,
        "allow_dirty": "build a development version from uncommitted changes",
        "allow_older": ALLOW_OLDER,
        "allow_letta_code": ALLOW_LETTA_CODE,
    },
)
def build(
    _: Context,
    platform: list[str],
    registry: list[str],
    repository: list[str],
    digest: list[str],
    letta_source: str = "",
    images: str = "auto",
    otelcol: str = "auto",
    ca: str = "",
    no_cache: bool = False,
    dry_run: bool = False,
    check_reproducible: bool = False,
    push: bool = False,
    untagged: bool = False,
    version: str = "",
    revision: str = "0",
    channel: str = "release",
    allow_dirty: bool = False,
    allow_older: bool = False,
    allow_letta_code: bool = False,
) -> None:
    """Build the server's image and load it into the engine, or publish it."""
    from letta_stack import prepare, publish

    sources = prepare.Sources.of(images=images, otelcol=otelcol, letta_source=letta_source, ca=ca)
    if not (push or check_reproducible):
        sources.build(platform, no_cache=no_cache, dry_run=dry_run)
        return
    flags = publish.Flags(
        registries=registry,
        repositories=repository,
        version=version,
        revision=revision,
        channel=channel,
        allow_dirty=allow_dirty,
        allow_older=allow_older,
        allow_letta_code=allow_letta_code,
    )
    if check_reproducible:
        request = publish.request_of(sources, platform, no_cache=True)
        publish.check_reproducible(flags, request, say=say)
    if push:
        request = publish.request_of(sources, platform, no_cache=no_cache)
        done = publish.push(
            flags, request, say=say, dry_run=dry_run, untagged=untagged, digests=digest
        )
        if done:
            # Alone on standard output, so that a script can keep it.
            print(done)


@task(
    positional=["version"],
    iterable=["registry", "repository"],
    help={
        "version": "VERSION[-rN]",
        "registry": REGISTRY,
        "repository": REPOSITORY,
        "revision": REVISION,
        "channel": CHANNEL,
        "ca": CA,
        "allow_older": ALLOW_OLDER,
        "allow_letta_code": ALLOW_LETTA_CODE,
    },
)
def tags(
    _: Context,
    version: str,
    registry: list[str],
    repository: list[str],
    revision: str = "0",
    channel: str = "release",
    ca: str = "",
    allow_older: bool = False,
    allow_letta_code: bool = False,
) -> None:
    """Show the tags that a push of a version would write, and why."""
    import os

    from letta_stack import prepare, publish

    flags = publish.Flags(
        registries=registry,
        repositories=repository,
        version=version,
        revision=revision,
        channel=channel,
        allow_older=allow_older,
        allow_letta_code=allow_letta_code,
    )
    publish.show_tags(flags, ca=prepare.find_ca(ca, os.environ), say=print)


@task(
    help={
        "image": "what was published, NAME@sha256:...",
        "reports": "directory with the reports of nox's smoke sessions (default: reports)",
    }
)
def notes(_: Context, image: str, reports: str = "") -> None:
    """Show a release's notes: the image, and a table of the smoke tests."""
    from letta_stack import notes as release_notes

    print(release_notes.write(image, reports))


@task(help={"check": "change nothing, only say what is there"})
def engine(_: Context, check: bool = False) -> None:
    """Make sure that a usable container engine answers."""
    from letta_stack import engine_install

    engine_install.ensure(check=check)


@task(
    help={
        "env": ENV,
        "project": PROJECT,
        "port": PORT,
        "images": IMAGES,
        "otelcol": OTELCOL,
        "letta_source": LETTA_SOURCE,
        "ca": CA,
    }
)
def up(
    _: Context,
    env: str = "single",
    project: str = "",
    port: str = "",
    images: str = "auto",
    otelcol: str = "auto",
    letta_source: str = "",
    ca: str = "",
) -> None:
    """Build what is missing, start a topology, wait until it answers."""
    from letta_stack import prepare, stack
    from letta_stack.compose import Stack

    sources = prepare.Sources.of(images=images, otelcol=otelcol, letta_source=letta_source, ca=ca)
    stack.up(Stack.of(env, project=project, port=port), prepare=sources.prepare)


@task(
    help={
        "env": ENV,
        "project": PROJECT,
        "volumes": "delete the data too",
        "yes": "do not ask before deleting data",
    }
)
def down(
    _: Context, env: str = "single", project: str = "", volumes: bool = False, yes: bool = False
) -> None:
    """Stop and remove a topology; keep its data."""
    from letta_stack import stack
    from letta_stack.compose import Stack

    stack.down(Stack.of(env, project=project), volumes=volumes, yes=yes)


@task(help={"env": ENV, "project": PROJECT})
def ps(_: Context, env: str = "single", project: str = "") -> None:
    """Show the containers of a topology."""
    from letta_stack import stack
    from letta_stack.compose import Stack

    leave(stack.compose(Stack.of(env, project=project), "ps", "--all"))


@task(
    help={
        "env": ENV,
        "project": PROJECT,
        "service": "only this service (default: all)",
        "tail": "lines per service to begin with (default: 100)",
        "follow": "go on until Ctrl-C",
    }
)
def logs(
    _: Context,
    env: str = "single",
    project: str = "",
    service: str = "",
    tail: str = "100",
    follow: bool = False,
) -> None:
    """Show the logs of a topology."""
    from letta_stack import stack, values
    from letta_stack.compose import Stack

    lines = str(values.count("--tail", tail))
    arguments = [
        "--tail",
        lines,
        *(["--follow"] if follow else []),
        *([service] if service else []),
    ]
    leave(stack.compose(Stack.of(env, project=project), "logs", *arguments))


@task(help={"env": ENV, "project": PROJECT, "service": "only this service (default: all)"})
def restart(_: Context, env: str = "single", project: str = "", service: str = "") -> None:
    """Restart the services of a topology and wait until they answer."""
    from letta_stack import stack
    from letta_stack.compose import Stack

    stack.restart(Stack.of(env, project=project), service=service)


@task(name="exec", help={"env": ENV, "project": PROJECT, "service": "where (default: the server)"})
def execute(_: Context, env: str = "single", project: str = "", service: str = "") -> None:
    """Run the command after `--` inside a service."""
    from letta_stack import stack, values
    from letta_stack.compose import Stack

    command = values.command(sys.argv)
    leave(stack.execute(Stack.of(env, project=project), service=service, command=command))


@task(help={"env": ENV, "project": PROJECT, "port": PORT})
def config(_: Context, env: str = "single", project: str = "", port: str = "") -> None:
    """Show what compose makes of a topology's files."""
    from letta_stack import stack
    from letta_stack.compose import Stack

    leave(stack.compose(Stack.of(env, project=project, port=port), "config"))


@task(
    help={
        "why": "show every place that was asked, and what it said",
        "version": "what you say it is; goes before every other place",
        "letta_source": "Letta source tree or sdist to read it from",
        "image": "built image to ask (default: the one that `inv build` makes)",
        "allow_letta_code": ALLOW_LETTA_CODE,
    }
)
def version(
    _: Context,
    why: bool = False,
    version: str = "",
    letta_source: str = "",
    image: str = "",
    allow_letta_code: bool = False,
) -> None:
    """Show the version of Letta, and of this project."""
    from letta_stack import publish

    flags = publish.Flags([], [], version=version, allow_letta_code=allow_letta_code)
    for line in publish.show_version(flags, source=letta_source, image=image, why=why):
        print(line)


@task(
    help={
        "url": "what to GET",
        "timeout": "seconds until giving up (default: 60)",
        "interval": "seconds between attempts (default: 0.1)",
        "status": "status that means ready (default: 200)",
    }
)
def wait(
    _: Context, url: str, timeout: str = "60", interval: str = "0.1", status: str = "200"
) -> None:
    """Wait until a URL answers, then run the command after `--`."""
    from letta_stack import http_wait, process, values

    elapsed = http_wait.wait_for_status(
        url,
        status=values.status_code("--status", status),
        timeout=values.seconds("--timeout", timeout),
        interval=values.seconds("--interval", interval),
    )
    print(f"{url} answered after {elapsed:.2f} s", file=sys.stderr)
    if command := values.command(sys.argv):
        leave(process.call(command))


@task(
    help={
        "check": "only compare, do not show",
        "update": "look up digests and release checksums and write them to pins.env",
    }
)
def pins(_: Context, check: bool = False, update: bool = False) -> None:
    """Show the pins; check that every other file agrees with them."""
    from letta_stack import pins_check, pins_update
    from letta_stack.pins import Pins

    if update:
        pins_update.update()
    if not check:
        for key, value in Pins.load().items():
            print(f"{key:24} {value or '(not known yet)'}")
    pins_check.check()


def say(line: str) -> None:
    """Tell a person how it goes; standard output is for results."""
    print(line, file=sys.stderr, flush=True)


def leave(exit_code: int) -> None:
    """End with the exit code of a command whose output the user has seen."""
    if exit_code:
        raise Exit(code=exit_code)


ns = Collection(
    engine, build, tags, notes, up, down, ps, logs, restart, execute, config, wait, version, pins
)
