"""How requests reach a registry: TLS with an own CA, proxies, redirects, timeouts. Nothing here knows a login."""

from __future__ import annotations

import ipaddress
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from letta_stack.errors import RegistryUnreachable
from letta_stack.registry import answers
from letta_stack.registry.reference import DOCKER_HUB
from letta_stack.registry.retries import TransientError

if TYPE_CHECKING:
    from pathlib import Path

    from letta_stack.registry.reference import Target
    from letta_stack.registry.retries import RetryPolicy

DOCKER_HUB_API = "registry-1.docker.io"
USER_AGENT = "letta-stack"


class Authorization(AuthBase):
    """Sets exactly this header, none if it is empty; without an auth object requests would look into ~/.netrc."""

    def __init__(self, value: str = "") -> None:
        """Keep the header's value."""
        self.value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Set the header."""
        if self.value:
            request.headers["Authorization"] = self.value
        return request


class _TrustingAdapter(HTTPAdapter):
    """Trusts one more CA beside those of the system and of requests."""

    def __init__(self, ca: Path) -> None:
        self._context = ssl.create_default_context()
        self._context.load_verify_locations(ca)
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)


def is_loopback(host: str) -> bool:
    """Say whether ``HOST[:PORT]`` is this machine, where docker too accepts a registry without TLS."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


class Transport:
    """Sends requests to one registry."""

    def __init__(self, target: Target, *, ca: Path | None, policy: RetryPolicy) -> None:
        """Keep the facts; nothing is sent yet. ``ca`` is a PEM file, trusted beside the system's."""
        self._target = target
        self._timeout = (policy.connect_timeout, policy.read_timeout)
        self._http = requests.Session()
        self._http.headers["User-Agent"] = USER_AGENT
        if ca is not None:
            self._http.mount("https://", _TrustingAdapter(ca))
        self._base_url = ""

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def request(self, method: str, url: str, **options: Any) -> requests.Response:
        """Send a request once; ``options`` are those of requests.

        Raises:
            TransientError: no answer came.
            RegistryUnreachable: TLS failed, which another attempt would not change.

        """
        try:
            return self._http.request(
                method, url, timeout=self._timeout, allow_redirects=True, **options
            )
        except requests.exceptions.SSLError as error:
            message = (
                f"{self._target.registry}: TLS failed ({answers.root_cause(error)}); "
                "if its certificate comes from your own CA, give that with --ca"
            )
            raise RegistryUnreachable(message) from None
        except requests.RequestException as error:
            raise TransientError(answers.root_cause(error)) from None

    def is_own(self, url: str) -> bool:
        """Say whether a URL is the registry's, so that it may see the login."""
        return urlsplit(url).netloc == urlsplit(self.base_url()).netloc

    def base_url(self) -> str:
        """Return the scheme and host. Only a loopback registry is asked whether it speaks plain HTTP."""
        if self._base_url:
            return self._base_url
        host = self._target.registry
        api = DOCKER_HUB_API if host == DOCKER_HUB else host
        scheme = "https"
        if is_loopback(host):
            answer = self.request("GET", f"http://{api}/v2/", auth=Authorization())
            if answer.status_code in answers.TRANSIENT_STATUSES:
                raise answers.failure(answer, self._target)
            # Servers answer 400 to plain HTTP on a port for TLS.
            if answer.status_code != HTTPStatus.BAD_REQUEST:
                scheme = "http"
        self._base_url = f"{scheme}://{api}"
        return self._base_url
