"""The server's application with its patches; uvicorn's worker processes import it by this name."""

from __future__ import annotations

import gc
import importlib
from typing import Any

from . import patches
from .hardening import forbid_inspection


def _load() -> Any:
    forbid_inspection()
    patches.install()
    # The import makes millions of objects that stay; collecting in between finds nothing and costs a second.
    gc.disable()
    try:
        return importlib.import_module("letta.server.rest_api.app").app
    finally:
        gc.freeze()
        gc.enable()


app = _load()
