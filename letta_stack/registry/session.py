"""Requests with a login: basic, or a bearer token that is fetched with the stored credentials."""

from __future__ import annotations

import base64
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, cast
from urllib.parse import urljoin, urlsplit

from requests.auth import HTTPBasicAuth
from requests.utils import parse_dict_header

from letta_stack.errors import RegistryDenied, RegistryRefused
from letta_stack.registry import answers, credentials
from letta_stack.registry.retries import TransientError
from letta_stack.registry.transport import Authorization

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import requests

    from letta_stack.registry.credentials import Credentials
    from letta_stack.registry.reference import Target
    from letta_stack.registry.transport import Transport

CLIENT_ID = "letta-stack"
BLOCK = 1 << 20
# What a login is asked for; a registry gives less if the user may do less.
PULL = "pull"
PUSH = "pull,push"


class Body:
    """A stream of known length: requests would send one from a registry in chunks, which registries refuse."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        """``size`` is the number of bytes in ``stream``."""
        self._stream = stream
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self._stream.read(BLOCK), b"")

    def read(self, size: int = -1) -> bytes:
        """Read as a file does."""
        return self._stream.read(size)


class Session:
    """Sends requests about one repository, and logs in when the registry asks for it."""

    def __init__(self, target: Target, transport: Transport) -> None:
        """Keep the facts; nothing is sent yet."""
        self._target = target
        self._transport = transport
        self._authorization: dict[str, str] = {}
        # Set once an upload was allowed, unset once a manifest is written: then the repository exists.
        self.may_be_new = False

    def read(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
    ) -> requests.Response | None:
        """Send a request that changes nothing; return None if what it is about is not there.

        Some registries (Quay) refuse to read a repository that does not exist yet. Where an upload was allowed, a
        refusal means just that. Raises what ``send`` does.
        """
        try:
            answer = self.send(method, path, headers=headers, stream=stream)
        except RegistryDenied:
            if not self.may_be_new:
                raise
            return None
        return None if answer.status_code == HTTPStatus.NOT_FOUND else answer

    def send(
        self,
        method: str,
        path: str,
        *,
        scope: str = PULL,
        headers: Mapping[str, str] | None = None,
        data: bytes | Body | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """Send a request once, with one more attempt after a login. 404 is an answer, other failures raise.

        Args:
            method: of HTTP.
            path: below the repository, or a URL that the registry gave.
            scope: ``PULL`` or ``PUSH``, what the login has to allow.
            headers: to be sent.
            data: the request's body.
            stream: leave the answer's body to be read by the caller.

        Raises:
            TransientError: could not tell; send it again.
            RegistryDenied: the login is missing, wrong, or may not do this.
            RegistryFull, RegistryReadOnly, RegistryRefused: as their names say.

        """
        url = urljoin(f"{self._transport.base_url()}/v2/{self._target.repository}/", path)
        answer = self.exchange(method, url, scope, headers=headers, data=data, stream=stream)
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            self._log_in(answer, scope)
            if isinstance(data, Body):
                raise TransientError("the login ended during an upload")
            answer = self.exchange(method, url, scope, headers=headers, data=data, stream=stream)
        if answer.ok or answer.status_code == HTTPStatus.NOT_FOUND:
            return answer
        raise answers.failure(answer, self._target)

    def exchange(
        self,
        method: str,
        url: str,
        scope: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | Body | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """Send a request once with the login so far, and return whatever the answer is."""
        # An upload may be directed to another host: no business of its to see the login.
        own = self._transport.is_own(url)
        authorization = Authorization(self._authorization.get(scope, "") if own else "")
        return self._transport.request(
            method, url, headers=headers, data=data, stream=stream, auth=authorization
        )

    def _log_in(self, challenge: requests.Response, scope: str) -> None:
        """Answer a 401 with the stored credentials; ``RegistryDenied`` if they are missing or were sent already."""
        found = credentials.find(self._target.registry)
        kind, _, rest = challenge.headers.get("WWW-Authenticate", "").partition(" ")
        if kind.lower() == "bearer":
            self._authorization[scope] = f"Bearer {self._token(_parameters(rest), found, scope)}"
            return
        if kind.lower() != "basic":
            message = f"{self._target.registry} asks for an unknown kind of login: {kind!r}"
            raise RegistryRefused(message)
        if found is None or not found.username:
            raise answers.denied("wants a login, and none is stored", challenge, self._target)
        pair = f"{found.username}:{found.password}".encode()
        header = f"Basic {base64.b64encode(pair).decode()}"
        if self._authorization.get(scope) == header:
            raise answers.denied("rejects the stored login", challenge, self._target)
        self._authorization[scope] = header

    def _token(self, challenge: Mapping[str, str], found: Credentials | None, scope: str) -> str:
        realm = challenge.get("realm", "")
        query = {
            "service": challenge.get("service", ""),
            "scope": f"repository:{self._target.repository}:{scope}",
        }
        if urlsplit(realm).scheme != "https" and not self._transport.may_be_plain(realm):
            message = (
                f"{self._target.registry} wants the login sent without TLS, to {realm!r}; have it name https, or, if "
                f"you trust that network, allow it with --plain-http {urlsplit(realm).netloc or 'HOST'}"
            )
            raise RegistryRefused(message)
        if found is not None and found.identity_token:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": found.identity_token,
                "client_id": CLIENT_ID,
                **query,
            }
            answer = self._transport.request("POST", realm, data=form, auth=Authorization())
        else:
            basic = HTTPBasicAuth(found.username, found.password) if found else Authorization()
            answer = self._transport.request("GET", realm, params=query, auth=basic)
        if answer.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise answers.denied("rejects the stored login", answer, self._target)
        if not answer.ok:
            raise answers.failure(answer, self._target)
        try:
            document = answer.json()
            return str(document.get("token") or document["access_token"])
        except (ValueError, KeyError, AttributeError):
            raise TransientError("the login's answer arrived damaged") from None


def _parameters(challenge: str) -> dict[str, str]:
    """Read ``key="value",...``; a comma may stand inside quotes."""
    return dict(cast("dict[str, str]", parse_dict_header(challenge)))  # type: ignore[no-untyped-call]
