"""A registry in this process's memory, in place of the network: what the distribution specification says, and no faults."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from letta_stack.registry import oci
from tests.support.scripted import answer

PATH = re.compile(r"/v2/(?P<repository>.+)/(?P<what>manifests|blobs|tags|referrers)/(?P<name>.+)")
NOTHING = oci.index_of({})


@dataclass
class Stored:
    """One repository."""

    tags: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, oci.Manifest] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    referrers: dict[str, oci.Manifest] | None = None  # by what they refer to; None: not supported


@dataclass
class MemoryRegistry:
    """Any number of repositories, by ``host/name``. ``writes`` are the requests that changed something, in order."""

    stored: dict[str, Stored] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)
    failing: dict[str, int] = field(default_factory=dict)
    """Which hosts answer every blob's upload with which status."""

    def request(self, method: str, url: str, **options: Any) -> requests.Response:
        """Stand for ``requests.Session.request``."""
        reply = self._reply(method, url, options)
        reply.url = url
        reply.request = requests.Request(method, url).prepare()
        return reply

    def _reply(self, method: str, url: str, options: dict[str, Any]) -> requests.Response:
        found = PATH.fullmatch(urlsplit(url).path)
        assert found is not None, f"not a path of the specification: {url}"
        host, what, name = urlsplit(url).netloc, found["what"], found["name"]
        one = self.stored.setdefault(f"{host}/{found['repository']}", Stored())
        if what == "tags":
            return answer(body={"tags": list(one.tags)})
        if name == "uploads/":
            return answer(202, Location=f"{urlsplit(url).path}1?x=y")
        if method == "DELETE":
            return answer(204)
        if method == "PUT":
            if what == "blobs":
                digest = parse_qs(urlsplit(url).query)["digest"][0]
                return self._write_blob(host, one, digest, options["data"].read())
            media_type = options["headers"]["Content-Type"]
            return self._write_manifest(host, one, name, oci.Manifest(options["data"], media_type))
        content: bytes | None
        if what == "referrers":
            content = None if one.referrers is None else one.referrers.get(name, NOTHING).body
            headers = {}
        elif what == "blobs":
            content = one.blobs.get(name)
            headers = {"Content_Length": str(len(content or b""))}
        else:
            manifest = one.manifests.get(one.tags.get(name, name))
            content = manifest.body if manifest else None
            headers = {"Content_Type": manifest.media_type if manifest else ""}
            if manifest:
                headers["Docker_Content_Digest"] = manifest.digest
        return answer(404) if content is None else answer(200, content, **headers)

    def _write_blob(self, host: str, one: Stored, digest: str, content: bytes) -> requests.Response:
        if status := self.failing.get(host):
            return answer(status)
        assert oci.sha256(content) == digest
        one.blobs[digest] = content
        self.writes.append(f"{host} blob")
        return answer(201)

    def _write_manifest(
        self, host: str, one: Stored, name: str, manifest: oci.Manifest
    ) -> requests.Response:
        lacking = [item.digest for item in manifest.manifests if item.digest not in one.manifests]
        lacking += [blob.digest for blob in manifest.blobs if blob.digest not in one.blobs]
        assert not lacking, f"written before what it needs: {lacking}"
        one.manifests[manifest.digest] = manifest
        if name != manifest.digest:
            one.tags[name] = manifest.digest
        self.writes.append(f"{host} {'manifest' if ':' in name else name}")
        return answer(201)
