"""A client of the OCI distribution API: what a release has to read, write and verify, and nothing else.

Answers fall into three groups: yes, no (404), and "could not tell" (dropped connection, 429, 5xx). Only the last
is retried, and it never becomes a no: a tag that could not be read is not a free tag.
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import json
import ssl
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, Any, Self, TypeVar, cast
from urllib.parse import urljoin, urlsplit

import requests
import tenacity
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import parse_dict_header

from letta_stack.errors import (
    ContentBroken,
    RegistryDenied,
    RegistryFull,
    RegistryReadOnly,
    RegistryRefused,
    RegistryUnreachable,
    TagTaken,
)
from letta_stack.registry import credentials, oci
from letta_stack.registry.reference import DOCKER_HUB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from letta_stack.registry.reference import Target

T = TypeVar("T")

ACCEPT = ", ".join(oci.MANIFEST_TYPES)
DOCKER_HUB_API = "registry-1.docker.io"
CLIENT_ID = "letta-stack"
TAGS_PER_PAGE = 1000
BLOCK = 1 << 20
# A blob of this many bytes takes a while on a usual line.
WORTH_MENTIONING = 10_000_000
# What a login is asked for; a registry gives less if the user may do less.
PULL = "pull"
PUSH = "pull,push"
TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
# A registry on a file system that is full or read-only answers 500 and the error number in its details.
NO_SPACE = ("no space left", '"Err":28', "disk quota exceeded", '"Err":122')
READ_ONLY = ("read-only file system", '"Err":30')


@dataclass(frozen=True)
class Patience:
    """How long to put up with a registry. All times in seconds."""

    attempts: int = 6
    first_wait: float = 1.0
    longest_wait: float = 30.0
    # A longer Retry-After is not waited for: Docker Hub's pull limit asks for hours.
    longest_retry_after: float = 120.0
    connect_timeout: float = 15.0
    # A registry on an object store moves the blob before it answers the last request of an upload.
    read_timeout: float = 300.0


@dataclass
class Traffic:
    """What a push moved."""

    uploaded: int = 0
    uploaded_bytes: int = 0
    present: int = 0
    present_bytes: int = 0


class TransientError(Exception):
    """Could not tell; worth another attempt. ``retry_after`` is what the registry asked for, in seconds."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        """Keep the reason in words."""
        super().__init__(reason)
        self.retry_after = retry_after


class _Header(AuthBase):
    """Sets exactly this Authorization header; without an auth object requests would look into ~/.netrc."""

    def __init__(self, value: str) -> None:
        self.value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.value:
            request.headers["Authorization"] = self.value
        return request


class _Body:
    """A stream of known length: requests would send one from a registry in chunks, which registries refuse."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream = stream
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self._stream.read(BLOCK), b"")

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(size)


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


class Registry:
    """One repository in one registry."""

    def __init__(
        self,
        target: Target,
        *,
        ca: Path | None = None,
        patience: Patience | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``say`` gets a line when something takes long or has to be tried again. Nothing is sent yet."""
        self.target = target
        self.traffic = Traffic()
        self._patience = patience or Patience()
        self._say = say
        self._session = requests.Session()
        self._session.headers["User-Agent"] = CLIENT_ID
        if ca is not None:
            self._session.mount("https://", _TrustingAdapter(ca))
        self._authorization: dict[str, str] = {}
        self._base_url = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    # -- reading

    def digest(self, reference: str) -> str | None:
        """Return what a tag or digest names, or None if it definitely does not exist."""
        return self._retry(lambda: self._digest(reference))

    def _digest(self, reference: str) -> str | None:
        answer = self._send("HEAD", f"manifests/{reference}", headers={"Accept": ACCEPT})
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        # The header is optional in the specification, the body is not.
        return answer.headers.get("Docker-Content-Digest") or self._manifest(reference).digest

    def manifest(self, reference: str) -> oci.Manifest:
        """Return a manifest; by digest it is checked against it. ``ContentBroken`` if it is not there."""
        return self._retry(lambda: self._manifest(reference))

    def _manifest(self, reference: str) -> oci.Manifest:
        answer = self._send("GET", f"manifests/{reference}", headers={"Accept": ACCEPT})
        if answer.status_code == HTTPStatus.NOT_FOUND:
            self._missing(f"manifest {reference}")
        media_type = answer.headers.get("Content-Type", "").partition(";")[0]
        manifest = oci.Manifest(answer.content, media_type)
        promised = reference if ":" in reference else answer.headers.get("Docker-Content-Digest")
        if promised and manifest.digest != promised:
            raise TransientError(f"manifest {reference} arrived damaged")
        return manifest

    def image(self, reference: str) -> oci.Image:
        """Return the image that a tag or digest names."""
        return oci.Image(self.manifest(reference), self)

    def tags(self) -> list[str]:
        """Return all tags; none if the repository does not exist yet."""
        found: list[str] = []
        path = f"tags/list?n={TAGS_PER_PAGE}"
        while path:
            names, path = self._retry(lambda path=path: self._tags_page(path))  # type: ignore[misc]
            found += names
        return found

    def _tags_page(self, path: str) -> tuple[list[str], str]:
        answer = self._send("GET", path)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return [], ""
        try:
            names = answer.json().get("tags") or []
        except (ValueError, AttributeError):
            raise TransientError("the list of tags arrived damaged") from None
        next_page = answer.links.get("next", {}).get("url", "")
        return [str(name) for name in names], urljoin(answer.url, next_page) if next_page else ""

    def blob_size(self, digest: str) -> int | None:
        """Return a blob's size in bytes, or None if it definitely does not exist."""
        return self._retry(lambda: self._blob_size(digest))

    def _blob_size(self, digest: str) -> int | None:
        answer = self._send("HEAD", f"blobs/{digest}")
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        return int(answer.headers.get("Content-Length", -1))

    def open_blob(self, blob: oci.Descriptor) -> IO[bytes]:
        """Open a blob for reading from its start."""
        answer = self._retry(lambda: self._send("GET", f"blobs/{blob.digest}", stream=True))
        if answer.status_code == HTTPStatus.NOT_FOUND:
            self._missing(f"blob {blob.digest}")
        answer.raw.decode_content = True
        return cast("IO[bytes]", answer.raw)

    def read(self, blob: oci.Descriptor) -> bytes:
        """Return a small blob, checked against its digest."""

        def get() -> bytes:
            answer = self._send("GET", f"blobs/{blob.digest}")
            if answer.status_code == HTTPStatus.NOT_FOUND:
                self._missing(f"blob {blob.digest}")
            if oci.sha256(answer.content) != blob.digest:
                raise TransientError(f"blob {blob.digest} arrived damaged")
            return answer.content

        return self._retry(get)

    # -- writing

    def check_writable(self) -> None:
        """Begin an upload and cancel it: shows missing rights or a read-only registry before anything is built."""
        answer = self._retry(lambda: self._send("POST", "blobs/uploads/", push=True, data=b""))
        # Cancelling is a courtesy: a login that may push need not be one that may delete.
        with contextlib.suppress(TransientError):
            self._exchange("DELETE", self._upload_url(answer), PUSH)

    def put_manifest(self, reference: str, manifest: oci.Manifest) -> None:
        """Write a manifest under a tag or its digest, and prove that the name now means it."""
        headers = {"Content-Type": manifest.media_type}

        path = f"manifests/{reference}"
        self._retry(lambda: self._send("PUT", path, push=True, headers=headers, data=manifest.body))
        if reference == manifest.digest:
            return  # the registry has compared it; `verify` reads it back
        found = self.digest(reference)
        if found != manifest.digest:
            message = (
                f"{self.target}:{reference} names {found} just after {manifest.digest} was written; "
                "somebody else writes it too: see who, then run the same push again"
            )
            raise TagTaken(message)

    def put_blob(self, blob: oci.Descriptor, content: oci.Content) -> None:
        """Upload a blob unless it is there. An attempt that broke off is begun anew."""

        def put() -> None:
            if self._blob_size(blob.digest) == blob.size:
                self.traffic.present += 1
                self.traffic.present_bytes += blob.size
                return
            answer = self._send("POST", "blobs/uploads/", push=True, data=b"")
            headers = {"Content-Type": "application/octet-stream"}
            url = self._upload_url(answer)
            url += ("&" if urlsplit(url).query else "?") + f"digest={blob.digest}"
            if blob.size >= WORTH_MENTIONING:
                self._say(f"{self.target}: uploading {blob.size / 1e6:.0f} MB")
            with content.open_blob(blob) as stream:
                answer = self._send(
                    "PUT", url, push=True, headers=headers, data=_Body(stream, blob.size)
                )
            if answer.status_code == HTTPStatus.NOT_FOUND:
                raise TransientError(f"the registry forgot the upload of {blob.digest}")
            self.traffic.uploaded += 1
            self.traffic.uploaded_bytes += blob.size

        self._retry(put)

    def _upload_url(self, answer: requests.Response) -> str:
        if "Location" not in answer.headers:
            message = f"{self.target.registry} began no upload; is this a registry?"
            raise RegistryRefused(message)
        return urljoin(answer.url, answer.headers["Location"])

    # -- verifying

    def verify(self, digest: str) -> oci.Image:
        """Prove that everything under ``digest`` is in the registry; ``ContentBroken`` names what is not."""
        image = self.image(digest)
        for blob in image.blobs:
            size = self.blob_size(blob.digest)
            if size is None:
                self._missing(f"blob {blob.digest}")
            if size != blob.size:
                message = (
                    f"{self.target}: blob {blob.digest} has {size} bytes and should have {blob.size}; "
                    "have the registry check its storage"
                )
                raise ContentBroken(message)
        return image

    def _missing(self, what: str) -> None:
        message = f"{self.target} lacks {what}; run the same push again"
        raise ContentBroken(message)

    # -- one request

    def _send(
        self,
        method: str,
        path: str,
        *,
        push: bool = False,
        headers: Mapping[str, str] | None = None,
        data: bytes | _Body | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """Send a request once, with one more attempt after a login. 404 is an answer, other failures raise."""
        url = urljoin(f"{self._find_base_url()}/v2/{self.target.repository}/", path)
        scope = PUSH if push else PULL
        answer = self._exchange(method, url, scope, headers=headers, data=data, stream=stream)
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            self._log_in(answer, scope)
            if isinstance(data, bytes | None):
                answer = self._exchange(
                    method, url, scope, headers=headers, data=data, stream=stream
                )
            else:
                raise TransientError("the login ended during an upload")
        if answer.ok or answer.status_code == HTTPStatus.NOT_FOUND:
            return answer
        raise self._failure(answer)

    def _exchange(
        self,
        method: str,
        url: str,
        scope: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | _Body | None = None,
        stream: bool = False,
    ) -> requests.Response:
        # An upload may be directed to another host: no business of its to see the login.
        own = urlsplit(url).netloc == urlsplit(self._base_url).netloc
        authorization = self._authorization.get(scope, "") if own else ""
        return self._request(
            method, url, headers=headers, data=data, stream=stream, auth=_Header(authorization)
        )

    def _request(self, method: str, url: str, **options: Any) -> requests.Response:
        patience = self._patience
        timeout = (patience.connect_timeout, patience.read_timeout)
        try:
            return self._session.request(
                method, url, timeout=timeout, allow_redirects=True, **options
            )
        except requests.exceptions.SSLError as error:
            message = (
                f"{self.target.registry}: TLS failed ({_root_cause(error)}); "
                "if its certificate comes from your own CA, give that with --ca"
            )
            raise RegistryUnreachable(message) from None
        except requests.RequestException as error:
            raise TransientError(_root_cause(error)) from None

    def _find_base_url(self) -> str:
        """Return the scheme and host. Only a loopback registry is asked whether it speaks plain HTTP."""
        if self._base_url:
            return self._base_url
        host = self.target.registry
        api = DOCKER_HUB_API if host == DOCKER_HUB else host
        scheme = "https"
        if is_loopback(host):
            answer = self._request("GET", f"http://{api}/v2/", auth=_Header(""))
            if answer.status_code in TRANSIENT_STATUSES:
                raise self._failure(answer)
            # Servers answer 400 to plain HTTP on a port for TLS.
            if answer.status_code != HTTPStatus.BAD_REQUEST:
                scheme = "http"
        self._base_url = f"{scheme}://{api}"
        return self._base_url

    def _log_in(self, challenge: requests.Response, scope: str) -> None:
        """Answer a 401 with the stored credentials; ``RegistryDenied`` if they are missing or were sent already."""
        found = credentials.find(self.target.registry)
        kind, _, rest = challenge.headers.get("WWW-Authenticate", "").partition(" ")
        if kind.lower() == "bearer":
            self._authorization[scope] = f"Bearer {self._token(_parameters(rest), found, scope)}"
            return
        if kind.lower() != "basic":
            message = f"{self.target.registry} asks for an unknown kind of login: {kind!r}"
            raise RegistryRefused(message)
        if found is None or not found.username:
            raise self._denied("wants a login, and none is stored", challenge)
        pair = f"{found.username}:{found.password}".encode()
        header = f"Basic {base64.b64encode(pair).decode()}"
        if self._authorization.get(scope) == header:
            raise self._denied("rejects the stored login", challenge)
        self._authorization[scope] = header

    def _token(
        self, challenge: Mapping[str, str], found: credentials.Credentials | None, scope: str
    ) -> str:
        realm = challenge.get("realm", "")
        query = {
            "service": challenge.get("service", ""),
            "scope": f"repository:{self.target.repository}:{scope}",
        }
        if urlsplit(realm).scheme != "https" and not is_loopback(urlsplit(realm).netloc):
            message = (
                f"{self.target.registry} wants the login sent without TLS, to {realm!r}; refused"
            )
            raise RegistryRefused(message)
        if found is not None and found.identity_token:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": found.identity_token,
                "client_id": CLIENT_ID,
                **query,
            }
            answer = self._request("POST", realm, data=form, auth=_Header(""))
        else:
            basic = HTTPBasicAuth(found.username, found.password) if found else _Header("")
            answer = self._request("GET", realm, params=query, auth=basic)
        if answer.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise self._denied("rejects the stored login", answer)
        if not answer.ok:
            raise self._failure(answer)
        try:
            document = answer.json()
            return str(document.get("token") or document["access_token"])
        except (ValueError, KeyError, AttributeError):
            raise TransientError("the login's answer arrived damaged") from None

    # -- what an answer means

    def _failure(self, answer: requests.Response) -> Exception:
        status, text = answer.status_code, answer.text
        said = _said(answer)
        host = self.target.registry
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return self._denied("refuses", answer)
        if status == HTTPStatus.INSUFFICIENT_STORAGE or any(sign in text for sign in NO_SPACE):
            return RegistryFull(
                f"{host} has no room left ({said}); free some there and run the same push again"
            )
        if status == HTTPStatus.METHOD_NOT_ALLOWED or any(sign in text for sign in READ_ONLY):
            return RegistryReadOnly(
                f"{host} is read-only ({said}); make it writable, or choose another --registry"
            )
        # A digest that does not fit is a request that arrived damaged.
        if status in TRANSIENT_STATUSES or "DIGEST_INVALID" in said or "SIZE_INVALID" in said:
            return TransientError(said, _retry_after(answer))
        return RegistryRefused(
            f"{host} rejects {answer.request.method} {urlsplit(answer.url).path} ({said}); "
            "see the registry's own log"
        )

    def _denied(self, what: str, answer: requests.Response) -> RegistryDenied:
        command = credentials.login_command(self.target.registry)
        return RegistryDenied(
            f"{self.target.registry} {what} for {self.target.repository} ({_said(answer)}); "
            f"run `{command}` as somebody who may push there"
        )

    # -- again

    def _retry(self, action: Callable[[], T]) -> T:
        retrying = tenacity.Retrying(
            stop=self._gives_up,
            wait=self._wait,
            retry=tenacity.retry_if_exception_type(TransientError),
            before_sleep=self._announce,
            reraise=True,
        )
        try:
            return retrying(action)
        except TransientError as error:
            asked = f", asks to wait {error.retry_after:g} s" if error.retry_after else ""
            message = (
                f"{self.target.registry} gave no usable answer ({error}{asked}); "
                "when it is back, run the same push again"
            )
            raise RegistryUnreachable(message) from None

    def _gives_up(self, state: tenacity.RetryCallState) -> bool:
        asked = _outcome(state).retry_after or 0.0
        patience = self._patience
        return state.attempt_number >= patience.attempts or asked > patience.longest_retry_after

    def _wait(self, state: tenacity.RetryCallState) -> float:
        asked = _outcome(state).retry_after
        if asked is not None:
            return asked
        patience = self._patience
        # With jitter, so that two releases do not come back in step.
        backoff = tenacity.wait_exponential(patience.first_wait, patience.longest_wait)
        return backoff(state) + tenacity.wait_random(0, patience.first_wait)(state)

    def _announce(self, state: tenacity.RetryCallState) -> None:
        pause = state.next_action.sleep if state.next_action else 0.0
        self._say(
            f"{self.target.registry}: {_outcome(state)}; "
            f"again in {pause:.1f} s ({state.attempt_number} of {self._patience.attempts - 1})"
        )


def _outcome(state: tenacity.RetryCallState) -> TransientError:
    error = state.outcome.exception() if state.outcome else None
    return error if isinstance(error, TransientError) else TransientError("")


def _parameters(challenge: str) -> dict[str, str]:
    """Read ``key="value",...``; a comma may stand inside quotes."""
    return dict(cast("dict[str, str]", parse_dict_header(challenge)))  # type: ignore[no-untyped-call]


def _retry_after(answer: requests.Response) -> float | None:
    """Read Retry-After in seconds; it may be a number or a date."""
    text = answer.headers.get("Retry-After", "")
    if text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        now = parsedate_to_datetime(answer.headers["Date"])
    except (ValueError, KeyError):
        return None
    return max(0.0, (moment - now).total_seconds())


def _said(answer: requests.Response) -> str:
    """Return the status and the registry's own words, on one line."""
    status = f"{answer.status_code} {answer.reason or ''}".strip()
    try:
        first = json.loads(answer.text)["errors"][0]
        words = f"{first.get('code', '')}: {first.get('message', '')}"
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return status
    return f"{status}, {' '.join(words.split())}"


def _root_cause(error: BaseException) -> str:
    """Return the innermost reason: the outer ones repeat the URL and name connection pools."""
    cause: BaseException = error
    while True:
        inner = getattr(cause, "reason", None) or cause.__context__ or cause.__cause__
        if not isinstance(inner, BaseException):
            break
        cause = inner
    return " ".join(str(cause).split()) or type(cause).__name__
