"""Which way requests take: directly or through a proxy, and what is trusted there."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.support.served import Answers, transport

if TYPE_CHECKING:
    from collections.abc import Callable

PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("url", "no_proxy", "proxied"),
    [
        ("http://127.0.0.1:5000/v2/", "", False),
        ("http://localhost:5000/v2/", "", False),
        ("http://[::1]:5000/v2/", "", False),
        ("http://registry.example/v2/", "", True),
        ("https://registry.example/v2/", "", True),
        ("https://registry.example/v2/", "other.example,.example", False),
    ],
)
def test_this_machine_and_no_proxy_are_reached_directly(
    url: str,
    no_proxy: str,
    proxied: bool,
    served: Callable[..., Answers],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, PROXY)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, no_proxy)
    one = transport()
    answers = served()

    one.request("GET", url)

    assert answers.seen == [(url, proxied)]


def test_a_redirect_off_this_machine_goes_through_the_proxy(
    served: Callable[..., Answers],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("https_proxy", PROXY)
    monkeypatch.delenv("no_proxy", raising=False)
    one = transport()
    answers = served(start="https://storage.example/end")

    one.request("GET", "http://127.0.0.1:5000/start")

    assert [proxied for _, proxied in answers.seen] == [False, True]


def test_an_own_ca_is_trusted_through_a_proxy_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: list[object] = []
    monkeypatch.setattr(
        ssl.SSLContext, "load_verify_locations", lambda _, name: loaded.append(name)
    )
    mounted: dict[str, Any] = {}
    monkeypatch.setattr(requests.Session, "mount", lambda _, *one: mounted.update([one]))
    transport(ca="own.pem")
    adapter = mounted["https://"]

    direct = adapter.poolmanager.connection_pool_kw["ssl_context"]
    proxied = adapter.proxy_manager_for(PROXY)
    secured = adapter.proxy_manager_for("https://proxy.example:3129")

    assert "own.pem" in loaded
    assert proxied.connection_pool_kw["ssl_context"] is direct
    assert secured.proxy_config.ssl_context is direct
