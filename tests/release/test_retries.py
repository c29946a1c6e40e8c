"""How long a push goes on asking, and what it leaves where one of several registries fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from letta_stack.errors import (
    RegistryUnreachable,
    ReleaseIncomplete,
    TagTaken,
)
from tests.release import observe, support
from tests.release.fault_proxy import Fault, FaultProxy
from tests.release.pushes import FLOATING, NEW, fresh, requests_of_a_push

if TYPE_CHECKING:
    from pathlib import Path

    from tests.release.support import Builds


def test_retry_after_is_obeyed(proxy: FaultProxy, builds: Builds) -> None:
    proxy.retry_after = "1"
    proxy.reset((0, Fault.TOO_MANY))
    lines: list[str] = []

    support.push(proxy.host, fresh(), NEW, builds.path(NEW), say=lines.append)

    assert [line for line in lines if "again in 1.0 s" in line]


def test_a_registry_that_asks_for_hours_is_not_waited_for(
    proxy: FaultProxy, builds: Builds
) -> None:
    proxy.retry_after = "3600"
    proxy.reset((0, Fault.TOO_MANY))

    with pytest.raises(RegistryUnreachable, match="asks to wait 3600 s"):
        support.push(proxy.host, fresh(), NEW, builds.path(NEW))


def test_one_dead_registry_of_two_is_named_and_the_other_is_complete(
    proxy: FaultProxy, registry: str, builds: Builds
) -> None:
    layout, repository, mirror = builds.path(NEW), fresh(), fresh()
    support.push(registry, mirror, NEW, layout)
    blob_upload = next(
        number
        for number, request in enumerate(requests_of_a_push(proxy, layout))
        if request.method == "PUT"
    )
    proxy.reset((blob_upload, Fault.DEAD))

    with pytest.raises(ReleaseIncomplete) as caught:
        support.push([proxy.host, registry], repository, NEW, layout)

    # The same storage behind two addresses: the one that lives gets everything.
    message = str(caught.value)
    assert f"released in: {registry}/{repository}" in message
    assert f"NOT in {proxy.host}/{repository}" in message
    assert not observe.defects(registry, repository)
    proxy.reset()
    digest = support.push([proxy.host, registry], repository, NEW, layout)
    assert observe.tags_of(registry, repository) == dict.fromkeys((NEW, *FLOATING), digest)


def test_somebody_elses_release_during_the_build_is_not_overwritten(
    registry: str, builds: Builds
) -> None:
    repository = fresh()
    ours, theirs = builds.path(NEW), builds.path(NEW, b"theirs\n")
    publisher = support.publisher(registry, repository, NEW)

    def build(path: Path) -> None:
        support.push(registry, repository, NEW, theirs)
        support.copy(ours, path)

    with pytest.raises(TagTaken, match="--revision"):
        publisher.push(build, needed_bytes=0)

    assert observe.tags_of(registry, repository)[NEW] == observe.digest_of(theirs)
