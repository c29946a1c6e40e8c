"""Where the checkout is. The package also works when it is installed, as long as the user stands in the checkout."""

from __future__ import annotations

from pathlib import Path

PINS_FILE = "pins.env"


def find_root(package: Path, cwd: Path) -> Path:
    """Return the first directory with a ``pins.env``: beside the package, else from ``cwd`` upwards, else ``cwd``."""
    candidates = [package.parent, cwd, *cwd.parents]
    return next((path for path in candidates if (path / PINS_FILE).is_file()), cwd)


ROOT = find_root(Path(__file__).resolve().parents[1], Path.cwd())
REPORTS = ROOT / "reports"  # nox's smoke sessions write them, `inv notes` reads them
SECRETS = ROOT / ".secrets"  # one directory a project
STATE = ROOT / ".state"  # what a project's commands tell each other
