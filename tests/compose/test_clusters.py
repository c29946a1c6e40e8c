"""Drift: every value of the production model is in the objects of both engines, or is named among what is not."""

from __future__ import annotations

import contextlib
import copy
import json
import re
import resource
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.errors import NotExpressible
from letta_stack.policy import lint
from letta_stack.topology import clustered
from letta_stack.topology.catalogue import CLUSTERS, SERVER
from letta_stack.topology.models import models
from letta_stack.topology.render import files, keys
from letta_stack.topology.render.files import NOTHING
from letta_stack.topology.render.kubernetes import manifests
from letta_stack.topology.render.kubernetes.chart import files as chart
from letta_stack.topology.render.kubernetes.keys import KEYS as KUBERNETES
from letta_stack.topology.render.kubernetes.options import DATABASES, TRIAL, Options
from letta_stack.topology.render.swarm import stack
from letta_stack.topology.render.swarm.keys import KEYS as SWARM
from tests.support import helm_text, kubernetes_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Model = dict[str, Any]

# Values that an engine has always, so that no other one changes anything: the refusals of their opposites are unit tests.
ALWAYS = {
    "kubernetes": {
        "name",  # the namespace is the operator's
        "networks.*.name",
        "secrets.*.file",  # the Secret is made of it by `inv up`
        "secrets.*.name",
        "services.*.cap_drop",
        "services.*.ports[].protocol",
        "services.*.restart",
        "services.*.security_opt",
        "services.*.volumes[].read_only",
        "services.*.deploy.replicas",  # --replicas; that it is there makes several
        "volumes.*.name",
    },
    "swarm": {
        "name",
        "networks.*.name",
        "secrets.*.file",
        "secrets.*.name",
        "services.*.deploy.replicas",
        "services.*.restart",
        "services.*.volumes[].read_only",
        "volumes.*.name",
    },
}
MARK_SECONDS = 1.0
SLACK = 3
"""A processor that others use, too, does less in a second of its time."""
# Of this machine, not of the model: what it is read from is not said, what is read is.
SOURCES = "services.*.volumes[].source"


def kubernetes(model: Model) -> str:
    made = manifests.render(model, files.read(model), Options("mine", database=TRIAL))
    return json.dumps([*made.all, made.secrets, made.variables, made.notes], sort_keys=True)


def swarm(model: Model) -> str:
    made = stack.render(model, files.read(model), stack.Options("mine"))
    return json.dumps([made.content, made.variables], sort_keys=True)


ENGINES = [("kubernetes", kubernetes, KUBERNETES), ("swarm", swarm, SWARM)]
each_engine = pytest.mark.parametrize(
    ("name", "render", "table"), ENGINES, ids=["kubernetes", "swarm"]
)


@pytest.fixture
def model() -> Model:
    return clustered.Clustered.of("kubernetes").model()


def steps(path: str) -> Iterator[str | int]:
    for part in re.findall(r"\[(\d+)\]|([^.\[\]]+)", path):
        yield int(part[0]) if part[0] else part[1]


def value_at(model: Model, path: str) -> Any:
    node: Any = model
    for step in steps(path):
        node = node[step]
    return node


def sibling(path: str) -> str:
    return f"{path.rpartition('.')[0]}.source"


def changed(model: Model, path: str) -> Model:
    """Return the model with another value at a path."""
    result = copy.deepcopy(model)
    *before, last = steps(path)
    node: Any = result
    for step in before:
        node = node[step]
    node[last] = other(node[last])
    return result


OTHER = (
    (r"\d+", "77"),
    (r"\d+:\d+", "77:77"),
    (r"(\d+(ms|s|m|h))+", "77s"),
    (r"SIG\w+", "SIGUSR1"),
    (r"/[\w/]+(:\w+=.*)?", "/other:size=2g"),
)
"""What may stand in the place of a text of a certain form."""


def other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value * 2
    if isinstance(value, dict):
        return {**value, "other": "other"}
    if isinstance(value, list):
        return [*value[:-1], other(value[-1])]
    return next(
        (new for pattern, new in OTHER if re.fullmatch(pattern, value)),
        f"{value}-other".lstrip("-"),
    )


@each_engine
def test_every_value_of_the_model_is_said_or_listed(
    model: Model, name: str, render: Callable[[Model], str], table: dict[str, str]
) -> None:
    before = render(model)
    lost, seen = [], set()
    for path, pattern in keys.leaves(model, table):
        seen.add(pattern)
        if table[pattern] or pattern in ALWAYS[name] or pattern == SOURCES:
            continue
        if pattern == "services.*.volumes[].type":
            continue  # each type is a branch of its own, and another one is refused
        if pattern == "services.*.volumes[].target" and value_at(model, sibling(path)) == NOTHING:
            continue  # the place of a file that no setting names
        with contextlib.suppress(NotExpressible):  # refused is not lost
            if render(changed(model, path)) == before:
                lost.append(path)

    assert lost == []
    assert len(seen) > 35


@each_engine
def test_every_network_of_a_service_is_said(
    model: Model, name: str, render: Callable[[Model], str], table: dict[str, str]
) -> None:
    before = render(model)
    for service in ("letta-server", "letta-redis"):
        less = copy.deepcopy(model)
        less["services"][service]["networks"].popitem()
        assert render(less) != before


@each_engine
def test_what_a_table_lists_as_not_expressed_is_told(
    model: Model, name: str, render: Callable[[Model], str], table: dict[str, str]
) -> None:
    notes = keys.check(model, table)

    silent = [
        path
        for path, pattern in keys.leaves(model, table)
        if table[pattern] and f"{path}: {table[pattern]}" not in notes
    ]
    assert silent == []


@each_engine
def test_a_table_has_nothing_that_no_service_says(
    model: Model, name: str, render: Callable[[Model], str], table: dict[str, str]
) -> None:
    model["services"]["letta-redis"]["labels"] = {"letta-stack.waive.user": "why"}
    there = {pattern for _, pattern in keys.leaves(model, table)}

    # `disable` is turned off by leaving it out; an entry point is what a service overrides.
    assert set(table) - there == set()


@pytest.mark.parametrize("name", CLUSTERS)
def test_rendering_twice_is_the_same(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for _ in range(2):
        clustered.render(clustered.Clustered.of(name), out="")
        texts.append(capsys.readouterr().out)

    assert texts[0] == texts[1]


def test_the_objects_are_what_the_api_server_describes(model: Model) -> None:
    schema = json.loads(kubernetes_schema.FILE.read_text())
    options = Options(
        "mine", database=TRIAL, host="a.example", tls_secret="a", most=6, storage_class="a"
    )
    made = manifests.render(model, files.read(model), options)

    wrong = [f"{one['kind']}: {problem}" for one in made.all for problem in problems(one, schema)]

    assert wrong == []
    assert len({one["kind"] for one in made.all}) == 12


def test_a_route_is_what_the_gateway_api_describes(model: Model) -> None:
    schema = json.loads(kubernetes_schema.FILE.read_text())
    for gateway in ("infra/public", "public"):
        options = Options("mine", host="a.example", gateway=gateway)
        made = manifests.render(model, files.read(model), options)
        (route,) = [one for one in made.all if one["kind"] == "HTTPRoute"]

        assert problems(route, schema) == []

        route["spec"]["rules"][0]["timeout"] = "1s"
        assert "'timeout' was unexpected" in problems(route, schema)[0]


@pytest.mark.parametrize("database", DATABASES)
def test_the_chart_is_the_same_objects(model: Model, database: str) -> None:
    about = chart.About("inv render --form helm", version="1", app_version="1", oldest="1.34")
    mounted = files.read(model)
    usual = Options("mine", database_image="pg:17")
    of_all, notes = chart.render(model, mounted, usual, about)

    values: dict[str, Any] = {"database": database, "host": "a.example"}
    found = helm_text.as_kubectl(helm_text.objects(of_all, values, namespace="mine"))

    made = manifests.render(model, mounted, replace(usual, **values))
    assert found == helm_text.as_chart(made.all)
    assert set(notes) <= set(made.notes)


@pytest.mark.parametrize("form", clustered.FORMS)
def test_to_write_the_objects_takes_less_than_a_second(tmp_path: Path, form: str) -> None:
    command = [
        sys.executable,
        "-m",
        "invoke",
        "render",
        "--form",
        form,
        "--out",
        str(tmp_path / "out"),
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process.capture(command, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)

    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < MARK_SECONDS * SLACK, f"{spent:.2f} s of processor time, compose included"


def test_a_field_that_the_api_server_does_not_know_is_found(model: Model) -> None:
    schema = json.loads(kubernetes_schema.FILE.read_text())
    made = manifests.render(model, files.read(model), Options("mine"))
    (server,) = [
        one
        for one in made.then
        if one["kind"] == "Deployment" and SERVER in one["metadata"]["name"]
    ]
    server["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["interval"] = 3
    server["spec"]["replicas"] = "two"

    found = problems(server, schema)

    assert len(found) == 2
    assert "'interval' was unexpected" in found[1]


def problems(one: Model, schema: Model) -> list[str]:
    name = schema["kinds"][f"{one['apiVersion']} {one['kind']}"]
    validator = jsonschema.Draft202012Validator(
        {"$ref": f"#/$defs/{name}", "$defs": schema["$defs"]}
    )
    return [error.message for error in validator.iter_errors(one)]


def test_the_pods_keep_to_the_policy() -> None:
    (found,) = models(["kubernetes"], [])

    assert len(found.config["services"]) == 6
    assert [str(one) for one in lint.check(found.source, found.config)] == []
