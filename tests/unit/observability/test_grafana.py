"""What Grafana is given on the leg that has its image: files that fit each other and the compose service."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from letta_stack.base.paths import ROOT
from letta_stack.policy import dashboards

PROVISIONING = ROOT / "observability/grafana"
SERVICE = yaml.safe_load((ROOT / "compose/services/dashboard.yaml").read_text("utf-8"))["services"][
    "letta-grafana"
]
MOUNTS = dict(volume.removesuffix(":ro").split(":") for volume in SERVICE["volumes"])
DRAWN = [
    pytest.param(panel, id=f"{path.stem}: {panel['title']}")
    for path in sorted((ROOT / dashboards.DIRECTORY).glob("[!l]*.json"))
    for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
    if panel["type"] != "row"
]


def provisioned(name: str) -> Any:
    (path,) = (PROVISIONING / name).glob("*.yaml")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_data_source_is_the_one_that_panels_ask() -> None:
    (source,) = provisioned("datasources")["datasources"]

    assert {"type": source["type"], "uid": source["uid"]} == dashboards.DATASOURCE
    assert source["url"] == "http://letta-prometheus:9090"
    assert source["access"] == "proxy"


def test_dashboards_are_read_from_where_they_are_mounted() -> None:
    (provider,) = provisioned("dashboards")["providers"]

    assert provider["type"] == "file"
    assert MOUNTS["./observability/dashboards"] == provider["options"]["path"]
    assert MOUNTS["./observability/grafana"] == "/etc/grafana/provisioning"
    home = SERVICE["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/overview.json"


@pytest.mark.parametrize("panel", DRAWN)
def test_a_panel_says_what_grafana_would_choose_otherwise(panel: dict[str, Any]) -> None:
    defaults = panel["fieldConfig"]["defaults"]

    # Without steps Grafana colours everything above 80 red.
    first, *later = defaults["thresholds"]["steps"]
    assert first["value"] is None
    assert [one["value"] for one in later] == sorted(one["value"] for one in later)
    assert defaults["unit"]
    letters = [target["refId"] for target in panel["targets"]]
    assert letters == [chr(65 + index) for index in range(len(letters))]
    if panel["type"] == "table":
        assert all(one["format"] == "table" and one["instant"] for one in panel["targets"])
        (organize,) = (one for one in panel["transformations"] if one["id"] == "organize")
        titles = set(organize["options"]["renameByName"].values())
        assert {one["matcher"]["options"] for one in panel["fieldConfig"]["overrides"]} <= titles
        merged = [one["id"] for one in panel["transformations"]] == ["merge", "organize"]
        assert merged is (len(letters) > 1)
    else:
        assert all("format" not in one for one in panel["targets"])
