from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.errors import NotExpressible
from letta_stack.topology.render import files

if TYPE_CHECKING:
    from pathlib import Path

Model = dict[str, Any]


def test_a_directory_is_read_without_what_is_mounted_on_its_own(model: Model) -> None:
    found = files.read(model)

    assert set(found["letta-nginx", "/etc/letta-stack/gateway"].content) == {
        "api.conf.template",
        "start",
    }
    assert set(found["letta-nginx", "/srv/static"].content) == {"robots.txt"}


def test_a_file_that_nobody_named_is_not_there(model: Model) -> None:
    assert ("letta-nginx", "/etc/letta-stack/client-ca.pem") not in files.read(model)


def test_content_and_mode_make_the_name(model: Model, tmp_path: Path) -> None:
    key = ("letta-nginx", "/etc/letta-stack/gateway")
    names = [files.read(model)[key].digest]
    (tmp_path / "gateway" / "start").chmod(0o644)
    names.append(files.read(model)[key].digest)
    (tmp_path / "gateway" / "start").write_text("")
    names.append(files.read(model)[key].digest)

    assert len(set(names)) == 3


def a_directory(gateway: Path) -> None:
    (gateway / "more").mkdir()


def no_text(gateway: Path) -> None:
    (gateway / "image").write_bytes(b"\xff\xfe\xff")


def too_large(gateway: Path) -> None:
    (gateway / "large").write_text("x" * files.MOST_BYTES)


@pytest.mark.parametrize(
    ("add", "said"),
    [(a_directory, "has the directory more"), (no_text, "is no text"), (too_large, "larger than")],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_no_store_takes_is_refused(model: Model, tmp_path: Path, add: Any, said: str) -> None:
    add(tmp_path / "gateway")

    with pytest.raises(NotExpressible, match=said):
        files.read(model)


def test_a_missing_file_is_refused(model: Model, tmp_path: Path) -> None:
    (tmp_path / "init.sql").unlink()

    with pytest.raises(NotExpressible, match="cannot be read"):
        files.read(model)
