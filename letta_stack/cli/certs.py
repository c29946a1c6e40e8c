"""Certificates: `certs.make`, `certs.use`, `certs.client`, `certs.internal`, `certs.check`."""

from __future__ import annotations

from invoke.collection import Collection
from invoke.context import Context

from letta_stack.cli.task import PROJECT, task

ENV = "topology whose gateway takes a certificate (default: prod)"


@task(
    iterable=["name"],
    help={
        "name": "host name or address beside those of this machine, repeatable",
        "days": "how long the certificate is valid (default: 90)",
        "force": "make a new one although the old one is good",
        "env": ENV,
        "project": PROJECT,
    },
)
def make(
    _: Context,
    name: list[str],
    days: str = "90",
    force: bool = False,
    env: str = "prod",
    project: str = "",
) -> None:
    """Make a local authority, and a certificate for the gateway of `prod`."""
    import datetime as dt

    from letta_stack.base import console, flags
    from letta_stack.certs import make as certs_make
    from letta_stack.topology import certificate_files
    from letta_stack.topology.project import Project

    certs_make.make(
        certificate_files.directory(Project.of(env, project=project)),
        name,
        days=flags.count("--days", days),
        force=force,
        now=dt.datetime.now(tz=dt.UTC),
        say=console.say,
    )


@task(
    help={
        "cert": "PEM file with the certificate, its issuers below it",
        "key": "PEM file with its key, unencrypted",
        "env": ENV,
        "project": PROJECT,
    }
)
def use(_: Context, cert: str = "", key: str = "", env: str = "prod", project: str = "") -> None:
    """Give the gateway of `prod` a certificate of your own."""
    import datetime as dt

    from letta_stack.base import console
    from letta_stack.certs import make as certs_make
    from letta_stack.topology import certificate_files
    from letta_stack.topology.project import Project

    certs_make.use(
        certificate_files.directory(Project.of(env, project=project)),
        cert,
        key,
        now=dt.datetime.now(tz=dt.UTC),
        say=console.say,
    )


@task(
    help={
        "soon": "days before the end at which the command fails (default: 21)",
        "env": ENV,
        "project": PROJECT,
    }
)
def check(_: Context, soon: str = "21", env: str = "prod", project: str = "") -> None:
    """Say when each certificate ends; fail if one does soon."""
    import datetime as dt

    from letta_stack.base import console, flags
    from letta_stack.certs import check as certs_check
    from letta_stack.topology import certificate_files
    from letta_stack.topology.project import Project

    now = dt.datetime.now(tz=dt.UTC)
    findings = certs_check.findings(certificate_files.directory(Project.of(env, project=project)))
    for one in findings:
        console.result(certs_check.describe(one, now))
    certs_check.check_expiry(findings, now, soon=flags.count("--soon", soon))


@task(
    positional=["name"],
    help={
        "name": "whom it is for, a host name or a word",
        "days": "how long the certificate is valid (default: 90)",
        "env": ENV,
        "project": PROJECT,
    },
)
def client(_: Context, name: str, days: str = "90", env: str = "prod", project: str = "") -> None:
    """Make a certificate with which a client shows the gateway who it is."""
    import datetime as dt

    from letta_stack.base import console, flags
    from letta_stack.certs import make as certs_make
    from letta_stack.topology import certificate_files
    from letta_stack.topology.project import Project

    certs_make.client(
        certificate_files.directory(Project.of(env, project=project)),
        name,
        days=flags.count("--days", days),
        now=dt.datetime.now(tz=dt.UTC),
        say=console.say,
    )


@task(
    help={
        "days": "how long the certificates are valid (default: 730)",
        "force": "make new ones although the old ones are good",
        "env": ENV,
        "project": PROJECT,
    },
)
def internal(
    _: Context, days: str = "730", force: bool = False, env: str = "prod", project: str = ""
) -> None:
    """Let server, PostgreSQL and Redis of `prod` speak TLS with each other from the next `inv up` on."""
    import datetime as dt

    from letta_stack.base import console, flags
    from letta_stack.certs import make as certs_make
    from letta_stack.topology import certificate_files
    from letta_stack.topology.project import Project

    found = Project.of(env, project=project)
    changed = certs_make.internal(
        certificate_files.directory(found),
        days=flags.count("--days", days),
        force=force,
        now=dt.datetime.now(tz=dt.UTC),
        say=console.say,
    )
    if changed:
        console.say(
            f"now `inv up {found.flags}`; where they are in use already, `inv restart {found.flags} --service letta-db` "
            "and the same with letta-redis"
        )
    else:
        console.say("nothing was due")


certs = Collection("certs", make, use, client, internal, check)
