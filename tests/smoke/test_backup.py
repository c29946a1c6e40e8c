"""A backup is made, proved, and put back; what is wrong with one is found before anything changes."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pyrage
import pytest

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.errors import (
    BackupBroken,
    BackupDiffers,
    BackupForeign,
    BackupNewer,
    IdentityWrong,
    LettaStackError,
)
from letta_stack.operate import backup, manifest, postgres, restore, store, verify
from letta_stack.operate import secrets_bundle as bundle
from letta_stack.operate.holders.one_host import OneHost
from tests.smoke import harness
from tests.smoke.conftest import arguments_of

if TYPE_CHECKING:
    from pathlib import Path

    from letta_client import Letta
    from letta_client.types import AgentState

    from tests.smoke.conftest import Deployment

pytestmark = [pytest.mark.last, pytest.mark.only("dev")]
SECRET = f"told-to-nobody-{harness.RUN}"


@pytest.mark.timeout(400, func_only=True)  # nine commands, one after the other
def test_a_backup_brings_back_what_was_there_and_a_bad_one_changes_nothing(
    deployment: Deployment, client: Letta, agent: AgentState, tmp_path: Path
) -> None:
    stack, directory = deployment.stack, tmp_path / "backups"
    client.agents.update(agent.id, secrets={"TOKEN": SECRET})
    database = postgres.of(stack)
    # The trap: a property of the database, which a plain dump leaves out.
    database.query(f"ALTER DATABASE {database.name} SET search_path TO letta, public")
    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "mine").write_text(str(identity))
    (tmp_path / "other").write_text(str(pyrage.x25519.Identity.generate()))

    made = backup.create(stack, directory=directory, to=[str(identity.to_public())])
    database.query(f"ALTER DATABASE {database.name} RESET search_path")

    everything = b"".join(one.read_bytes() for one in made.directory.iterdir())
    secrets = deployment.secrets()
    assert not [name for name, one in secrets.items() if one.encode() in everything]
    opened = bundle.decrypt(
        (made.directory / manifest.SEALED_SECRETS).read_bytes(), tmp_path / "mine"
    )
    assert opened.encryption_key == secrets["encryption-key"]

    proved = verify.verify(OneHost(stack), made, identity=tmp_path / "mine", key="")
    assert "encrypted values: one of them read" in proved
    assert store.find(directory, "latest").verified

    assert_bad_ones_are_refused(deployment, made, tmp_path)
    client.agents.create(model=harness.MODEL, name="too-late")
    before = restore.restore(stack, made, identity=None, directory=directory, to=[], foreign=False)

    assert "too-late" not in [one.name for one in client.agents.list()]
    kept = client.agents.retrieve(agent.id, include=["agent.secrets"]).secrets or []
    assert [one.value for one in kept] == [SECRET]
    assert database.value("SHOW search_path") == "letta, public"
    assert before.manifest is not None
    assert made.manifest is not None
    assert before.manifest.tables["public.agents"].rows == (
        made.manifest.tables["public.agents"].rows + 1
    )
    names = [row[0] for row in database.query("SELECT datname FROM pg_database")]
    assert [one for one in names if "restore" in one or "before" in one] == []


def assert_bad_ones_are_refused(deployment: Deployment, good: store.Backup, tmp_path: Path) -> None:
    stack = deployment.stack
    assert good.manifest is not None
    key = deployment.secrets()["encryption-key"]

    def refused(error: type[LettaStackError], says: str, one: store.Backup, *flags: str) -> None:
        """Run the command, and want one line and no change."""
        options = [*arguments_of(stack), "--dir", str(tmp_path / "unused"), "--yes", *flags]
        restoring = [sys.executable, "-m", "invoke", "backup.restore", *options]
        ended = process.probe([*restoring, "--backup", str(one.directory)], cwd=ROOT)
        assert ended.exit_code == error.exit_code, ended.stderr
        (line,) = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
        assert says in line
        assert not (tmp_path / "unused").exists()

    def copy(name: str, **changes: object) -> store.Backup:
        home = tmp_path / name / good.id
        shutil.copytree(good.directory, home)
        assert good.manifest is not None
        replace(good.manifest, **changes).save(home, key)  # type: ignore[arg-type]
        return store.Backup(home, manifest.load(home))

    truncated = copy("truncated")
    with (truncated.directory / manifest.DUMP).open("r+b") as file:
        file.truncate(1000)
    refused(BackupBroken, "truncated", truncated)
    tampered = copy("tampered")
    path = tampered.directory / manifest.NAME
    path.write_text(path.read_text().replace("by hand", "by whom"))
    refused(BackupBroken, "was changed", tampered)
    refused(BackupForeign, "is of elsewhere", copy("foreign", project="elsewhere"))
    refused(BackupForeign, "another encryption key", copy("key", key_id="0" * 32))
    refused(BackupNewer, "PostgreSQL 99", copy("major", postgres_version="99.1"))
    refused(BackupNewer, "schema revision", copy("revision", revision="ffffffffffff"))
    refused(IdentityWrong, "does not open", good, "--identity", str(tmp_path / "other"))

    # One that lies about its content is found when it has been restored, beside the present database.
    wrong = {
        **good.manifest.tables,
        "public.agents": replace(good.manifest.tables["public.agents"], rows=99),
    }
    with pytest.raises(BackupDiffers, match="instead of 99"):
        verify.verify(OneHost(stack), copy("lies", tables=wrong), identity=None, key=key)
