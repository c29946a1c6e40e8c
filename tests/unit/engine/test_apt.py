from __future__ import annotations

import pytest

from letta_stack.engine import apt

DEB822 = """\
Types: deb
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main contrib

Types: deb
URIs: http://elsewhere.example/tool
Suites: stable
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://sources.example/debian
Suites: bookworm
Components: main
"""
ONE_LINE = """\
# deb http://commented.example/debian bookworm main
deb http://mirror.example/debian bookworm main contrib # trailing
deb [arch=amd64 signed-by=/usr/share/keyrings/k.gpg] http://signed.example/debian bookworm main
deb http://mirror.example/security bookworm-security main
deb-src http://mirror.example/debian bookworm main
deb http://tool.example/apt stable-bookworm main
"""


def test_a_newer_suite_is_derived_from_the_machines_own_mirrors_in_deb822_format() -> None:
    derived = apt.derive(apt.parse_deb822(DEB822), old="bookworm", new="trixie")

    assert [source.render() for source in derived] == [
        (
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie\nComponents: main\n"
            "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        ),
        "Types: deb\nURIs: http://mirror.example/security\nSuites: trixie-security\nComponents: main\n",
    ]


def test_a_newer_suite_is_derived_from_one_line_sources_with_their_keys() -> None:
    derived = apt.derive(apt.parse_list(ONE_LINE), old="bookworm", new="trixie")

    assert [(source.uris, source.suites, source.signed_by) for source in derived] == [
        (("http://mirror.example/debian",), ("trixie",), ""),
        (("http://signed.example/debian",), ("trixie",), "/usr/share/keyrings/k.gpg"),
        (("http://mirror.example/security",), ("trixie-security",), ""),
    ]


def test_a_key_written_into_the_stanza_survives_the_round_trip() -> None:
    stanza = (
        "Types: deb\nURIs: http://m.example\nSuites: bookworm\nComponents: main\n"
        "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc=\n -----END PGP PUBLIC KEY BLOCK-----\n"
    )
    (source,) = apt.parse_deb822(stanza)

    assert apt.parse_deb822(source.render()) == [source]


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n"])
def test_no_sources_give_none(text: str) -> None:
    assert apt.parse_deb822(text) == []
    assert apt.parse_list(text) == []


def test_preferences_keep_everything_else_of_the_newer_suite_away() -> None:
    everything, ours = apt.pin(["docker.io", "containerd"], suite="trixie").strip().split("\n\n")

    assert everything == "Package: *\nPin: release n=trixie*\nPin-Priority: -10"
    assert ours == "Package: docker.io containerd\nPin: release n=trixie*\nPin-Priority: 600"
