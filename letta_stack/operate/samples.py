"""Whether the server's own code can read what a database holds encrypted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from letta_stack.base import process

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letta_stack.operate.postgres import Postgres

PYTHON = "/opt/letta/venv/bin/python"
SAMPLES = 20
# The server's own code decides what is readable; its package is left out, because that takes ten seconds to import.
CRYPTO = """
import importlib.util, json, sys, sysconfig, types
for name in ("letta", "letta.settings"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["letta.settings"].settings = types.SimpleNamespace(encryption_key=None)
path = sysconfig.get_path("purelib") + "/letta/helpers/crypto_utils.py"
spec = importlib.util.spec_from_file_location("crypto_utils", path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
crypto = module.CryptoUtils
# What is asked comes on standard input, so that no process list has it.
asked = json.load(sys.stdin)
"""
DECRYPT = f"""{CRYPTO}
for sample in asked["samples"]:
    try:
        crypto.decrypt(sample, asked["key"])
    except Exception:
        continue
    print("readable")
    break
"""
ENCRYPTED = """
SELECT format('SELECT %I FROM %I.%I WHERE %I <> %L LIMIT {samples};', column_name, table_schema, table_name, column_name, '')
FROM information_schema.columns WHERE column_name LIKE '%\\_enc' AND table_schema !~ '^(pg_|information_schema)'
\\gexec
"""


def encrypted(postgres: Postgres, database: str) -> list[str]:
    """Return some values that the server stored encrypted."""
    sql = ENCRYPTED.replace("{samples}", str(SAMPLES))
    return [row[0] for row in postgres.query(sql, database=database)][:SAMPLES]


def readable(python: Sequence[str], samples: Sequence[str], key: str) -> bool:
    """Let the server's own code decrypt one of the samples; ``python`` is the command that runs its interpreter."""
    asked = json.dumps({"key": key, "samples": list(samples)})
    answer = process.capture([*python, "-c", DECRYPT], stdin=asked)
    return "readable" in answer.splitlines()


def python_of(image: str) -> list[str]:
    """Write the command that runs the interpreter of a server's image, in a container without network."""
    options = ["--rm", "--interactive", "--network=none", "--pull=never", "--user=nobody"]
    options += ["--env=HOME=/tmp", "--workdir=/tmp", f"--entrypoint={PYTHON}"]
    return ["docker", "run", *options, image]
