"""From a version to an image: `build`, `version`."""

from __future__ import annotations

from invoke.context import Context

from letta_stack.cli.release import (
    ALLOW_LETTA_CODE,
    ALLOW_OLDER,
    CHANNEL,
    PLAIN_HTTP,
    REGISTRY,
    REPOSITORY,
    REVISION,
)
from letta_stack.cli.task import CA, DRY_RUN, IMAGES, LETTA_SOURCE, OTELCOL, task


@task(
    iterable=["platform", "registry", "repository", "plain_http"],
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
        "plain_http": f"with --push: {PLAIN_HTTP}",
        "version": "with --push: VERSION[-rN] (default: that of the source)",
        "revision": f"with --push: {REVISION}",
        "channel": f"with --push: {CHANNEL}",
        "allow_dirty": "with --push: a development version from uncommitted changes",
        "allow_older": f"with --push: {ALLOW_OLDER}",
        "allow_letta_code": f"with --push: {ALLOW_LETTA_CODE}",
    },
)
def build(
    _: Context,
    platform: list[str],
    registry: list[str],
    repository: list[str],
    plain_http: list[str],
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
    from letta_stack.release import build as release_build
    from letta_stack.release import options as release_options
    from letta_stack.release import push as release_push
    from letta_stack.release import reproducible

    only_with(
        "--push",
        push,
        {
            "--untagged": untagged,
            "--registry": registry,
            "--repository": repository,
            "--plain-http": plain_http,
            "--version": version,
            "--revision": revision != "0",
            "--channel": channel != "release",
            "--allow-older": allow_older,
            "--allow-letta-code": allow_letta_code,
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
    options = release_options.Options(
        registries=registry,
        repositories=repository,
        plain_http=plain_http,
        version=version,
        revision=revision,
        channel=channel,
        allow_dirty=allow_dirty,
        allow_older=allow_older,
        allow_letta_code=allow_letta_code,
    )
    if check_reproducible:
        request = release_build.request_of(sources, platform, no_cache=True)
        reproducible.check_commit(
            request, allow_dirty=allow_dirty, say=console.say, dry_run=dry_run
        )
    if push:
        request = release_build.request_of(sources, platform, no_cache=no_cache)
        done = release_push.push(
            options, request, say=console.say, dry_run=dry_run, untagged=untagged
        )
        if done:
            console.result(done)


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
