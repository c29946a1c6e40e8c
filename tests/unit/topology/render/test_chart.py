"""The Helm chart: the objects of `kubectl apply -k`, whatever a user chooses."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

from letta_stack.errors import NotExpressible
from letta_stack.topology.render import files
from letta_stack.topology.render.kubernetes import manifests
from letta_stack.topology.render.kubernetes.chart import files as chart
from letta_stack.topology.render.kubernetes.chart.merge import condition
from letta_stack.topology.render.kubernetes.options import (
    DATABASES,
    EXTERNAL,
    OPERATED,
    TRIAL,
    Options,
)
from tests.support import helm_text

if TYPE_CHECKING:
    from pathlib import Path

Model = dict[str, Any]
ABOUT = chart.About("inv render --form helm", version="0.1.0", app_version="0.16.8", oldest="1.34")
PUBLISHED = [
    {},
    {"host": "a.example"},
    {"host": "a.example", "ingress_class": "other", "tls_secret": "tls"},
    {"host": "a.example", "gateway": "gate"},
    {"host": "a.example", "gateway": "there/gate"},
]
NAMES = {
    "most": "maxReplicas",
    "ingress_class": "ingressClass",
    "tls_secret": "tlsSecret",
    "storage_class": "storageClass",
}
"""What has another name among the values than among the options."""


def chosen(**options: Any) -> Options:
    return Options("mine", **{"database_image": "pg:17", **options})


def made(model: Model, **options: Any) -> dict[str, str]:
    return chart.render(model, files.read(model), chosen(**options), ABOUT)[0]


def by_kubectl(model: Model, **options: Any) -> dict[str, Model]:
    found = manifests.render(model, files.read(model), chosen(**options))
    return helm_text.as_chart(found.all)


def by_helm(made: dict[str, str], *, install: bool = True, **options: Any) -> dict[str, Model]:
    values = {NAMES.get(name, name): value for name, value in options.items()}
    jsonschema.validate(yaml.safe_load(made["values.yaml"]) | values, schema(made))
    found = helm_text.objects(made, values, namespace="mine", install=install)
    return helm_text.as_kubectl(found)


def schema(made: dict[str, str]) -> Any:
    return json.loads(made["values.schema.json"])


@pytest.mark.parametrize("install", [True, False], ids=["install", "upgrade"])
@pytest.mark.parametrize("database", DATABASES)
def test_every_choice_gives_the_objects_that_kubectl_gets(
    model: Model, database: str, install: bool
) -> None:
    of_all = made(model)

    numbers = itertools.cycle([(1, 0), (3, 6), (3, 0), (1, 6)])
    for published, storage_class in itertools.product(PUBLISHED, ("", "fast")):
        replicas, most = next(numbers)
        given = {
            "database": database,
            "replicas": replicas,
            "most": most,
            "storage_class": storage_class,
            **published,
        }
        assert by_helm(of_all, install=install, **given) == by_kubectl(model, **given), given


def test_the_choices_of_render_are_the_values_of_the_chart(model: Model) -> None:
    given = {"database": TRIAL, "replicas": 3, "host": "a.example", "secret": "other"}

    assert by_helm(made(model, **given)) == by_kubectl(model, **given)


def test_another_image_is_that_of_server_migration_and_collector(model: Model) -> None:
    of_all = made(model)
    ours = ("letta-collector", "letta-migrate", "letta-server")

    found = by_helm(
        of_all, image="registry.example/letta@sha256:1", images={"nginx": "n", "redis": "r"}
    )

    images = {
        name.partition("/")[2]: one["spec"]["template"]["spec"]["containers"][0]["image"]
        for name, one in found.items()
        if "template" in one.get("spec", {})
    }
    assert images == {
        **dict.fromkeys(ours, "registry.example/letta@sha256:1"),
        "letta-nginx": "n",
        "letta-redis": "r",
    }


def test_resources_and_sizes_are_values(model: Model) -> None:
    of_all = made(model)
    given = yaml.safe_load(of_all["values.yaml"])
    given["resources"]["server"] = {"limits": {"memory": "8Gi"}}

    found = by_helm(of_all, resources=given["resources"], sizes={"collector": "9Gi"})

    (server,) = found["Deployment/letta-server"]["spec"]["template"]["spec"]["containers"]
    assert server["resources"] == {"limits": {"memory": "8Gi"}}
    claim = found["PersistentVolumeClaim/collector"]["spec"]["resources"]
    assert claim == {"requests": {"storage": "9Gi"}}


def hooks(found: list[Model]) -> dict[str, str]:
    return {
        f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["annotations"][
            "helm.sh/hook-weight"
        ]
        for one in found
        if "helm.sh/hook" in one["metadata"].get("annotations", {})
    }


def test_the_migration_runs_before_the_rollout_with_an_account_that_is_there(model: Model) -> None:
    found = helm_text.objects(made(model), {"database": EXTERNAL}, namespace="mine")

    assert hooks(found) == {"ServiceAccount/letta-migrate": "-1", "Job/letta-migrate": "0"}
    (job,) = [one for one in found if one["kind"] == "Job"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    pod = job["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "letta-migrate"
    mounted = {volume["name"] for volume in pod["volumes"] if "configMap" in volume}
    assert mounted == set()  # else it would have to be a hook, too


def test_a_file_of_the_migration_is_there_before_it(model: Model, tmp_path: Path) -> None:
    (tmp_path / "settings").write_text("a: 1\n")
    mount = {
        "type": "bind",
        "source": str(tmp_path / "settings"),
        "target": "/etc/settings",
        "read_only": True,
    }
    model["services"]["letta-migrate"]["volumes"] = [mount]

    found = hooks(helm_text.objects(made(model), {}, namespace="mine"))

    (config,) = [name for name in found if name.startswith("ConfigMap/letta-migrate-etc-settings")]
    assert found[config] == "-1"


def test_a_database_of_the_release_is_migrated_with_the_first_and_before_each_later_one(
    model: Model,
) -> None:
    of_all = made(model)
    for database, install, expected in (
        (TRIAL, True, 0),
        (TRIAL, False, 2),
        (OPERATED, True, 0),
        (OPERATED, False, 2),
    ):
        values = {"database": database}
        found = helm_text.objects(of_all, values, namespace="mine", install=install)
        assert len(hooks(found)) == expected
        assert "Job" in {one["kind"] for one in found}


def test_data_outlive_the_release(model: Model) -> None:
    found = helm_text.objects(made(model), {"database": OPERATED}, namespace="mine")

    kept = [
        one["kind"]
        for one in found
        if one["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
    ]
    assert kept == ["PersistentVolumeClaim", "Cluster"]


def test_values_that_contradict_each_other_are_refused(model: Model) -> None:
    of_all = made(model)
    for values, said in (
        ({"maxReplicas": 1}, "maxReplicas is less than replicas"),
        ({"gateway": "a"}, "set host"),
        ({"tlsSecret": "a"}, "set host"),
    ):
        with pytest.raises(helm_text.RefusedError, match=said):
            helm_text.objects(of_all, values, namespace="mine")


def test_a_secret_that_is_missing_is_said_before_anything_waits_for_it(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_all = made(model)
    there = {"kind": "x"}
    monkeypatch.setitem(helm_text.SEEN, "ServiceAccount/default", there)
    with pytest.raises(helm_text.RefusedError, match="has no Secret"):
        helm_text.objects(of_all, {}, namespace="mine")
    helm_text.objects(of_all, {}, namespace="mine", install=False)

    monkeypatch.setitem(helm_text.SEEN, "Secret/letta-secrets", there)
    helm_text.objects(of_all, {}, namespace="mine")


def test_the_readme_says_which_keys_each_database_needs(model: Model) -> None:
    readme = made(model)["README.md"]

    assert "- `database: external`: database-uri\n" in readme
    assert "- `database: trial`: database-login, database-uri\n" in readme
    assert "- `database: cnpg`: \n" in readme


def test_values_of_a_wrong_form_are_refused_by_the_schema(model: Model) -> None:
    of_all = made(model)
    usual, known = yaml.safe_load(of_all["values.yaml"]), schema(of_all)
    jsonschema.validate(usual, known)

    for wrong in (
        {"replicas": 0},
        {"replicas": "2"},
        {"database": "other"},
        {"host": "a b"},
        {"storageClass": "A"},
        {"secret": ""},
        {"image": ""},
        {"unknown": 1},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(usual | wrong, known)


def test_braces_in_a_file_stay_what_they_are(model: Model, tmp_path: Path) -> None:
    (tmp_path / "gateway" / "api.conf.template").write_text("a {{ .Values.host }} b\n")

    assert by_helm(made(model)) == by_kubectl(model)


def test_a_word_that_is_there_twice_stays_twice(model: Model) -> None:
    model["services"]["letta-redis"]["command"] = ["redis-server", "-c", "a", "-c", "b"]

    found = by_helm(made(model))

    assert found == by_kubectl(model)
    (redis,) = found["Deployment/letta-redis"]["spec"]["template"]["spec"]["containers"]
    assert redis["args"].count("-c") == 2


def test_no_value_of_a_secret_is_in_a_chart(model: Model) -> None:
    model["services"]["letta-server"]["environment"]["OPENAI_API_KEY"] = "sk-very-secret"

    assert "very-secret" not in "".join(made(model).values())


def test_what_the_objects_do_not_say_is_in_the_chart(model: Model) -> None:
    notes = manifests.render(model, files.read(model), Options("mine")).notes

    readme = made(model)["README.md"]
    assert notes
    assert all(f"- {note}\n" in readme for note in notes)


def test_what_no_choice_explains_is_refused() -> None:
    variants = [{"a": a, "b": b} for a in (False, True) for b in (False, True)]

    assert condition([2, 3], range(4), variants) == {"a": frozenset({True})}
    assert condition([3], range(4), variants) == {"a": frozenset({True}), "b": frozenset({True})}
    with pytest.raises(NotExpressible, match="a, b"):
        condition([0, 3], range(4), variants)


def test_a_choice_in_the_middle_of_a_text_is_refused(model: Model) -> None:
    model["services"]["letta-server"]["environment"]["IMAGE"] = "x slot-image y"

    with pytest.raises(NotExpressible, match="Deployment/letta-server"):
        made(model)
