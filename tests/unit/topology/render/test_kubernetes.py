"""The Kubernetes objects of a compose model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.errors import NotExpressible
from letta_stack.topology.render import files, text
from letta_stack.topology.render.kubernetes import directory, manifests
from letta_stack.topology.render.kubernetes.options import TRIAL, Options

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Model = dict[str, Any]


def render(model: Model, **options: Any) -> manifests.Manifests:
    chosen = Options("mine", **{"database": TRIAL, **options})
    return manifests.render(model, files.read(model), chosen)


def one(made: manifests.Manifests, kind: str, name: str) -> Model:
    (found,) = [
        each for each in made.all if each["kind"] == kind and each["metadata"]["name"] == name
    ]
    return found


def pod(made: manifests.Manifests, name: str, kind: str = "Deployment") -> Model:
    spec: Model = one(made, kind, name)["spec"]["template"]["spec"]
    return spec


def container(made: manifests.Manifests, name: str, kind: str = "Deployment") -> Model:
    (found,) = pod(made, name, kind)["containers"]
    return dict(found)


def test_a_server_is_replaced_one_by_one_and_never_missing(model: Model) -> None:
    spec = one(render(model, replicas=3), "Deployment", "letta-server")["spec"]

    assert spec["replicas"] == 3
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }


def test_a_server_leaves_its_name_before_it_is_told_to_stop_and_has_its_whole_time_after_that(
    model: Model,
) -> None:
    made = render(model)

    assert container(made, "letta-server")["lifecycle"] == {"preStop": {"sleep": {"seconds": 35}}}
    assert pod(made, "letta-server")["terminationGracePeriodSeconds"] == 635


def test_a_signal_other_than_sigterm_is_sent_before_that(model: Model) -> None:
    made = container(render(model), "letta-db", "StatefulSet")

    assert made["lifecycle"]["preStop"]["exec"]["command"] == ["/bin/sh", "-c", "kill -INT 1"]


def test_only_the_server_itself_decides_on_its_restart(model: Model) -> None:
    made = container(render(model), "letta-server")

    check = {"exec": {"command": ["/usr/local/bin/letta-healthcheck"]}}
    assert made["readinessProbe"] == check | {
        "periodSeconds": 10,
        "timeoutSeconds": 3,
        "failureThreshold": 3,
    }
    assert made["livenessProbe"]["httpGet"] == {"path": "/v1/health/", "port": 8283}
    assert made["livenessProbe"]["failureThreshold"] == 12


def test_a_start_may_take_as_long_as_on_one_host(model: Model) -> None:
    probe = container(render(model), "letta-server")["startupProbe"]

    assert (probe["periodSeconds"], probe["failureThreshold"]) == (1, 303)


def test_a_check_of_a_shell_gets_its_dollar_signs_back(model: Model) -> None:
    made = container(render(model), "letta-db", "StatefulSet")

    command = ["/bin/sh", "-c", 'pg_isready -U "$POSTGRES_USER"']
    assert made["readinessProbe"]["exec"]["command"] == command


def test_text_that_looks_like_a_variable_stays_text(model: Model) -> None:
    variables = {
        each["name"]: each["value"] for each in container(render(model), "letta-server")["env"]
    }

    assert variables["TZ"] == "a$$(b)"


def test_every_pod_is_restricted_and_has_no_token(model: Model) -> None:
    made = render(model)
    pods = [
        each["spec"]["template"]["spec"] for each in made.all if "template" in each.get("spec", {})
    ]

    assert len(pods) == 6
    for each in pods:
        assert not each["automountServiceAccountToken"]
        assert not each["enableServiceLinks"]
        assert each["securityContext"]["runAsNonRoot"]
        assert each["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert each["containers"][0]["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }


def test_resources_are_compose_s_and_a_weight_is_a_request(model: Model) -> None:
    made = render(model)

    assert container(made, "letta-server")["resources"] == {
        "limits": {"cpu": "2000m", "memory": "4096"},
        "requests": {"cpu": "500m", "memory": "1024"},
    }
    assert container(made, "letta-db", "StatefulSet")["resources"]["requests"] == {
        "cpu": "100m",
        "memory": "0",
    }


def test_memory_that_is_mounted_stays_memory_with_its_size(model: Model) -> None:
    volumes = {each["name"]: each for each in pod(render(model), "letta-server")["volumes"]}

    assert volumes["memory-run"]["emptyDir"] == {"medium": "Memory"}
    assert volumes["memory-var-lib-letta"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Gi"}


def test_a_pod_gets_the_secrets_that_its_service_has_and_no_other(model: Model) -> None:
    volumes = {each["name"]: each for each in pod(render(model), "letta-server")["volumes"]}

    assert volumes["secrets"]["secret"] == {
        "secretName": "letta-secrets",
        "defaultMode": 0o440,
        "items": [{"key": "database-uri", "path": "database-uri"}],
    }


def test_no_value_of_a_secret_is_in_an_object(model: Model) -> None:
    model["services"]["letta-server"]["environment"] |= {
        "OPENAI_API_KEY": "sk-very-secret",
        "PROXY": "http://user:very-secret@proxy:3128",
    }
    made = render(model)

    assert "very-secret" not in text.dump(made.all)
    assert "very-secret" not in "".join(directory.files(made, "inv render").values())
    assert made.variables == {
        "letta-server-environment": {
            "OPENAI_API_KEY": "sk-very-secret",
            "PROXY": "http://user:very-secret@proxy:3128",
        }
    }
    assert container(made, "letta-server")["envFrom"] == [
        {"secretRef": {"name": "letta-server-environment", "optional": True}}
    ]


def test_a_changed_file_is_another_config_and_so_another_pod(model: Model, tmp_path: Path) -> None:
    before = pod(render(model), "letta-nginx")["volumes"]
    (tmp_path / "gateway" / "api.conf.template").write_text("proxy_buffering on;\n")
    after = pod(render(model), "letta-nginx")["volumes"]

    changed = [new["name"] for old, new in zip(before, after, strict=True) if old != new]
    assert changed == ["files-etc-letta-stack-gateway"]


def test_a_program_among_the_files_can_be_run(model: Model) -> None:
    volumes = {each["name"]: each for each in pod(render(model), "letta-nginx")["volumes"]}

    assert volumes["files-etc-letta-stack-gateway"]["configMap"]["defaultMode"] == 0o555
    assert volumes["files-srv-static"]["configMap"]["defaultMode"] == 0o444


def test_the_migration_is_applied_before_what_depends_on_it(model: Model) -> None:
    made = render(model)

    assert made.first[-1]["kind"] == "Job"
    later = [each["metadata"]["name"] for each in made.then if each["kind"] == "Deployment"]
    assert later == ["letta-nginx", "letta-server"]


def test_another_image_is_another_migration(model: Model) -> None:
    before = render(model).first[-1]["metadata"]["name"]
    same = render(model).first[-1]["metadata"]["name"]
    model["services"]["letta-migrate"]["image"] = "other:1"
    model["services"]["letta-server"]["image"] = "other:1"
    model["services"]["letta-collector"]["image"] = "other:1"

    assert before == same != render(model).first[-1]["metadata"]["name"]


def test_a_name_on_a_network_is_a_service_and_only_what_is_published_has_an_address(
    model: Model,
) -> None:
    made = render(model)

    assert one(made, "Service", "letta-server")["spec"]["clusterIP"] == "None"
    assert (
        one(made, "Service", "database")["spec"]["selector"]["app.kubernetes.io/name"] == "letta-db"
    )
    assert one(made, "Service", "letta-nginx")["spec"]["ports"] == [
        {"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}
    ]
    assert (
        "services.letta-db.networks: the alias pgvector_db is no name that a Service can have"
        in made.notes
    )


def test_nobody_talks_to_anybody_but_on_a_common_network(model: Model) -> None:
    made = render(model)

    assert one(made, "NetworkPolicy", "default")["spec"]["ingress"] == []
    inner = one(made, "NetworkPolicy", "network-data")["spec"]
    outer = one(made, "NetworkPolicy", "network-edge")["spec"]
    assert len(inner["egress"]) == 1  # no way out
    assert len(outer["egress"]) == 2
    labels = one(made, "Deployment", "letta-redis")["spec"]["template"]["metadata"]["labels"]
    assert [each for each in labels if each.startswith("network.")] == ["network.letta-stack/data"]


def test_a_database_outside_is_reached_by_those_who_have_its_address(model: Model) -> None:
    made = render(model, database="external")

    kinds = [(each["kind"], each["metadata"]["name"]) for each in made.all]
    assert ("StatefulSet", "letta-db") not in kinds
    assert ("NetworkPolicy", "database-letta-migrate") in kinds
    assert ("NetworkPolicy", "database-letta-server") in kinds
    assert made.secrets == {"letta-secrets": ["database-uri"]}


def test_what_has_a_volume_is_never_twice(model: Model) -> None:
    spec = one(render(model), "Deployment", "letta-collector")["spec"]

    assert spec["strategy"] == {"type": "Recreate"}
    assert spec["replicas"] == 1


def test_a_database_keeps_its_volume_in_a_directory_of_its_own(model: Model) -> None:
    made = render(model, storage_class="fast")
    (claim,) = one(made, "StatefulSet", "letta-db")["spec"]["volumeClaimTemplates"]

    variables = {
        each["name"]: each["value"] for each in container(made, "letta-db", "StatefulSet")["env"]
    }
    assert variables["PGDATA"] == "/var/lib/postgresql/data/letta-db"
    assert claim["spec"]["storageClassName"] == "fast"


def test_an_autoscaler_has_the_number_of_servers_to_itself(model: Model) -> None:
    made = render(model, replicas=2, most=6)

    spec = one(made, "HorizontalPodAutoscaler", "letta-server")["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 6)
    assert "replicas" not in one(made, "Deployment", "letta-server")["spec"]
    assert one(made, "Deployment", "letta-nginx")["spec"]["replicas"] == 2


@pytest.mark.parametrize(("replicas", "budgets"), [(1, 0), (2, 2)])
def test_one_of_several_may_be_missing_and_the_only_one_keeps_no_node(
    model: Model, replicas: int, budgets: int
) -> None:
    kinds = [each["kind"] for each in render(model, replicas=replicas).all]

    assert kinds.count("PodDisruptionBudget") == budgets


def test_what_runs_several_times_is_spread_over_zones_and_nodes(model: Model) -> None:
    made = render(model)

    for name in ("letta-server", "letta-nginx"):
        spread = pod(made, name)["topologySpreadConstraints"]
        assert [each["topologyKey"] for each in spread] == [
            "topology.kubernetes.io/zone",
            "kubernetes.io/hostname",
        ]
        labels = spread[0]["labelSelector"]["matchLabels"]
        assert labels["app.kubernetes.io/name"] == name
        # Where there is one node only, all run there.
        assert {each["whenUnsatisfiable"] for each in spread} == {"ScheduleAnyway"}


def test_the_collector_s_queue_outlives_its_pod(model: Model) -> None:
    made = render(model)

    assert one(made, "Deployment", "letta-collector")["spec"]["strategy"] == {"type": "Recreate"}
    mounts = {
        each["mountPath"]: each["name"]
        for each in container(made, "letta-collector")["volumeMounts"]
    }
    volumes = {each["name"]: each for each in pod(made, "letta-collector")["volumes"]}
    queue = volumes[mounts["/var/lib/letta/otel"]]
    assert queue["persistentVolumeClaim"] == {"claimName": "collector"}
    claim = one(made, "PersistentVolumeClaim", "collector")["spec"]
    assert claim["resources"]["requests"] == {"storage": "2Gi"}


def test_an_ingress_lets_turns_and_streams_pass(model: Model) -> None:
    model["services"]["letta-nginx"]["environment"] = {"LETTA_STACK_MAX_BODY": "64"}
    found = one(render(model, host="a.example", tls_secret="cert"), "Ingress", "letta-nginx")

    annotations = found["metadata"]["annotations"]
    prefix = "nginx.ingress.kubernetes.io/"
    assert annotations[f"{prefix}proxy-buffering"] == "off"
    assert annotations[f"{prefix}proxy-read-timeout"] == "3600"
    assert annotations[f"{prefix}proxy-body-size"] == "64m"
    assert found["spec"]["tls"] == [{"hosts": ["a.example"], "secretName": "cert"}]


def test_a_gateway_gets_a_route(model: Model) -> None:
    found = one(render(model, host="a.example", gateway="infra/public"), "HTTPRoute", "letta-nginx")

    assert found["spec"]["parentRefs"] == [{"name": "public", "namespace": "infra"}]
    assert found["spec"]["rules"][0]["timeouts"]["request"] == "3600s"


def test_the_files_are_listed_for_kustomize_with_what_they_do_not_say(model: Model) -> None:
    written = directory.files(render(model), "inv render --env kubernetes")

    index = written.pop("kustomization.yaml")
    assert all(f"- {name}\n" in index for name in written)
    assert (
        "# The Secret letta-secrets must be there, with the keys database-login, database-uri."
        in index
    )
    assert "podPidsLimit" in index


def test_the_same_model_is_the_same_text(model: Model) -> None:
    shuffled = dict(reversed(model.items()))
    shuffled["services"] = dict(reversed(model["services"].items()))

    assert text.dump(render(model).all) == text.dump(render(shuffled).all)


def privileged(model: Model) -> None:
    model["services"]["letta-redis"]["privileged"] = True


def root(model: Model) -> None:
    model["services"]["letta-redis"]["user"] = "0:0"


def capabilities(model: Model) -> None:
    model["services"]["letta-redis"]["cap_drop"] = ["NET_RAW"]


def profile(model: Model) -> None:
    model["services"]["letta-redis"]["security_opt"] = ["seccomp=unconfined"]


def on_failure(model: Model) -> None:
    model["services"]["letta-redis"]["restart"] = "on-failure"


def no_check(model: Model) -> None:
    del model["services"]["letta-redis"]["healthcheck"]["test"]


def writable(model: Model) -> None:
    del model["services"]["letta-nginx"]["volumes"][0]["read_only"]


def unsized(model: Model) -> None:
    model["services"]["letta-collector"]["volumes"][0]["source"] = "other"


def elsewhere(model: Model) -> None:
    model["services"]["letta-server"]["secrets"][0]["target"] = "/etc/uri"


def pipe(model: Model) -> None:
    model["services"]["letta-redis"]["volumes"] = [{"type": "npipe", "source": "a", "target": "/b"}]


def datagrams(model: Model) -> None:
    model["services"]["letta-nginx"]["ports"][0]["protocol"] = "udp"


def init_and_signal(model: Model) -> None:
    model["services"]["letta-redis"] |= {"init": True, "stop_signal": "SIGQUIT"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (privileged, "services.letta-redis.privileged"),
        (root, "a user other than root"),
        (capabilities, "drop ALL"),
        (profile, "seccomp:unconfined"),
        (on_failure, "'on-failure'"),
        (no_check, "letta-redis.healthcheck has no command"),
        (writable, "to write to it"),
        (unsized, "the volume other has no size"),
        (elsewhere, "put it below /run/secrets"),
        (pipe, "mounts a npipe"),
        (datagrams, "publishes udp"),
        (init_and_signal, "has an init and a stop signal"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_kubernetes_has_no_place_for_is_refused(
    model: Model, change: Callable[[Model], None], said: str
) -> None:
    change(model)

    with pytest.raises(NotExpressible) as refused:
        render(model)

    assert said in str(refused.value)
