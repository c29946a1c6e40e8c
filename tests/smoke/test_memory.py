"""What the container says when it has had too little memory: an exit code of 137 alone explains nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from tests.smoke import harness

if TYPE_CHECKING:
    from pathlib import Path

LAST_WORDS = "/etc/letta-stack/services/.s6-svscan/finish"


def test_the_last_line_says_that_the_memory_limit_ended_the_container(image: str) -> None:
    # Less than the server needs to import its modules, so that the first seconds are enough.
    with harness.server("small", image=image, memory="160m", memory_swap="160m") as server:
        harness.expect(
            lambda: server.inspect().state.status == "exited",
            timeout=120,
            what="the server does with less memory than it needs",
        )

        assert server.inspect().state.exit_code == 137
        # Redis says good-bye on the other stream, whose lines come in between as they like.
        last_line = process.probe(["docker", "logs", server.container]).stderr.splitlines()[-1]
        assert "reached its memory limit of 160 MiB" in last_line


@pytest.mark.parametrize(
    ("files", "code", "says"),
    [
        (
            {"memory.events": "max 9\noom_kill 1\n", "memory.max": "734003200\n"},
            137,
            "memory limit of 700 MiB",
        ),
        (
            {"memory.events": "oom_kill 1\n", "memory.max": "max\n"},
            137,
            "the machine has no memory",
        ),
        ({"memory.events": "max 9\noom_kill 0\n", "memory.max": "1\n"}, 137, ""),
        ({"memory.events": "oom_kill 1\n", "memory.max": "734003200\n"}, 1, ""),
    ],
)
def test_both_versions_of_control_groups_are_read(
    files: dict[str, str], code: int, says: str, image: str, tmp_path: Path
) -> None:
    for name, text in {**files, "exit-code": f"{code}\n"}.items():
        (tmp_path / name).write_text(text)
    volumes = [f"--volume={tmp_path}:{path}:ro" for path in ("/sys/fs/cgroup", "/run/letta-stack")]

    ended = process.probe(["docker", "run", "--rm", "--pull=never", *volumes, image, LAST_WORDS])

    assert ended.exit_code == code
    assert says in ended.stderr
    assert ended.stderr.count("letta-stack") == bool(says)
