from __future__ import annotations

import pytest

from letta_stack.errors import NotExpressible
from letta_stack.topology.render import keys, values
from letta_stack.topology.render.keys import EXPRESSED

TABLE = {
    "services.*.image": EXPRESSED,
    "services.*.environment.*": EXPRESSED,
    "services.*.logging": "elsewhere",
    "services.*.ports[].target": EXPRESSED,
}


def test_what_is_not_expressed_is_listed_by_its_whole_path() -> None:
    model = {"services": {"a": {"image": "x", "logging": {"driver": "json-file"}}}}

    assert keys.check(model, TABLE) == ["services.a.logging: elsewhere"]


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ({"pid": "host"}, "services.a.pid"),
        ({"ports": [{"target": 1}, {"target": 1, "name": "x"}]}, "services.a.ports[1].name"),
        ({"privileged": False}, "services.a.privileged"),
    ],
)
def test_a_key_that_nobody_thought_of_is_refused(service: dict[str, object], path: str) -> None:
    with pytest.raises(NotExpressible) as refused:
        keys.check({"services": {"a": service}}, TABLE)

    assert str(refused.value).startswith(f"{path} of the compose model")


def test_names_are_the_user_s_and_what_is_empty_says_nothing() -> None:
    service = {
        "environment": {"ANY": "1", "UNSET": None},
        "x-note": {"a": 1},
        "dns": [],
        "tty": None,
    }

    assert keys.check({"services": {"image": service}}, TABLE) == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 1), ("3s", 3), ("1m0s", 60), ("1m30s", 90), ("1h2m", 3720), ("1.5s", 2)],
)
def test_part_of_a_second_is_a_second(text: str, seconds: int) -> None:
    assert values.seconds(text) == seconds


@pytest.mark.parametrize("user", ["", "root", "0", "0:0", "10:staff"])
def test_only_the_number_of_an_ordinary_user_will_do(user: str) -> None:
    with pytest.raises(NotExpressible, match="services\\.a\\.user"):
        values.user("a", {"user": user})


def test_a_group_is_the_user_s_own_unless_it_is_named() -> None:
    assert values.user("a", {"user": "7"}) == (7, 7)
    assert values.user("a", {"user": "7:8"}) == (7, 8)
