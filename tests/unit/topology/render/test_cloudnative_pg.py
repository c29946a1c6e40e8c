"""`--database cnpg`: the cluster that CloudNativePG's operator makes PostgreSQL of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.topology.render import choices, files
from letta_stack.topology.render.kubernetes import manifests
from letta_stack.topology.render.kubernetes.options import EXTERNAL, OPERATED, Options

if TYPE_CHECKING:
    from pathlib import Path

Model = dict[str, Any]


def render(model: Model, **options: Any) -> manifests.Manifests:
    chosen = Options("mine", **{"database": OPERATED, "database_image": "pg:17", **options})
    return manifests.render(model, files.read(model), chosen)


def one(made: manifests.Manifests, kind: str, name: str) -> Model:
    (found,) = [
        each for each in made.all if each["kind"] == kind and each["metadata"]["name"] == name
    ]
    return found


def test_the_cluster_is_made_of_the_service_of_compose(model: Model) -> None:
    found = one(render(model), "Cluster", "letta-db")

    assert found["apiVersion"] == "postgresql.cnpg.io/v1"
    spec = found["spec"]
    assert (spec["instances"], spec["imageName"]) == (3, "pg:17")
    assert spec["postgresql"]["parameters"] == {"max_connections": "300", "max_wal_size": "256MB"}
    assert spec["resources"]["limits"] == {"cpu": "1000m", "memory": "1024"}
    assert spec["storage"] == {"size": "20Gi"}
    initdb = spec["bootstrap"]["initdb"]
    assert (initdb["database"], initdb["owner"]) == ("letta", "letta")


def test_a_commit_is_on_two_hosts(model: Model) -> None:
    spec = one(render(model), "Cluster", "letta-db")["spec"]

    assert spec["postgresql"]["synchronous"] == {"method": "any", "number": 1}


def test_the_database_is_prepared_by_the_file_of_the_image_but_not_by_what_psql_alone_reads(
    model: Model, tmp_path: Path
) -> None:
    (tmp_path / "disk.sql").write_text("\\connect postgres\n")
    mount = dict(model["services"]["letta-db"]["volumes"][-1])
    mount |= {
        "source": str(tmp_path / "disk.sql"),
        "target": "/docker-entrypoint-initdb.d/disk.sql",
    }
    model["services"]["letta-db"]["volumes"].append(mount)

    made = render(model)

    initdb = one(made, "Cluster", "letta-db")["spec"]["bootstrap"]["initdb"]
    (reference,) = initdb["postInitApplicationSQLRefs"]["configMapRefs"]
    config = one(made, "ConfigMap", reference["name"])
    assert config["data"] == {reference["key"]: "CREATE EXTENSION vector;\n"}
    assert any("disk.sql" in note for note in made.notes)


def test_a_storage_class_is_the_volumes_of_the_cluster_too(model: Model) -> None:
    spec = one(render(model, storage_class="fast"), "Cluster", "letta-db")["spec"]

    assert spec["storage"] == {"size": "20Gi", "storageClass": "fast"}


def test_servers_and_migration_have_the_uri_of_the_operator_s_secret(model: Model) -> None:
    made = render(model)

    for kind, name in (("Deployment", "letta-server"), ("Job", made.first[-1]["metadata"]["name"])):
        pod = one(made, kind, name)["spec"]["template"]["spec"]
        (volume,) = [each for each in pod["volumes"] if each["name"] == "secrets"]
        assert volume["projected"]["sources"][-1] == {
            "secret": {
                "name": "letta-db-app",
                "items": [{"key": "uri", "path": "database-uri"}],
            }
        }
    assert "database-uri" not in made.secrets["letta-secrets"]


def test_other_secrets_stay_those_of_the_operator_of_the_stack(model: Model) -> None:
    secret = {"source": "server-password", "target": "/run/secrets/server-password"}
    model["services"]["letta-server"]["secrets"].append(secret)

    made = render(model)

    pod = one(made, "Deployment", "letta-server")["spec"]["template"]["spec"]
    (volume,) = [each for each in pod["volumes"] if each["name"] == "secrets"]
    first, _ = volume["projected"]["sources"]
    assert first["secret"]["name"] == "letta-secrets"
    assert first["secret"]["items"] == [{"key": "server-password", "path": "server-password"}]
    assert made.secrets == {"letta-secrets": ["server-password"]}


def test_only_its_users_its_instances_and_its_operator_reach_it(model: Model) -> None:
    made = render(model)

    spec = one(made, "NetworkPolicy", "members-letta-db")["spec"]
    users, peers = spec["ingress"]
    assert spec["podSelector"] == {"matchLabels": {"cnpg.io/cluster": "letta-db"}}
    names = [each["podSelector"]["matchLabels"]["app.kubernetes.io/name"] for each in users["from"]]
    assert names == ["letta-migrate", "letta-server"]
    assert [port["port"] for port in users["ports"]] == [5432]
    assert [port["port"] for port in peers["ports"]] == [5432, 8000]
    (egress,) = one(made, "NetworkPolicy", "database-letta-server")["spec"]["egress"]
    assert egress["to"] == [{"podSelector": spec["podSelector"]}]


def test_there_is_no_other_database(model: Model) -> None:
    made = render(model)

    assert "StatefulSet" not in {each["kind"] for each in made.all}
    assert "letta-db" not in {
        each["metadata"]["name"] for each in made.all if each["kind"] == "Service"
    }


def test_the_cluster_is_applied_before_the_migration(model: Model) -> None:
    kinds = [each["kind"] for each in render(model).first]

    assert kinds.index("Cluster") < kinds.index("Job")


@pytest.mark.parametrize("database", [EXTERNAL, OPERATED])
def test_the_image_is_that_of_the_pins(database: str) -> None:
    found = choices.kubernetes("mine", {"database": database})

    assert found.database_image.startswith("ghcr.io/cloudnative-pg/postgresql:")
