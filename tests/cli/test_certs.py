from __future__ import annotations

from typing import TYPE_CHECKING

from letta_stack.certs import store
from letta_stack.errors import BadValue

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from tests.cli.conftest import Ended


def test_the_next_step_is_of_the_topology_that_the_certificates_are_for(
    inv: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "DIRECTORY", tmp_path)

    ended = inv("certs.internal", "--env", "observability", "--project", "mine")

    assert (tmp_path / "mine" / store.INTERNAL / store.AUTHORITY).is_file()
    assert "now `inv up --env observability --project mine`;" in ended.stderr


def test_a_topology_without_a_gateway_of_its_own_takes_no_certificate(
    inv: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "DIRECTORY", tmp_path)

    ended = inv("certs.make", "--env", "services")

    assert ended.code == BadValue.exit_code
    assert "--env services takes no certificates" in ended.stderr
    assert list(tmp_path.iterdir()) == []
