"""What Helm makes of a chart, as far as the project's own charts need it: conditions, values, a dozen functions."""

from __future__ import annotations

import json
import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Object = dict[str, Any]

ACTION = re.compile(r"(\s*)\{\{-\s*(.*?)\s*\}\}|\{\{\s+(.*?)\s+\}\}")
WORD = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+|[()|]|[.\w]+')
HOOK = "helm.sh/"


class RefusedError(Exception):
    """The chart refuses its values."""


def _refuse(text: str) -> str:
    raise RefusedError(text)


def _and(*given: Any) -> Any:
    return next((one for one in given if not one), given[-1])


def _or(*given: Any) -> Any:
    return next((one for one in given if one), given[-1])


SEEN: dict[str, Object] = {}
"""What a chart finds in the cluster, by kind and name."""

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": _and,
    "contains": lambda part, text: part in text,
    "eq": operator.eq,
    "fail": _refuse,
    "first": operator.itemgetter(0),
    "gt": operator.gt,
    "index": lambda there, key: there[key],
    "int": int,
    "last": operator.itemgetter(-1),
    "le": operator.le,
    "lookup": lambda _version, kind, _namespace, name: SEEN.get(f"{kind}/{name}", {}),
    "lt": operator.lt,
    "ne": operator.ne,
    "not": operator.not_,
    "or": _or,
    "quote": json.dumps,
    "splitList": lambda separator, text: text.split(separator),
    "toJson": json.dumps,
}


@dataclass
class _Expression:
    words: list[str]
    scope: Mapping[str, Any]

    def pipeline(self) -> Any:
        piped: list[Any] = []
        while True:
            piped = [self.command(piped)]
            if self.words[:1] != ["|"]:
                return piped[0]
            self.words.pop(0)

    def command(self, piped: list[Any]) -> Any:
        first = self.words.pop(0)
        if first not in FUNCTIONS:
            self.words.insert(0, first)
            return self.operand()
        given = []
        while self.words and self.words[0] not in {"|", ")"}:
            given.append(self.operand())
        return FUNCTIONS[first](*given, *piped)

    def operand(self) -> Any:
        word = self.words.pop(0)
        if word == "(":
            found = self.pipeline()
            assert self.words.pop(0) == ")"
            return found
        if word.startswith('"'):
            return json.loads(word)
        if word.startswith("."):
            found = self.scope
            for part in word[1:].split("."):
                found = found[part]
            return found
        return int(word)


def expand(text: str, scope: Mapping[str, Any]) -> str:
    """Return a template with its values."""
    result, shown, position = "", [True], 0
    for action in ACTION.finditer(text):
        before, position = text[position : action.start()], action.end()
        result += before if all(shown) else ""
        word, _, rest = (action[2] or action[3]).partition(" ")
        if word == "end":
            shown.pop()
        elif word == "if":
            shown.append(all(shown) and bool(_value(rest, scope)))
        elif all(shown):
            result += str(_value(action[2] or action[3], scope))
    assert shown == [True], "an `if` has no `end`"
    return result + text[position:]


def _value(text: str, scope: Mapping[str, Any]) -> Any:
    expression = _Expression(WORD.findall(text), scope)
    found = expression.pipeline()
    assert expression.words == [], f"{text}: {expression.words} is left"
    return found


def objects(
    chart: Mapping[str, str], values: Mapping[str, Any], *, namespace: str, install: bool = True
) -> list[Object]:
    """Return what `helm template` prints, for a chart by the names of its files; raise ``RefusedError``."""
    scope = {
        "Values": {**yaml.safe_load(chart["values.yaml"]), **values},
        "Release": {"Namespace": namespace, "IsInstall": install, "Service": "Helm"},
    }
    texts = [
        expand(text, scope)
        for name, text in chart.items()
        if name.startswith("templates/") and name.endswith(".yaml")
    ]
    return [one for text in texts for one in yaml.load_all(text, yaml.CSafeLoader) if one]


def as_kubectl(found: list[Object]) -> dict[str, Object]:
    """Return a chart's objects as `kubectl apply -k` has them: without hooks, the account of a hook, and Helm's name."""
    result = {}
    for one in found:
        meta = one["metadata"]
        notes = {
            name: note
            for name, note in meta.pop("annotations", {}).items()
            if not name.startswith(HOOK)
        }
        if notes:
            meta["annotations"] = notes
        meta["labels"]["app.kubernetes.io/managed-by"] = "letta-stack"
        if one["kind"] == "Job":
            one["spec"]["template"]["spec"]["serviceAccountName"] = "letta-stack"
        if (one["kind"], meta["name"]) != ("ServiceAccount", "letta-migrate"):
            result[f"{one['kind']}/{meta['name']}"] = one
    return result


def as_chart(found: list[Object]) -> dict[str, Object]:
    """Return the objects of `kubectl apply -k` by name: without the namespace, and with the Job's name in a chart."""
    result = {}
    for one in found:
        if one["kind"] == "Job":
            one["metadata"]["name"] = one["metadata"]["labels"]["app.kubernetes.io/name"]
        if one["kind"] != "Namespace":
            result[f"{one['kind']}/{one['metadata']['name']}"] = one
    return result
