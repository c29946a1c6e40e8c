from __future__ import annotations

import datetime as dt
import ssl
import stat
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from letta_stack.certs import check, issue, make, names, store
from letta_stack.errors import BadCertificate, BadValue, CertificateExpires

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)


def made(
    directory: Path, *texts: str, days: int = 90, force: bool = False, now: dt.datetime = NOW
) -> tuple[bool, list[str]]:
    said: list[str] = []
    return make.make(directory, texts, days=days, force=force, now=now, say=said.append), said


def leaf(directory: Path) -> x509.Certificate:
    return store.read_chain(directory / store.GATEWAY)[0]


def test_the_first_call_makes_an_authority_and_a_certificate_that_python_takes(
    tmp_path: Path,
) -> None:
    changed, said = made(tmp_path, "letta.example.org")

    assert changed
    assert "ca.pem" in said[0]
    leaf(tmp_path).verify_directly_issued_by(store.read_chain(tmp_path / store.AUTHORITY)[0])
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / store.GATEWAY)
    shown = names.show(names.of(leaf(tmp_path)))
    assert shown == "localhost, 127.0.0.1, ::1, letta.example.org"


def test_keys_are_for_the_owner_alone(tmp_path: Path) -> None:
    made(tmp_path / "project")

    files = [path for path in (tmp_path / "project").rglob("*") if path.is_file()]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in files}
    assert modes == {store.AUTHORITY: 0o644, store.AUTHORITY_KEY: 0o600, "gateway.pem": 0o600}
    assert stat.S_IMODE((tmp_path / "project").stat().st_mode) == 0o700


def test_the_authority_signs_leaves_only_and_a_leaf_signs_nothing(tmp_path: Path) -> None:
    made(tmp_path)
    (authority,) = store.read_chain(tmp_path / store.AUTHORITY)

    def constraints(one: x509.Certificate) -> x509.BasicConstraints:
        return one.extensions.get_extension_for_class(x509.BasicConstraints).value

    usage = authority.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (constraints(authority).ca, constraints(authority).path_length) == (True, 0)
    assert (usage.key_cert_sign, usage.digital_signature) == (True, False)
    assert constraints(leaf(tmp_path)).ca is False
    purposes = leaf(tmp_path).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_a_good_certificate_is_left_alone(tmp_path: Path) -> None:
    made(tmp_path, "a.example")
    before = (tmp_path / store.GATEWAY).read_bytes()
    changed, said = made(tmp_path, "a.example")

    assert not changed
    assert said == [f"{tmp_path / store.GATEWAY} is good until 2027-01-30"]
    assert (tmp_path / store.GATEWAY).read_bytes() == before


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (lambda path: made(path, now=NOW + dt.timedelta(days=61)), "the old one ends 2027-01-30"),
        (lambda path: made(path, force=True), "--force"),
    ],
)
def test_a_certificate_is_renewed_when_two_thirds_of_its_life_are_over(
    tmp_path: Path, second: Callable[[Path], tuple[bool, list[str]]], reason: str
) -> None:
    made(tmp_path)
    serial = leaf(tmp_path).serial_number
    authority = (tmp_path / store.AUTHORITY).read_bytes()
    changed, said = second(tmp_path)

    assert changed
    assert reason in said[-1]
    assert leaf(tmp_path).serial_number != serial
    assert (tmp_path / store.AUTHORITY).read_bytes() == authority


def test_the_day_before_it_is_not_renewed(tmp_path: Path) -> None:
    made(tmp_path)

    assert made(tmp_path, now=NOW + dt.timedelta(days=59))[0] is False


def test_other_names_or_another_authority_need_a_new_certificate(tmp_path: Path) -> None:
    made(tmp_path)
    assert "for other names" in made(tmp_path, "b.example")[1][-1]

    made(tmp_path / "other")
    for name in (store.AUTHORITY, store.AUTHORITY_KEY):
        (tmp_path / "other" / name).replace(tmp_path / name)
    assert "another authority" in made(tmp_path, "b.example")[1][-1]


def test_an_authority_without_its_key_is_refused_and_kept(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / store.AUTHORITY_KEY).unlink()

    with pytest.raises(BadCertificate, match=r"ca-key\.pem holds no private key"):
        made(tmp_path, force=True)
    assert (tmp_path / store.AUTHORITY).exists()


def test_an_authority_that_would_end_first_signs_nothing(tmp_path: Path) -> None:
    made(tmp_path)

    with pytest.raises(BadCertificate, match="ends before a new certificate would"):
        made(tmp_path, force=True, now=NOW + dt.timedelta(days=3600))


@pytest.mark.parametrize("text", ["", "a b", "-a", "a..b", "http://a", "a" * 64, "*.", "a.*.b"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match="--name"):
        names.parse([text])


def test_names_are_addresses_wildcards_and_hosts_each_once() -> None:
    found = names.parse(["10.0.0.5", "*.Example.org", "localhost"])

    assert names.show(found) == "localhost, 127.0.0.1, ::1, 10.0.0.5, *.example.org"


def own_files(tmp_path: Path, *, days: int = 90, now: dt.datetime = NOW) -> tuple[Path, Path]:
    authority = issue.authority("own", now)
    pair = issue.leaf(authority, names.parse([]), now, days=days)
    chain, key = tmp_path / "own.pem", tmp_path / "own-key.pem"
    chain.write_bytes(pair.certificate_pem + authority.certificate_pem)
    key.write_bytes(pair.key_pem)
    return chain, key


def test_own_files_that_fit_are_usable(tmp_path: Path) -> None:
    assert check.check_usable(*own_files(tmp_path), NOW).days(NOW) == 90


def test_own_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    chain, key = own_files(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    other_chain, other_key = own_files(other)

    with pytest.raises(BadCertificate, match="does not belong"):
        check.check_usable(chain, other_key, NOW)
    with pytest.raises(BadCertificate, match="ended 2027-01-30"):
        check.check_usable(chain, key, NOW + dt.timedelta(days=90))
    with pytest.raises(BadCertificate, match="check the clock"):
        check.check_usable(chain, key, NOW - dt.timedelta(hours=2))
    with pytest.raises(BadCertificate, match="holds no PEM certificate"):
        check.check_usable(key, key, NOW)
    with pytest.raises(BadCertificate, match="holds no private key"):
        check.check_usable(chain, chain, NOW)
    (first, *_), (_, issuer) = store.read_chain(chain), store.read_chain(other_chain)
    mixed = issue.Pair(first, issue.authority("x", NOW).key).certificate_pem
    chain.write_bytes(mixed + issue.Pair(issuer, issue.authority("x", NOW).key).certificate_pem)
    with pytest.raises(BadCertificate, match="was not issued by the certificate below it"):
        check.check_usable(chain, key, NOW)


def test_check_says_what_ends_and_fails_in_time(tmp_path: Path) -> None:
    made(tmp_path)
    found = check.findings(tmp_path)

    assert [one.path.name for one in found] == [store.AUTHORITY, "gateway.pem"]
    assert check.describe(found[1], NOW).startswith("gateway.pem: 90 days left, until 2027-01-30")
    check.check_expiry(found, NOW, soon=90)
    with pytest.raises(CertificateExpires, match=r"gateway\.pem ends 2027-01-30"):
        check.check_expiry(found, NOW, soon=91)
    with pytest.raises(CertificateExpires, match=r"gateway\.pem ended"):
        check.check_expiry(found, NOW + dt.timedelta(days=91), soon=0)


def test_nothing_to_check_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadCertificate, match=r"inv certs\.make"):
        check.findings(tmp_path)


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        store.write(path, b"new", mode=0o600)

    assert [one.name for one in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_own_files_take_the_place_of_the_local_ones(tmp_path: Path) -> None:
    made(tmp_path / "project")
    chain, key = own_files(tmp_path)
    said: list[str] = []
    make.use(tmp_path / "project", str(chain), str(key), now=NOW, say=said.append)

    gateway = tmp_path / "project" / store.GATEWAY
    assert gateway.read_bytes() == key.read_bytes() + chain.read_bytes()
    assert stat.S_IMODE(gateway.stat().st_mode) == 0o600
    assert not (tmp_path / "project" / store.AUTHORITY).exists()
    assert said == ["the gateway serves localhost, 127.0.0.1, ::1 until 2027-01-30"]


def test_own_files_that_cannot_serve_change_nothing(tmp_path: Path) -> None:
    made(tmp_path / "project")
    before = (tmp_path / "project" / store.GATEWAY).read_bytes()
    chain, key = own_files(tmp_path)

    with pytest.raises(BadCertificate, match="ended"):
        make.use(
            tmp_path / "project", str(chain), str(key), now=NOW + dt.timedelta(days=91), say=print
        )
    with pytest.raises(BadValue, match="--key"):
        make.use(tmp_path / "project", str(chain), "", now=NOW, say=print)
    assert (tmp_path / "project" / store.GATEWAY).read_bytes() == before
    assert (tmp_path / "project" / store.AUTHORITY).exists()


def test_a_project_with_a_certificate_serves_https(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "DIRECTORY", tmp_path)
    assert not store.has_certificate("p")
    made(tmp_path / "p")

    assert store.has_certificate("p")
    assert store.variables("p")["LETTA_STACK_TLS_DIR"] == str(tmp_path / "p" / "gateway")
    assert store.context("p").verify_mode is ssl.CERT_REQUIRED
    (tmp_path / "p" / store.AUTHORITY).unlink()
    assert store.context("p").verify_mode is ssl.CERT_NONE


def test_a_certificate_of_a_client_is_for_clients_only_and_its_owner_alone(tmp_path: Path) -> None:
    made(tmp_path)
    said: list[str] = []
    make.client(tmp_path, "alice", days=90, now=NOW, say=said.append)

    path = tmp_path / "clients/alice.pem"
    (one,) = store.read_chain(path)
    one.verify_directly_issued_by(store.read_chain(tmp_path / store.AUTHORITY)[0])
    purposes = one.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert f"LETTA_STACK_CLIENT_CA={tmp_path / store.AUTHORITY}" in said[0]


@pytest.mark.parametrize("name", ["", "../evil", "two words", "a_b"])
def test_a_client_with_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    made(tmp_path)

    with pytest.raises(BadValue, match="is neither a host name nor an address"):
        make.client(tmp_path, name, days=90, now=NOW, say=print)
    assert not (tmp_path / store.CLIENTS).exists()


def test_a_client_needs_an_authority_that_outlives_its_certificate(tmp_path: Path) -> None:
    with pytest.raises(BadCertificate, match=r"make one: `inv certs.make`"):
        make.client(tmp_path, "alice", days=90, now=NOW, say=print)
    made(tmp_path)
    with pytest.raises(BadCertificate, match="ends before a new certificate would"):
        make.client(tmp_path, "alice", days=3651, now=NOW, say=print)


def test_only_an_authority_that_is_valid_can_say_who_a_client_is(tmp_path: Path) -> None:
    made(tmp_path)
    authority = tmp_path / store.AUTHORITY

    check.check_authority("X", authority, NOW)
    with pytest.raises(BadCertificate, match=r"X: CN=localhost in .* is no authority"):
        check.check_authority("X", tmp_path / store.GATEWAY, NOW)
    with pytest.raises(BadCertificate, match=r"X: the authority in .* ended 2036-10-29"):
        check.check_authority("X", authority, NOW + dt.timedelta(days=3651))
    with pytest.raises(BadCertificate, match=r"X names .*nothing, which is no readable PEM file"):
        check.check_authority("X", tmp_path / "nothing", NOW)


def internal(directory: Path, *, now: dt.datetime = NOW, force: bool = False) -> bool:
    return make.internal(directory, days=730, force=force, now=now, say=print)


def test_the_data_services_get_certificates_of_an_authority_of_their_own(tmp_path: Path) -> None:
    made(tmp_path)
    assert internal(tmp_path)
    assert not internal(tmp_path)

    (gateway,) = store.read_chain(tmp_path / store.AUTHORITY)
    (authority,) = store.read_chain(tmp_path / "internal/ca.pem")
    (database,) = store.read_chain(tmp_path / "internal/database/database.pem")
    (redis,) = store.read_chain(tmp_path / "internal/redis/redis.pem")
    assert authority.public_key() != gateway.public_key()
    for one in (database, redis):
        one.verify_directly_issued_by(authority)
    assert names.show(names.of(database)) == "letta-db, pgvector_db, postgres"
    assert names.show(names.of(redis)) == "letta-redis, redis"


@pytest.mark.parametrize(("uid", "mode", "owner"), [(0, 0o600, 999), (1000, 0o644, None)])
def test_a_key_inside_is_read_by_its_service_and_reached_by_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int, mode: int, owner: int | None
) -> None:
    given: list[int] = []
    monkeypatch.setattr("os.getuid", lambda: uid)
    monkeypatch.setattr("os.fchown", lambda _file, owner, _group: given.append(owner))
    internal(tmp_path)

    for file in store.INTERNAL_LEAVES:
        assert stat.S_IMODE((tmp_path / file).stat().st_mode) == mode
        assert stat.S_IMODE((tmp_path / file).parent.stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "internal").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "internal/ca-key.pem").stat().st_mode) == 0o600
    assert given == ([owner] * 2 if owner else [])


def test_a_command_that_was_killed_before_the_end_begins_anew(tmp_path: Path) -> None:
    internal(tmp_path)
    for name in (store.AUTHORITY, store.AUTHORITY_KEY):
        (tmp_path / "internal" / name).unlink()

    assert internal(tmp_path)
    (authority,) = store.read_chain(tmp_path / "internal/ca.pem")
    for file in store.INTERNAL_LEAVES:
        store.read_chain(tmp_path / file)[0].verify_directly_issued_by(authority)


def test_certificates_inside_are_renewed_and_shown_like_the_gateways(tmp_path: Path) -> None:
    internal(tmp_path)
    found = check.findings(tmp_path)

    assert [check.describe(one, NOW).partition(":")[0] for one in found] == [
        "internal/ca.pem",
        "internal/database.pem",
        "internal/redis.pem",
    ]
    with pytest.raises(CertificateExpires, match=r"database\.pem ends .*`inv certs\.internal`"):
        check.check_expiry(found, NOW + dt.timedelta(days=720), soon=21)
    assert internal(tmp_path, now=NOW + dt.timedelta(days=500))
