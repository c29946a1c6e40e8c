"""What the container says when it has had too little memory: an exit code of 137 alone explains nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from python_on_whales import docker

from letta_stack.base import process
from tests.smoke import harness

if TYPE_CHECKING:
    from pathlib import Path

LIMIT: dict[str, Any] = {"memory": "160m", "memory_swap": "160m"}
# Which it does not come to use.
ALONE = {
    "LETTA_PG_URI": "postgresql://letta:letta@nowhere:5432/letta",
    "LETTA_REDIS_HOST": "nowhere",
    "LETTA_ENCRYPTION_KEY": "key",
    "LETTA_SERVER_PASSWORD": "password",
}
LAST_WORDS = "/etc/letta-stack/services/.s6-svscan/finish"


def explained(container: str) -> bool:
    """Tell whether its last line names the limit; the engine may hand it on a moment after the end.

    Redis says good-bye on the other stream, whose lines come in between as they like.
    """
    lines = process.probe(["docker", "logs", container]).stderr.splitlines()
    return "reached its memory limit of 160 MiB" in "".join(lines[-1:])


def expect_an_end_with_a_reason(container: str) -> None:
    # Less than the server needs to import its modules, so that the first seconds are enough.
    harness.expect(
        lambda: docker.container.inspect(container).state.status == "exited",
        timeout=120,
        what="the server does with less memory than it needs",
    )
    assert docker.container.inspect(container).state.exit_code == 137
    harness.expect(lambda: explained(container), timeout=30, what="the log does not say why")


def test_the_last_line_says_that_the_memory_limit_ended_the_container(image: str) -> None:
    with harness.server("small", image=image, **LIMIT) as server:
        expect_an_end_with_a_reason(server.container)


def test_so_does_a_server_by_itself(image: str) -> None:
    with harness.running(
        "small-server",
        image=image,
        command=["serve"],
        user="10001:10001",
        tmpfs=[f"{path}:uid=10001" for path in ("/run", "/var/lib/letta")],
        init=True,
        envs=ALONE,
        **LIMIT,
    ) as container:
        expect_an_end_with_a_reason(container)


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
