"""Many variants of an object as one tree that says under which choices each part is there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from letta_stack.errors import NotExpressible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Variants = Sequence[Mapping[str, str | bool]]

Condition = dict[str, frozenset[str | bool]]
"""The values that each choice may have; a choice that is not named may have any."""


@dataclass(frozen=True)
class Branch:
    """A value of a mapping or an item of a list, where its condition holds."""

    key: str  # "" in a list
    when: Condition
    node: Any  # Mapping, Items, or a value


@dataclass(frozen=True)
class Mapped:
    """A mapping of all variants; a key has a branch for each value that it has."""

    branches: tuple[Branch, ...]


@dataclass(frozen=True)
class Items:
    """A list of all variants."""

    branches: tuple[Branch, ...]


def merge(found: Mapping[int, Any], variants: Variants) -> Any:
    """Return one tree for what some variants have in one place.

    Args:
        found: what each variant has, by its number; all are mappings, all are lists, or all are one value.
        variants: the choices of each, by its number.

    Raises:
        NotExpressible: no choice by itself says where a part is.

    """
    number, first = next(iter(found.items()))
    if all(one == first for one in found.values()):
        found = {number: first}
    if isinstance(first, dict):
        return Mapped(tuple(_branches(found, found, variants)))
    if isinstance(first, list):
        keyed = {number: _keyed(items) for number, items in found.items()}
        return Items(tuple(_branches(keyed, found, variants, listed=True)))
    return first


def condition(some: Iterable[int], among: Iterable[int], variants: Variants) -> Condition:
    """Return the fewest choices that ``some`` of the variants have, and no other one ``among`` them; raise ``NotExpressible``."""
    wanted, among = set(some), set(among)
    if wanted == among:
        return {}

    def chosen(values: Condition) -> set[int]:
        return {one for one in among if all(variants[one][key] in values[key] for key in values)}

    left = {key: frozenset(variants[one][key] for one in wanted) for key in variants[0]}
    if chosen(left) != wanted:
        raise NotExpressible(
            f"no combination of {', '.join(left)} says where a part of an object is"
        )
    for key in variants[0]:
        fewer = {other: values for other, values in left.items() if other != key}
        if chosen(fewer) == wanted:
            left = fewer
    return left


def _branches(
    found: Mapping[int, Mapping[str, Any]],
    among: Iterable[int],
    variants: Variants,
    *,
    listed: bool = False,
) -> Iterable[Branch]:
    for key in dict.fromkeys(key for one in found.values() for key in one):
        having = {number: one[key] for number, one in found.items() if key in one}
        for group in _groups(having):
            when = condition(group, among, variants)
            yield Branch("" if listed else key, when, merge(group, variants))


def _groups(found: Mapping[int, Any]) -> list[dict[int, Any]]:
    """Put together what is one node: mappings, lists, and each value by itself."""
    groups: dict[tuple[str, Any], dict[int, Any]] = {}
    for number, value in found.items():
        itself = None if isinstance(value, dict | list) else value
        groups.setdefault((type(value).__name__, itself), {})[number] = value
    return list(groups.values())


def _keyed(items: Sequence[Any]) -> dict[str, Any]:
    """Name the items of a list: those with a name are the same in every variant, others if they are equal."""
    keyed: dict[str, Any] = {}
    seen: Counter[str] = Counter()
    for one in items:
        key = _name(one) or repr(one)
        seen[key] += 1
        keyed[f"{key}#{seen[key]}"] = one
    return keyed


def _name(one: Any) -> str:
    """Return what an item of a list is known by, as "" if by its whole content."""
    if not isinstance(one, dict):
        return ""
    return str(one.get("name") or (one.get("metadata") or {}).get("name") or "")
