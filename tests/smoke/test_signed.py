"""With a key set, a running stack takes only images that its holder signed, and notices before anything changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from letta_stack.base import process
from letta_stack.base.paths import ROOT, STATE
from letta_stack.errors import NotSigned, SignedByOther
from letta_stack.image.sources import Sources
from letta_stack.operate import deploy, replicas
from letta_stack.topology import deployed, lifecycle, signed
from letta_stack.topology.deployed import IMAGE_VARIABLE
from tests.release import cosign, support
from tests.release.cosign import Cosign
from tests.smoke.conftest import arguments_of

if TYPE_CHECKING:
    from pathlib import Path

    from letta_stack.topology.project import Project
    from tests.smoke.conftest import Deployment

SOURCES = Sources.of(images="auto", otelcol="auto", letta_source="", ca="")
pytestmark = [pytest.mark.last, pytest.mark.only("prod")]


def state_of(project: Project) -> tuple[list[str], bool, bool]:
    """Return what a deployment would have changed."""
    names = sorted(one.container for one in replicas.of(project))
    directory = STATE / project.name
    return names, (directory / "deploying.json").exists(), (directory / "signed.json").exists()


def test_what_nobody_signed_is_refused_before_anything_changes(
    deployment: Deployment, tmp_path: Path
) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    path = tmp_path / "cosign.pub"
    path.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    before = state_of(deployment.stack)
    command = ["inv", "deploy", *arguments_of(deployment.stack)]

    ended = process.probe(command, env={signed.VARIABLE: str(path)}, cwd=ROOT)

    assert ended.exit_code == NotSigned.exit_code, ended.stderr
    assert "was built here, so nobody signed it" in ended.stderr
    assert state_of(deployment.stack) == before


@pytest.mark.long
@pytest.mark.timeout(900, func_only=True)
def test_a_signed_image_of_a_registry_is_deployed_and_comes_up_without_it(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    tool = Cosign(cosign.second(), tmp_path)
    tool.key("release")
    tool.key("other")
    stack = deployment.stack
    keyed = stack.with_variables({signed.VARIABLE: str(tmp_path / "release.pub")})
    source = stack.runner.config()["services"]["letta-server"]["image"]
    before = state_of(stack)
    image = ""
    try:
        with support.registry_container(support.registry_image()) as host:
            image = f"{host}/me/letta:1"
            process.capture(["docker", "tag", source, image])
            process.capture(["docker", "push", "--quiet", image])
            digest, _ = signed.names_of(image)
            order = deploy.Order(image=image, backup=False)
            with pytest.raises(NotSigned):
                deploy.deploy(keyed, order)
            tool.sign("other", f"{host}/me/letta@{digest}", "--tlog-upload=false")
            with pytest.raises(SignedByOther):
                deploy.deploy(keyed, order)
            assert state_of(stack) == before
            tool.sign("release", f"{host}/me/letta@{digest}", "--tlog-upload=false")

            deploy.deploy(keyed, order)

        after = state_of(stack)[0]
        assert set(after).isdisjoint(before[0])
        # The registry is gone: what was proved is known.
        mine = keyed.with_variables({IMAGE_VARIABLE: deployed.history(stack.name)[-1].tag})
        lifecycle.up(mine, SOURCES)
        assert state_of(stack)[0] == after
    finally:
        for one in deployed.history(stack.name):
            process.probe(["docker", "image", "rm", one.tag])
        process.probe(["docker", "image", "rm", image])
        (STATE / stack.name / "signed.json").unlink(missing_ok=True)
        (STATE / stack.name / "deployments.json").unlink(missing_ok=True)
