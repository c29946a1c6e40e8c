"""The server's application with its patches; uvicorn's worker processes import it by this name."""

from __future__ import annotations

import gc
import importlib
import warnings
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
        # One of its libraries switches them on: twenty lines that are no JSON for every message of an agent.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        gc.freeze()
        gc.enable()


app = _load()
