"""Objects as YAML that reads like what a person writes: keys in their order, no anchors, long texts as blocks."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 1000  # a line is not broken: what is searched for stays in one


class _Dumper(yaml.SafeDumper):
    """Writes what occurs twice twice."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the library's signature
        return True


def _text(dumper: yaml.SafeDumper, data: str) -> yaml.Node:
    style = "|" if "\n" in data else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _text)


def dump(documents: Sequence[Any]) -> str:
    """Write documents, one after another."""
    return yaml.dump_all(
        documents, Dumper=_Dumper, sort_keys=False, width=WIDTH, allow_unicode=True
    )


def represent(data: Any) -> yaml.Node:
    """Return a value as what ``serialize`` writes."""
    return _Dumper(io.StringIO()).represent_data(data)


def serialize(node: yaml.Node) -> str:
    """Write one document as ``dump`` does, of nodes that no Python value stands for: a key may be there twice."""
    return str(yaml.serialize(node, Dumper=_Dumper, width=WIDTH, allow_unicode=True))
