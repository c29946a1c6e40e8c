"""How requests reach a registry: TLS with an own CA, proxies, redirects, timeouts. Nothing here knows a login."""

from __future__ import annotations

import ipaddress
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from letta_stack.errors import RegistryRefused, RegistryUnreachable
from letta_stack.registry import answers
from letta_stack.registry.reference import DOCKER_HUB
from letta_stack.registry.retries import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
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

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        kwargs["ssl_context"] = self._context
        if proxy.lower().startswith("https:"):
            kwargs["proxy_ssl_context"] = self._context  # for the way to the proxy itself
        return super().proxy_manager_for(proxy, **kwargs)


class _Http(requests.Session):
    """Goes to this machine without a proxy, and calls ``check_redirect`` before it follows one."""

    def __init__(self, check_redirect: Callable[[str, str], None]) -> None:
        self._check_redirect = check_redirect
        super().__init__()

    def merge_environment_settings(self, url: Any, proxies: Any, *args: Any) -> Any:
        if is_loopback(urlsplit(url).netloc):
            proxies = {"no_proxy": "*"}
        return super().merge_environment_settings(url, proxies, *args)

    def rebuild_proxies(self, prepared_request: requests.PreparedRequest, _: Any) -> Any:
        # From the environment again: where a redirect leads decides, not where it comes from.
        url = prepared_request.url or ""
        return self.merge_environment_settings(url, {}, None, None, None)["proxies"]

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target is not None:
            self._check_redirect(resp.url, urljoin(resp.url, target))
        return target


def is_loopback(host: str) -> bool:
    """Say whether ``HOST[:PORT]`` is this machine, where docker too accepts a registry without TLS."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


class Transport:
    """Sends requests to one registry."""

    def __init__(
        self, target: Target, *, ca: Path | None, plain_http: Collection[str], policy: RetryPolicy
    ) -> None:
        """Keep the facts; nothing is sent yet.

        Args:
            target: names the registry.
            ca: PEM file, trusted beside the system's authorities.
            plain_http: every ``HOST[:PORT]`` beside this machine that may be spoken to without TLS.
            policy: has the limits of time.

        """
        self._target = target
        self._plain_http = frozenset(plain_http)
        self._timeout = (policy.connect_timeout, policy.read_timeout)
        self._http = _Http(self._check_tls_stays)
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
            RegistryRefused: the answer leads from TLS to plain HTTP.

        """
        try:
            return self._http.request(
                method, url, timeout=self._timeout, allow_redirects=True, **options
            )
        except requests.exceptions.SSLError as error:
            raise self._tls_failure(url, error) from None
        except requests.RequestException as error:
            raise TransientError(answers.root_cause(error)) from None

    def may_be_plain(self, url: str) -> bool:
        """Say whether a URL's host may be sent a login without TLS."""
        host = urlsplit(url).netloc
        return is_loopback(host) or host in self._plain_http

    def is_own(self, url: str) -> bool:
        """Say whether a URL is the registry's, with the same scheme, so that it may see the login."""
        return urlsplit(url)[:2] == urlsplit(self.base_url())[:2]

    def resolve(self, answer: requests.Response, location: str) -> str:
        """Return the URL that an answer names as the next one. TLS is kept.

        A registry behind a proxy that ends TLS gives ``http://`` and its own name: it means the proxy.

        Raises:
            RegistryRefused: another host is named, without TLS.

        """
        url = urlsplit(urljoin(answer.url, location))
        base = urlsplit(self.base_url())
        if base.scheme == "https" and url.scheme == "http" and url.hostname == base.hostname:
            return url._replace(scheme=base.scheme, netloc=base.netloc).geturl()
        self._check_tls_stays(self.base_url(), url.geturl())
        return url.geturl()

    def base_url(self) -> str:
        """Return the scheme and host. Only a registry that may be plain is asked whether it speaks plain HTTP."""
        if self._base_url:
            return self._base_url
        host = self._target.registry
        api = DOCKER_HUB_API if host == DOCKER_HUB else host
        scheme = "https"
        if self.may_be_plain(f"http://{host}"):
            answer = self.request("GET", f"http://{api}/v2/", auth=Authorization())
            if answer.status_code in answers.TRANSIENT_STATUSES:
                raise answers.failure(answer, self._target)
            # Servers answer 400 to plain HTTP on a port for TLS.
            if answer.status_code != HTTPStatus.BAD_REQUEST:
                scheme = "http"
        self._base_url = f"{scheme}://{api}"
        return self._base_url

    def _check_tls_stays(self, before: str, after: str) -> None:
        schemes = (urlsplit(before).scheme, urlsplit(after).scheme)
        if schemes == ("https", "http") and not self.may_be_plain(after):
            host = urlsplit(after).netloc
            message = (
                f"{self._target.registry} leads from TLS to http://{host}, where everybody on the way can read along; "
                f"correct its external URL, or, if you trust that network, allow it with --plain-http {host}"
            )
            raise RegistryRefused(message)

    def _tls_failure(self, url: str, error: requests.exceptions.SSLError) -> RegistryUnreachable:
        cause = answers.root_cause(error)
        host = urlsplit(url).netloc
        if "certificate verify failed" not in cause.lower() and self._speaks_plain_http(host):
            return RegistryUnreachable(
                f"{host} speaks plain HTTP, where everybody on the way can read the login; give it a certificate, "
                f"or, if you trust that network, allow it with --plain-http {host}"
            )
        return RegistryUnreachable(
            f"{self._target.registry}: TLS failed ({cause}); "
            "if its certificate comes from your own CA, give that with --ca"
        )

    def _speaks_plain_http(self, host: str) -> bool:
        """Ask a host that fails at TLS, without a login."""
        try:
            answer = self._http.get(
                f"http://{host}/v2/",
                timeout=self._timeout,
                allow_redirects=False,
                auth=Authorization(),
            )
        except requests.RequestException:
            return False
        return answer.status_code in {HTTPStatus.OK, HTTPStatus.UNAUTHORIZED}
