"""A merged tree as the text of a Helm template."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from letta_stack.errors import NotExpressible
from letta_stack.topology.render import text
from letta_stack.topology.render.kubernetes.chart.merge import Branch, Condition, Items, Mapped
from letta_stack.topology.render.kubernetes.chart.values import FACETS, Slot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OPEN, CLOSE, PLACE = "helm-if-", "helm-end", "helm-place-"
MARK = re.compile(rf"(?m)^( *)(?:- )?(?:{OPEN}(\d+)|{CLOSE})(?:: null)?$")
"""A line of its own, of a list or a mapping, where a condition begins or ends."""


@dataclass
class _Written:
    """What stands for Helm's words while YAML is written: no library writes both."""

    conditions: list[str] = field(default_factory=list)
    expressions: list[str] = field(default_factory=list)


def write(documents: Iterable[Branch]) -> str:
    """Return objects, each where its condition holds."""
    return "".join(_document(one) for one in documents)


def says(when: Condition) -> str:
    """Write a condition in Helm's words."""
    parts = [_says(facet, values) for facet, values in when.items()]
    return parts[0] if len(parts) == 1 else " ".join(["and", *(f"({part})" for part in parts)])


def _says(facet: str, values: frozenset[str | bool]) -> str:
    known = FACETS[facet]
    if values == {False}:
        return f"not ({known[True]})" if " " in known[True] else f"not {known[True]}"
    parts = [words for value, words in known.items() if value in values]
    return parts[0] if len(parts) == 1 else " ".join(["or", *(f"({part})" for part in parts)])


def _document(one: Branch) -> str:
    written = _Written()
    body = text.serialize(_node(one.node, written)).replace("{{", '{{ "{{" }}')
    body = MARK.sub(
        lambda mark: (
            f"{mark[1]}{{{{- if {written.conditions[int(mark[2])]} }}}}"
            if mark[2]
            else f"{mark[1]}{{{{- end }}}}"
        ),
        body,
    )
    body = re.sub(
        rf"{PLACE}(\d+)-", lambda place: f"{{{{ {written.expressions[int(place[1])]} }}}}", body
    )
    body = f"---\n{body}"
    return f"{{{{- if {says(one.when)} }}}}\n{body}{{{{- end }}}}\n" if one.when else body


def _node(tree: Any, written: _Written) -> yaml.Node:
    match tree:
        case Slot(expression):
            written.expressions.append(expression)
            return text.represent(f"{PLACE}{len(written.expressions) - 1}-")
        case Mapped(branches):
            return yaml.MappingNode(
                "tag:yaml.org,2002:map", list(_pairs(branches, written)), flow_style=not branches
            )
        case Items(branches):
            return yaml.SequenceNode(
                "tag:yaml.org,2002:seq", list(_items(branches, written)), flow_style=not branches
            )
        case _:
            return text.represent(tree)


def _pairs(branches: Iterable[Branch], written: _Written) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    for one in branches:
        pair = (text.represent(one.key), _node(one.node, written))
        if not one.when:
            yield pair
            continue
        written.conditions.append(says(one.when))
        yield text.represent(f"{OPEN}{len(written.conditions) - 1}"), text.represent(None)
        yield pair
        yield text.represent(CLOSE), text.represent(None)


def _items(branches: Iterable[Branch], written: _Written) -> Iterator[yaml.Node]:
    for one in branches:
        if isinstance(one.node, Mapped) and one.node.branches and one.node.branches[0].when:
            raise NotExpressible("an item of a list begins with what is not always there")
        node = _node(one.node, written)
        if not one.when:
            yield node
            continue
        written.conditions.append(says(one.when))
        yield text.represent(f"{OPEN}{len(written.conditions) - 1}")
        yield node
        yield text.represent(CLOSE)
