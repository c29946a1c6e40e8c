"""The exporter is a program of its container; tests import it by its path."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

import pytest

from letta_stack.base.paths import ROOT

if TYPE_CHECKING:
    from types import ModuleType


@pytest.fixture(scope="session")
def exporter() -> ModuleType:
    path = ROOT / "observability/exporters/containers.py"
    spec = importlib.util.spec_from_file_location("containers_exporter", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
