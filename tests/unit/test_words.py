"""Plain English: what is said with a word of the field is not said with a picture."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from letta_stack.base.paths import ROOT

INSTEAD = {
    "wish": "request",
    "mend": "correct, repair",
    "away": "missing, elsewhere",
    "equivalent": "image built from Debian packages, substitute",
    "judge": "check",
    "settle": "decide",
    "patience": "timeout",
    "evidence": "logs, answer",
    "boot": "start",
    "borrow": "take, use",
    "lab": "what it is: registries, containers",
    "ledger": "list",
    "welcome": "say what to do",
}
# Bends each word the way it is bent: judged, judges, settling, equivalents; but not label, rebooted or bootstrap.
USED = re.compile(rf"(?i)\b({'|'.join(INSTEAD)})(?:s|d|ed|es|ing)?\b")
# What is somebody else's, and this list.
ALLOWED = {
    "tests/unit/test_words.py",
    *(str(path.relative_to(ROOT)) for path in ROOT.rglob("go.*")),
}


@pytest.mark.usefixtures("real_processes")
def test_nothing_is_said_with_a_word_that_has_a_plainer_one() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    found = [
        f"{name}:{number}: {match[0]} (say: {INSTEAD[match[1].lower()]})"
        for name in listed
        if name not in ALLOWED and Path(ROOT, name).is_file()
        for number, line in enumerate(
            Path(ROOT, name).read_text("utf-8", "replace").splitlines(), 1
        )
        for match in USED.finditer(line)
    ]

    assert found == []
