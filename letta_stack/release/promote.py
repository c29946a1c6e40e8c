"""Tag what is in a registry already, by digest, without a build."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from letta_stack.base import git
from letta_stack.base.paths import ROOT
from letta_stack.errors import BadReference
from letta_stack.registry.oci import DIGEST
from letta_stack.registry.repository import Repository
from letta_stack.release import sign
from letta_stack.release.push import publisher_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from letta_stack.image.server import Request
    from letta_stack.release.options import Options


def promote(
    options: Options,
    request: Request,
    digests: Sequence[str],
    *,
    say: Callable[[str], None],
    dry_run: bool = False,
) -> str:
    """Join and tag what is in the first registry already, without a build; return the digest, "" after a dry run."""
    if not digests:
        raise BadReference(
            "no digest given; give what `inv build --push --untagged` printed, sha256:..."
        )
    checked = [check_digest(text) for text in digests]
    targets = options.targets()
    wanted = options.wanted(request, git.read(ROOT), dt.datetime.now(tz=dt.UTC).date())
    signer = None if dry_run else sign.signer_of(request)
    publisher = publisher_of(options, request, wanted, say, signer)
    if dry_run:
        publisher.preview()
        return ""
    with Repository(targets[0], ca=request.ca, plain_http=options.plain_http, say=say) as source:
        return publisher.promote(source, checked)


def check_digest(text: str) -> str:
    """Return a well-formed digest."""
    if DIGEST.fullmatch(text) is None:
        message = f"{text!r} is no digest; give sha256: and 64 hexadecimal digits"
        raise BadReference(message)
    return text
