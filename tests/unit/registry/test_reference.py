from __future__ import annotations

import pytest

from letta_stack.errors import BadReference
from letta_stack.registry import reference
from letta_stack.registry.reference import Target


@pytest.mark.parametrize("tag", ["a", "_x", "A.b-c_d", "x" * 128])
def test_legal_tags(tag: str) -> None:
    assert tag == reference.check_tag(tag)


@pytest.mark.parametrize("tag", ["", ".a", "-a", "a+b", "a/b", "a:b", "x" * 129, "a\n"])
def test_illegal_tags(tag: str) -> None:
    with pytest.raises(BadReference, match="cannot be a tag"):
        reference.check_tag(tag)


@pytest.mark.parametrize(
    ("registries", "repositories", "expected"),
    [
        ([], ["letta/letta"], [Target("docker.io", "letta/letta")]),
        ([], ["letta"], [Target("docker.io", "library/letta")]),
        (["ghcr.io"], ["letta"], [Target("ghcr.io", "letta")]),
        (["a.b", "localhost:5000"], ["x"], [Target("a.b", "x"), Target("localhost:5000", "x")]),
        (["a.b"], ["x", "ghcr.io/org/y"], [Target("a.b", "x"), Target("ghcr.io", "org/y")]),
        ([], ["localhost/x"], [Target("localhost", "x")]),
        ([], ["registry:5000/x"], [Target("registry:5000", "x")]),
        ([], ["registry/x"], [Target("docker.io", "registry/x")]),
        (["[::1]:5000"], ["x"], [Target("[::1]:5000", "x")]),
        (["a.b", "a.b"], ["x"], [Target("a.b", "x")]),
        (["a.b"], ["x" * 255], [Target("a.b", "x" * 255)]),
    ],
)
def test_targets(registries: list[str], repositories: list[str], expected: list[Target]) -> None:
    assert expected == reference.parse_targets(registries, repositories)


@pytest.mark.parametrize(
    ("registry", "repository"),
    [
        ("a.b", "Letta/letta"),
        ("a.b", "letta:latest"),
        ("a.b", "letta//x"),
        ("a.b", "-x"),
        ("a.b", ""),
        ("a.b", "x" * 256),
        ("https://a.b", "x"),
        ("a.b/c", "x"),
        ("a.b:", "x"),
        ("-a.b", "x"),
    ],
)
def test_illegal_targets(registry: str, repository: str) -> None:
    with pytest.raises(BadReference, match="cannot be a re"):
        reference.parse_targets([registry], [repository])
