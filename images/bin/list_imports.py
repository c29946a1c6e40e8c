"""Writes which modules the server imports when it starts, for write-bytecode: one list for each layer of the image."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

MODULES = (
    "entrypoint.app",
    "letta.main",
    # What is imported when the server starts or migrates, not before.
    "alembic.command",
    "alembic.runtime.migration",
    "asyncpg",
    "pg8000",
    "redis.asyncio",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.postgresql.pg8000",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
)
SITE_PACKAGES = "/opt/letta/venv/lib/python3.11/site-packages/"
# A file belongs to the first that it lies under.
LISTS = {
    "stdlib": "/usr/lib/python3.11/",
    "letta": f"{SITE_PACKAGES}letta/",
    "dependencies": SITE_PACKAGES,
}
OUT = Path("/imports")


def main() -> None:
    """Import everything, then sort what was imported into the lists."""
    home = Path(os.environ["HOME"])  # the server makes its directories there when it is imported
    home.mkdir()
    os.chdir(home)
    sys.path.append("/opt/letta-stack")
    for name in MODULES:
        importlib.import_module(name)
    files = [getattr(module, "__file__", None) or "" for module in sys.modules.values()]
    sources = sorted({file for file in files if file.endswith(".py")})
    OUT.mkdir()
    for name, root in LISTS.items():
        mine = [file for file in sources if file.startswith(root)]
        sources = [file for file in sources if not file.startswith(root)]
        (OUT / name).write_text("".join(f"{file}\n" for file in mine))
        print(f"{name}: {len(mine)} modules")


if __name__ == "__main__":
    main()
