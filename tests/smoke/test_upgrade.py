"""A stack of before becomes one of this checkout: its image, its schema, its PostgreSQL; nothing is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from python_on_whales import docker

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.errors import DeployRefused, OtherPostgres
from letta_stack.image import third_party
from letta_stack.image.sources import Sources
from letta_stack.operate import deploy, plan, postgres, replicas, upgrade
from letta_stack.topology import inputs
from letta_stack.topology.deployed import IMAGE_VARIABLE
from tests.smoke import harness
from tests.smoke.conftest import Deployment, deployed
from tests.smoke.test_adopt import fill, known
from tests.support import images

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from letta_stack.engine.inspect import Engine

NEWER = "letta-stack/test-postgres17"
NEWEST = "1c28e167b74f"
REVISION = "SELECT version_num FROM alembic_version"
OLDER = f"""
RUN rm /opt/letta/alembic/versions/{NEWEST}_*.py
LABEL {plan.VERSION_LABEL}=0.16.7
"""


@dataclass(frozen=True)
class Newer(Sources):
    """What a checkout with a later pin would take: PostgreSQL 17."""

    def prepare(
        self, pins: Sequence[str], engine: Engine, *, server: str = "", pulled: Sequence[str] = ()
    ) -> dict[str, str]:
        """Return the variables of the usual images, but for that one."""
        usual = super().prepare(pins, engine, server=server, pulled=pulled)
        return usual | {"POSTGRES_IMAGE": NEWER}


@pytest.fixture
def newer() -> Newer:
    """Make an image with PostgreSQL 17 from Debian's next suite."""
    directory = ROOT / "tests" / "smoke" / "postgres17"
    base = third_party.choose(("DEBIAN_IMAGE",), source="auto", platforms=(third_party.native(),))
    third_party.make(base, ca=None)
    command = ["docker", "build", f"--tag={NEWER}", f"--file={directory / 'Dockerfile'}"]
    process.run([*command, f"--build-arg=DEBIAN_IMAGE={base.base}", str(ROOT / "images")])
    return Newer(images="auto", otelcol="auto", letta_source=None, ca=None)


@pytest.fixture
def stack(topology: str) -> Iterator[Deployment]:
    with deployed(topology, f"{topology}-upgrade", harness.PROVIDER) as one:
        yield one


@pytest.mark.long
@pytest.mark.last
@pytest.mark.only("prod")
@pytest.mark.timeout(1800, func_only=True)
def test_the_data_go_to_a_newer_postgresql(
    stack: Deployment, newer: Newer, capsys: pytest.CaptureFixture[str]
) -> None:
    project = stack.stack
    with stack.client() as client:
        fill(client, 3)
        before = known(client)
    older = dict(images.prepare([project.topology.name]))

    capsys.readouterr()
    upgrade.upgrade(project, upgrade.Order(dry_run=True), newer)
    assert "PostgreSQL  15 -> 17" in capsys.readouterr().out
    upgrade.upgrade(project, upgrade.Order(yes=True), newer)

    said = capsys.readouterr().out
    aside = said.rpartition("docker volume rm ")[2].partition("`")[0]
    docker.volume.remove(aside)
    assert postgres.of(project).value("SHOW server_version").startswith("17.")
    with stack.client() as client:
        assert known(client) == before
        one = next(iter(client.agents.list()))
        client.agents.messages.create(one.id, input="still there?")
    # The way back is none: the old version cannot read them, and is told so before it tries.
    project.runner.down(volumes=False)
    with pytest.raises(OtherPostgres, match="PostgreSQL 17"):
        inputs.data_directory(project, project.runner.config(), older)


@pytest.fixture
def older(topology: str) -> Iterator[tuple[Deployment, str]]:
    """Run what an older checkout built: another version, whose migrations end one earlier."""
    with harness.variant("older", OLDER) as image:
        settings = harness.PROVIDER | {IMAGE_VARIABLE: image}
        with deployed(topology, f"{topology}-older", settings) as one:
            yield one, image


@pytest.mark.long
@pytest.mark.last
@pytest.mark.only("prod")
@pytest.mark.timeout(1800, func_only=True)
def test_an_older_image_becomes_that_of_this_checkout(
    older: tuple[Deployment, str], capsys: pytest.CaptureFixture[str]
) -> None:
    stack, image = older
    project = stack.stack.with_variables({IMAGE_VARIABLE: harness.IMAGE})
    database = postgres.of(project)
    with stack.client() as client:
        fill(client, 2)
        before = known(client)
    assert database.value(REVISION) != NEWEST

    capsys.readouterr()
    upgrade.upgrade(project, upgrade.Order(dry_run=True))
    said = capsys.readouterr().out
    assert "(Letta 0.16.7) -> " in said
    assert f"migration   {NEWEST}" in said
    assert database.value(REVISION) != NEWEST
    upgrade.upgrade(project, upgrade.Order(yes=True))

    assert database.value(REVISION) == NEWEST
    versions = {plan.image(one.image).letta_version for one in replicas.of(project)}
    assert versions == {plan.image(harness.IMAGE).letta_version}
    with stack.client() as client:
        assert known(client) == before
        one = next(iter(client.agents.list()))
        client.agents.messages.create(one.id, input="still there?")
    capsys.readouterr()
    upgrade.upgrade(project, upgrade.Order(dry_run=True))
    said = capsys.readouterr().out
    assert "-> the same" in said
    assert "migration   none" in said
    # The older image does not know the schema.
    with pytest.raises(DeployRefused, match="does not know"):
        deploy.deploy(project, deploy.Order(image=image))
