from __future__ import annotations

import base64
import hmac

from letta_stack.secrets import scram

# The example of RFC 7677, section 3: user "user", password "pencil".
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
NONCE = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
MESSAGE = (
    f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={NONCE}"
)
SERVER_SIGNATURE = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_a_verifier_holds_the_key_with_which_the_rfcs_server_signs() -> None:
    known = scram.verifier("pencil", salt=SALT)
    server_key = base64.b64decode(known.rpartition(":")[2])

    assert known.startswith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")
    signature = hmac.digest(server_key, MESSAGE.encode(), "sha256")
    assert base64.b64encode(signature).decode() == SERVER_SIGNATURE


def test_a_verifier_matches_its_password_only_and_never_names_it() -> None:
    known = scram.verifier("correct-horse")

    assert scram.matches("correct-horse", known)
    assert not scram.matches("correct-horsf", known)
    assert "horse" not in known
    assert scram.verifier("correct-horse") != known


def test_nonsense_matches_nothing() -> None:
    assert not scram.matches("x", "")
    assert not scram.matches("x", "SCRAM-SHA-256$4096:!!$a:b")
