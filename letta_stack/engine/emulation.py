"""Lets an amd64 machine run arm64 containers. Only running them needs it; building does not."""

from __future__ import annotations

from pathlib import Path

from letta_stack.base import process
from letta_stack.engine import inspect
from letta_stack.errors import CommandFailed

BINFMT = Path("/proc/sys/fs/binfmt_misc")
ENTRY = "qemu-aarch64"
RULES = Path("/usr/lib/binfmt.d") / f"{ENTRY}.conf"  # from the distribution's qemu package


def ensure(*, change: bool) -> str:
    """Register the emulator if it is not, and may be; return one line that says what can be run."""
    if inspect.native_architecture() == "arm64":
        return "arm64: native"
    if state(BINFMT) == "enabled":
        return "arm64: emulated by qemu"
    if not change:
        return "arm64: cannot be run here (needs qemu and binfmt_misc; `inv engine` as root registers it)"
    if not RULES.is_file():
        return f"arm64: cannot be run here, no package brought {RULES}"
    try:
        register()
    except (OSError, CommandFailed) as error:
        return f"arm64: cannot be run here, the kernel did not take the emulator ({error})"
    return "arm64: emulated by qemu (registered now, until the machine starts again)"


def state(binfmt: Path) -> str:
    """Return "enabled", or why arm64 programs would not start."""
    try:
        first, *_ = (binfmt / ENTRY).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return "not registered"
    return first


def register() -> None:
    """Give the kernel the distribution's own rule."""
    if not (BINFMT / "register").exists():
        process.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)])
    rule = next(
        line for line in RULES.read_text(encoding="utf-8").splitlines() if line.startswith(":")
    )
    (BINFMT / "register").write_bytes(rule.encode())
