"""The stack file of a compose model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.errors import NotExpressible
from letta_stack.topology.render import files, text
from letta_stack.topology.render.swarm import stack

if TYPE_CHECKING:
    from pathlib import Path

Model = dict[str, Any]


def render(model: Model, **options: Any) -> stack.Stack:
    return stack.render(model, files.read(model), stack.Options("mine", **options))


def test_servers_are_replaced_one_by_one_and_the_old_one_comes_back(model: Model) -> None:
    deploy = render(model, replicas=3).content["services"]["letta-server"]["deploy"]

    assert deploy["replicas"] == 3
    assert deploy["endpoint_mode"] == "dnsrr"
    assert deploy["update_config"] == {
        "parallelism": 1,
        "order": "start-first",
        "failure_action": "rollback",
        "monitor": "30s",
    }


def test_what_is_alone_ends_before_its_successor_starts(model: Model) -> None:
    services = render(model).content["services"]

    assert services["letta-db"]["deploy"]["update_config"]["order"] == "stop-first"
    assert services["letta-nginx"]["deploy"]["update_config"]["order"] == "stop-first"


def test_what_is_alone_is_on_the_host_with_the_volumes(model: Model) -> None:
    services = render(model).content["services"]
    here = {"constraints": ["node.labels.letta-stack.data == true"]}

    assert services["letta-db"]["deploy"]["placement"] == here
    assert services["letta-redis"]["deploy"]["placement"] == here
    assert "placement" not in services["letta-server"]["deploy"]


def test_a_busy_host_loses_no_task_to_a_health_check_that_is_late(model: Model) -> None:
    check = model["services"]["letta-server"]["healthcheck"]
    made = render(model).content["services"]["letta-server"]["healthcheck"]

    assert made == {**check, "retries": 4 * check["retries"]}


def test_what_is_published_is_on_every_host(model: Model) -> None:
    deploy = render(model).content["services"]["letta-nginx"]["deploy"]

    assert deploy["mode"] == "global"
    assert not {"placement", "replicas"} & deploy.keys()


def test_the_migration_is_a_job(model: Model) -> None:
    deploy = render(model).content["services"]["letta-migrate"]["deploy"]

    assert deploy["mode"] == "replicated-job"


def test_the_gateway_is_published_without_the_routing_mesh(model: Model) -> None:
    assert render(model).content["services"]["letta-nginx"]["ports"] == [
        {"target": 8080, "published": 8283, "protocol": "tcp", "mode": "host"}
    ]


def test_a_changed_file_is_another_config(model: Model, tmp_path: Path) -> None:
    before = render(model).content["configs"]
    (tmp_path / "gateway" / "start").write_text("other")
    after = render(model).content["configs"]

    assert len(before) == len(after)
    assert set(before) - set(after) == {
        name for name in before if name.startswith("letta-nginx") and "robots" not in name
    }


def test_every_config_has_its_file_and_a_name_that_a_swarm_takes(model: Model) -> None:
    found = render(model).content["configs"]

    assert set(stack.config_files(files.read(model))) == set(found)
    assert max(len(body["name"]) for body in found.values()) <= 64


def test_a_secret_that_is_a_file_is_named_by_its_version(model: Model) -> None:
    version = stack.version(b"secret")
    secrets = render(model, secrets={"database-uri": version}).content["secrets"]

    assert secrets["database-uri"] == {
        "file": "/secrets/database-uri",
        "name": f"mine_database-uri-{version}",
    }
    assert secrets["database-login"] == {"external": True, "name": "mine_database-login"}


def test_a_secret_belongs_to_the_user_of_its_service(model: Model) -> None:
    assert render(model).content["services"]["letta-server"]["secrets"] == [
        {
            "source": "database-uri",
            "target": "/run/secrets/database-uri",
            "uid": "10001",
            "gid": "10001",
            "mode": 0o400,
        }
    ]


def test_no_value_of_a_secret_variable_is_in_the_file(model: Model) -> None:
    model["services"]["letta-server"]["environment"]["OPENAI_API_KEY"] = "sk-very-secret"
    made = render(model)

    assert "very-secret" not in text.dump([made.content])
    environment = made.content["services"]["letta-server"]["environment"]
    assert environment["OPENAI_API_KEY"] == "${OPENAI_API_KEY}"
    assert environment["TZ"] == "a$$(b)"
    assert made.variables == {"OPENAI_API_KEY": "sk-very-secret"}


def test_memory_of_a_user_s_own_is_a_volume_of_its_slot(model: Model) -> None:
    made = render(model)
    volumes = made.content["volumes"]

    mounts = made.content["services"]["letta-server"]["volumes"]
    assert [one["source"] for one in mounts] == ["letta-server-run", "letta-server-var-lib-letta"]
    assert all(one["volume"] == {"nocopy": True} for one in mounts)  # else the image's owner has it
    assert volumes["letta-server-run"] == {
        "name": "mine_letta-server-run-{{.Task.Slot}}",
        "driver_opts": {"type": "tmpfs", "device": "tmpfs", "o": "nosuid,nodev,noexec,uid=10001"},
    }
    options = volumes["letta-server-var-lib-letta"]["driver_opts"]["o"]
    assert options == "nosuid,nodev,uid=10001,size=1g"


def test_memory_of_everybody_is_the_engine_s(model: Model) -> None:
    assert render(model).content["services"]["letta-redis"]["volumes"] == [
        {"type": "tmpfs", "target": "/data"}
    ]


def test_shared_memory_has_its_size(model: Model) -> None:
    volumes = render(model).content["services"]["letta-db"]["volumes"]

    assert {"type": "tmpfs", "target": "/dev/shm", "tmpfs": {"size": 268435456}} in volumes


@pytest.mark.parametrize(("encrypted", "options"), [(False, None), (True, {"encrypted": ""})])
def test_networks_reach_over_hosts(model: Model, encrypted: bool, options: Model | None) -> None:
    networks = render(model, encrypted=encrypted).content["networks"]

    assert networks["edge"].get("driver_opts") == options
    assert networks["data"]["internal"]
    assert networks["data"]["driver"] == "overlay"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("privileged", True),
        ("restart", "on-failure"),
        ("volumes", [{"type": "npipe", "target": "/x"}]),
    ],
)
def test_what_a_stack_has_no_place_for_is_refused(model: Model, key: str, value: Any) -> None:
    model["services"]["letta-redis"][key] = value

    with pytest.raises(NotExpressible, match="letta-redis"):
        render(model)
