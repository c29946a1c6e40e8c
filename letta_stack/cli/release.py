"""From a version to an image: `build`, `promote`, `tags`, `notes`, `version`."""

from __future__ import annotations

from invoke.context import Context

from letta_stack.cli.task import CA, DRY_RUN, IMAGES, LETTA_SOURCE, OTELCOL, task

REGISTRY = "where to push, HOST or HOST:PORT, repeatable (default: docker.io)"
REPOSITORY = "name in the registry, or with it: ghcr.io/me/letta; repeatable"
REVISION = "which image of this version: 2 becomes VERSION-r2 (default: the first)"
CHANNEL = "release, nightly or commit: which kind of tags (default: release)"
ALLOW_OLDER = "publish a version below the highest one; `latest` stays"
ALLOW_LETTA_CODE = "accept a version from 0.17 on, which should be another product"


@task(
    iterable=["platform", "registry", "repository"],
    help={
        "platform": "linux/amd64 or linux/arm64, repeatable (default: this machine's; to push: both)",
        "letta_source": LETTA_SOURCE,
        "images": IMAGES,
        "otelcol": OTELCOL,
        "ca": CA,
        "no_cache": "build every step anew",
        "dry_run": DRY_RUN,
        "check_reproducible": "build twice without cache and compare",
        "push": "publish, verify and tag instead of loading",
        "untagged": "with --push: only by digest, for a later `inv promote`",
        "registry": f"with --push: {REGISTRY}",
        "repository": f"with --push: {REPOSITORY}",
        "version": "with --push: VERSION[-rN] (default: that of the source)",
        "revision": f"with --push: {REVISION}",
        "channel": f"with --push: {CHANNEL}",
        "allow_dirty": "with --push: a development version from uncommitted changes",
        "allow_older": f"with --push: {ALLOW_OLDER}",
        "allow_letta_code": ALLOW_LETTA_CODE,
    },
)
def build(
    _: Context,
    platform: list[str],
    registry: list[str],
    repository: list[str],
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
    from letta_stack.base import console
    from letta_stack.base.flags import only_with
    from letta_stack.image import sources as image_sources
    from letta_stack.release import push as release_push

    only_with(
        "--push",
        push,
        {
            "--untagged": untagged,
            "--registry": registry,
            "--repository": repository,
            "--version": version,
            "--revision": revision != "0",
            "--channel": channel != "release",
            "--allow-older": allow_older,
        },
    )
    only_with(
        "--push or --check-reproducible", push or check_reproducible, {"--allow-dirty": allow_dirty}
    )
    sources = image_sources.Sources.of(
        images=images, otelcol=otelcol, letta_source=letta_source, ca=ca
    )
    if not (push or check_reproducible):
        sources.build(platform, no_cache=no_cache, dry_run=dry_run)
        return
    flags = release_push.Flags(
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
        request = release_push.request_of(sources, platform, no_cache=True)
        release_push.check_reproducible(flags, request, say=console.say, dry_run=dry_run)
    if push:
        request = release_push.request_of(sources, platform, no_cache=no_cache)
        done = release_push.push(
            flags, request, say=console.say, dry_run=dry_run, untagged=untagged
        )
        if done:
            console.result(done)


@task(
    positional=["digests"],
    iterable=["registry", "repository", "platform"],
    help={
        "digests": "what `inv build --push --untagged` printed, one for each platform, separated by commas",
        "platform": "linux/amd64 or linux/arm64, repeatable (default: both)",
        "registry": REGISTRY,
        "repository": REPOSITORY,
        "letta_source": LETTA_SOURCE,
        "ca": CA,
        "dry_run": DRY_RUN,
        "version": "VERSION[-rN] (default: that of the source)",
        "revision": REVISION,
        "channel": CHANNEL,
        "allow_dirty": "tag a development version of uncommitted changes",
        "allow_older": ALLOW_OLDER,
        "allow_letta_code": ALLOW_LETTA_CODE,
    },
)
def promote(
    _: Context,
    digests: str,
    registry: list[str],
    repository: list[str],
    platform: list[str],
    letta_source: str = "",
    ca: str = "",
    dry_run: bool = False,
    version: str = "",
    revision: str = "0",
    channel: str = "release",
    allow_dirty: bool = False,
    allow_older: bool = False,
    allow_letta_code: bool = False,
) -> None:
    """Join and tag what is in the registry already, by digest."""
    from letta_stack.base import console
    from letta_stack.image import sources as image_sources
    from letta_stack.release import push as release_push

    sources = image_sources.Sources.of(
        images="auto", otelcol="auto", letta_source=letta_source, ca=ca
    )
    flags = release_push.Flags(
        registries=registry,
        repositories=repository,
        version=version,
        revision=revision,
        channel=channel,
        allow_dirty=allow_dirty,
        allow_older=allow_older,
        allow_letta_code=allow_letta_code,
    )
    request = release_push.request_of(sources, platform, no_cache=False)
    wanted = [one for one in digests.split(",") if one]
    done = release_push.promote(flags, request, wanted, say=console.say, dry_run=dry_run)
    if done:
        console.result(done)


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

    from letta_stack.base import console
    from letta_stack.image import sources
    from letta_stack.release import push as release_push

    flags = release_push.Flags(
        registries=registry,
        repositories=repository,
        version=version,
        revision=revision,
        channel=channel,
        allow_older=allow_older,
        allow_letta_code=allow_letta_code,
    )
    release_push.show_tags(flags, ca=sources.find_ca(ca, os.environ), say=console.result)


@task(
    help={
        "image": "what was published, NAME@sha256:...",
        "reports": "directory with the reports of nox's smoke sessions (default: reports)",
    }
)
def notes(_: Context, image: str, reports: str = "") -> None:
    """Show a release's notes: the image, and a table of the smoke tests."""
    from letta_stack.base import console
    from letta_stack.release import notes as release_notes

    console.result(release_notes.write(image, reports))


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
    from letta_stack.base import console
    from letta_stack.image import server

    for line in server.show_version(
        explicit=version,
        source=letta_source,
        image=image,
        allow_letta_code=allow_letta_code,
        why=why,
    ):
        console.result(line)
