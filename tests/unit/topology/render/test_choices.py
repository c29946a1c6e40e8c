from __future__ import annotations

import inspect

import pytest

from letta_stack.errors import BadValue
from letta_stack.pins.file import Pins
from letta_stack.topology.catalogue import CLUSTERS
from letta_stack.topology.render import choices
from letta_stack.topology.render.kubernetes.options import Options

IMAGE = Pins.load()["CNPG_POSTGRES"]


def test_what_nobody_says_is_for_production() -> None:
    assert choices.kubernetes("mine", {}) == Options(
        "mine", replicas=2, database="external", database_image=IMAGE
    )


def test_every_choice_arrives() -> None:
    given = {
        "replicas": "3",
        "max_replicas": "9",
        "database": "trial",
        "host": "letta.example.org",
        "ingress_class": "traefik",
        "gateway": "infra/public",
        "tls_secret": "certificate",
        "secret": "mine",
        "storage_class": "fast",
    }

    assert choices.kubernetes("a", given) == Options(
        "a",
        database_image=IMAGE,
        replicas=3,
        most=9,
        database="trial",
        host="letta.example.org",
        ingress_class="traefik",
        gateway="infra/public",
        tls_secret="certificate",
        secret="mine",
        storage_class="fast",
    )
    assert choices.swarm("a", {"replicas": "3", "encrypted": "yes"}).encrypted


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"replicas": "0"}, "--replicas '0'"),
        ({"replicas": "three"}, "--replicas 'three'"),
        ({"max_replicas": "1"}, "--max-replicas 1 is less than --replicas 2"),
        ({"database": "mine"}, "use external or trial"),
        ({"gateway": "a"}, "--gateway publishes nothing without a name"),
        ({"tls_secret": "a"}, "--tls-secret publishes nothing without a name"),
        ({"host": "a b"}, "--host 'a b'"),
        ({"host": "a", "gateway": "a/b/c"}, "--gateway 'a/b/c'"),
        ({"secret": "A"}, "--secret 'A'"),
        ({"storage_class": "a_b"}, "--storage-class 'a_b'"),
        ({"encrypted": "yes"}, "--encrypted: --env kubernetes does not take it"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(BadValue) as refused:
        choices.kubernetes("mine", given)

    assert said in str(refused.value)


@pytest.mark.parametrize("make", [choices.kubernetes, choices.swarm])
@pytest.mark.parametrize("name", ["Mine", "1a", "a" * 23, "a_b"])
def test_a_name_that_no_cluster_takes_is_refused(make: object, name: str) -> None:
    assert callable(make)

    with pytest.raises(BadValue, match="--project"):
        make(name, {})


def test_a_swarm_takes_no_host_name() -> None:
    with pytest.raises(BadValue, match="--host: --env swarm does not take it"):
        choices.swarm("mine", {"host": "a.example"})


def test_every_cluster_s_topology_has_its_flags() -> None:
    assert set(choices.TAKES) == set(CLUSTERS)
    assert all(inspect.isfunction(getattr(choices, name)) for name in CLUSTERS)
