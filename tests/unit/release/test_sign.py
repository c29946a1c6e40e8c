"""The key that a release is signed with: what opens it, what is refused before a build, and when a signature is made."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from letta_stack.base import process
from letta_stack.errors import BadSignKey, CommandFailed, RegistryFull
from letta_stack.image import third_party
from letta_stack.image.server import Request
from letta_stack.registry import signatures
from letta_stack.release import sign
from letta_stack.release.sign import Signer
from tests.support.releases import A, B, publisher

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from letta_stack.registry.repository import Repository
    from tests.support.memory_registry import MemoryRegistry

    Built = Callable[..., Callable[[Path], None]]

KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
PASSWORD = "not-a-secret"


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], str]]:
    """Stand for cosign; return its commands and what it read."""
    made: list[tuple[list[str], str]] = []

    def capture(argv: Sequence[str], *, stdin: str = "") -> str:
        made.append((list(argv), stdin))
        if stdin != PASSWORD:
            raise CommandFailed(argv, 1, "reading key: decrypt: encrypted: decryption failed")
        if "public-key" in argv:
            return PUBLIC
        mount = next(one for one in argv if one.endswith(":/payload:ro"))
        text = Path(mount.removeprefix("--volume=").partition(":")[0]).read_bytes()
        return base64.b64encode(KEY.sign(text, ec.ECDSA(SHA256()))).decode() + "\n"

    monkeypatch.setattr(process, "capture", capture)
    monkeypatch.setattr(third_party, "ensure", lambda *_, **__: {sign.IMAGE: "cosign:1"})
    return made


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "cosign.key"
    path.write_text("encrypted", encoding="utf-8")
    return path


def opened(key: Path, **environment: str) -> Signer:
    return Signer.of(str(key), environment, images="hub", ca=None)


@pytest.fixture
def signer(key: Path, ran: list[tuple[list[str], str]]) -> Signer:
    one = opened(key, COSIGN_PASSWORD=PASSWORD)
    ran.clear()
    return one


def test_without_a_key_nothing_is_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(sign.KEY_VARIABLE, raising=False)

    assert sign.signer_of(Request(())) is None


@pytest.mark.parametrize("by_file", [True, False])
def test_the_password_goes_through_standard_input_only(
    key: Path, ran: list[tuple[list[str], str]], tmp_path: Path, by_file: bool
) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    given = {sign.PASSWORD_VARIABLE: str(tmp_path / "password"), "COSIGN_PASSWORD": "other"}

    opened(key, **(given if by_file else {"COSIGN_PASSWORD": PASSWORD}))

    ((argv, read),) = ran
    assert read == PASSWORD
    assert PASSWORD not in " ".join(argv)
    assert {"--network=none", "--read-only", f"--volume={key}:/key:ro"} <= set(argv)


def test_a_key_that_does_not_open_is_one_line(key: Path, ran: list[Any]) -> None:
    with pytest.raises(BadSignKey, match=r"cannot use .* \(reading key: .*\); its password is"):
        opened(key, COSIGN_PASSWORD="wrong")

    assert len(ran) == 1


@pytest.mark.parametrize("name", ["missing", ""])
def test_a_key_that_is_no_file_is_found_before_cosign_is(
    tmp_path: Path, ran: list[Any], name: str
) -> None:
    with pytest.raises(BadSignKey, match="which is no file that you can read; make one"):
        opened(tmp_path / name)

    assert ran == []


def test_a_password_that_cannot_be_read_is_one_line(key: Path, tmp_path: Path) -> None:
    with pytest.raises(BadSignKey, match=r"PASSWORD_FILE names .* cannot be read"):
        opened(key, **{sign.PASSWORD_VARIABLE: str(tmp_path / "missing")})


def test_what_gets_a_tag_was_signed_before(
    registry: MemoryRegistry, built: Built, signer: Signer
) -> None:
    lines: list[str] = []
    one = replace(publisher(A, B, lines=lines), signer=signer)

    digest = one.push(built(), needed_bytes=1)

    for target in (A, B):
        writes = [line for line in registry.writes if line.startswith(target.registry)]
        assert writes.index(f"{target.registry} {signatures.tag(digest)}") < writes.index(
            f"{target.registry} 0.16.8"
        )
    assert f"{A}: signed" in lines
    written = len(registry.writes)
    assert one.push(built(), needed_bytes=1) == digest
    assert len(registry.writes) == written
    assert f"{A}: signed already" in lines


def test_what_cannot_be_signed_gets_no_tag(
    registry: MemoryRegistry, built: Built, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Signer, repository: Repository, digest: str) -> bool:
        raise RegistryFull(f"{repository.target} has no room for {digest}")

    monkeypatch.setattr(Signer, "sign", refuse)

    with pytest.raises(RegistryFull):
        replace(publisher(A), signer=signer).push(built(), needed_bytes=1)

    assert registry.stored[str(A)].tags == {}
