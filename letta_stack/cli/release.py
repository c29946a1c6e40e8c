"""What is published: `promote`, `tags`, `notes`; and `checks`, what was tested."""

from __future__ import annotations

from invoke.context import Context

from letta_stack.cli.task import CA, DRY_RUN, LETTA_SOURCE, task

REGISTRY = "where to push, HOST or HOST:PORT, repeatable (default: docker.io)"
REPOSITORY = "name in the registry, or with it: ghcr.io/me/letta; repeatable"
PLAIN_HTTP = "HOST[:PORT] that may be spoken to without TLS, repeatable (this machine always may)"
REVISION = "which image of this version: 2 becomes VERSION-r2 (default: the first)"
CHANNEL = "release, nightly or commit: which kind of tags (default: release)"
ALLOW_OLDER = "publish a version below the highest one; `latest` stays"
ALLOW_LETTA_CODE = "accept a version from 0.17 on, which should be another product"


@task(
    positional=["digests"],
    iterable=["registry", "repository", "platform", "plain_http"],
    help={
        "digests": "what `inv build --push --untagged` printed, one for each platform, separated by commas",
        "platform": "linux/amd64 or linux/arm64, repeatable (default: both)",
        "registry": REGISTRY,
        "repository": REPOSITORY,
        "plain_http": PLAIN_HTTP,
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
    plain_http: list[str],
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
    from letta_stack.release import build as release_build
    from letta_stack.release import options as release_options
    from letta_stack.release import promote as release_promote

    sources = image_sources.Sources.of(
        images="auto", otelcol="auto", letta_source=letta_source, ca=ca
    )
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
    request = release_build.request_of(sources, platform, no_cache=False)
    wanted = [one for one in digests.split(",") if one]
    done = release_promote.promote(options, request, wanted, say=console.say, dry_run=dry_run)
    if done:
        console.result(done)


@task(
    positional=["version"],
    iterable=["registry", "repository", "plain_http"],
    help={
        "version": "VERSION[-rN]",
        "registry": REGISTRY,
        "repository": REPOSITORY,
        "plain_http": PLAIN_HTTP,
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
    plain_http: list[str],
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
    from letta_stack.release import options as release_options
    from letta_stack.release import push as release_push

    options = release_options.Options(
        registries=registry,
        repositories=repository,
        plain_http=plain_http,
        version=version,
        revision=revision,
        channel=channel,
        allow_older=allow_older,
        allow_letta_code=allow_letta_code,
    )
    release_push.show_tags(options, ca=sources.find_ca(ca, os.environ), say=console.result)


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
        "reports": "directory with the reports of nox's smoke sessions (default: reports)",
        "json": "an object for each check, for programs (default: a Markdown table)",
    }
)
def checks(_: Context, reports: str = "", json: bool = False) -> None:
    """Show the matrix of topologies and checks, with its seconds."""
    from letta_stack.base import console
    from letta_stack.release import checks as release_checks

    console.result(release_checks.show(reports, as_json=json))
