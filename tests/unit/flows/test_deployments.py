"""What the server is told of a pipeline, as plain values; the server itself is in tests/integration."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from prefect.utilities.importtools import import_object
from pydantic import ValidationError

from aeflow.data.due import fires
from flows.deployed import Backfill
from flows.deployments import Place, as_prefect_yaml, plan

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def config(tmp_path, home):
    file = tmp_path / "configs" / "pump.yaml"
    file.parent.mkdir()
    content = {
        "name": "pump",
        "source": {"kind": "table", "path": "../data", "time_column": "t", "channels": ["a"]},
        "batch": {"by": "period", "time_zone": "Europe/Berlin"},
        "prepare": {"kind": "series"},
        "model": {"family": "pca"},
        "calibration": {"false_flags_per_batch": 1},
        "schedule": {"nightly": "30 4 * * *", "retrain": "0 12 * * 0"},
    }
    file.write_text(yaml.safe_dump(content))
    return file


def test_nights_backfills_alarms_and_retrainings_have_their_pools_queues_and_times(config):
    found = {p.full_name: (p.pool, p.queue, p.cron, p.time_zone) for p in plan(config)}
    assert found == {
        "nightly/pump": ("score", "nightly", "30 4 * * *", "Europe/Berlin"),
        "backfill/pump": ("score", "backfill", None, "Europe/Berlin"),
        "watch/pump": ("score", "nightly", "17 * * * *", "Europe/Berlin"),
        "retrain/pump": ("train", "gpu", "0 12 * * 0", "Europe/Berlin"),
    }


def test_every_entrypoint_leads_to_its_flow(config):
    for one in plan(config):
        assert import_object(one.entrypoint) is one.flow


def test_in_containers_paths_are_those_of_the_project_that_is_mounted(config, home):
    here = plan(config)[0]
    assert here.parameters == {"config": str(config.resolve())}
    assert here.job_variables["env"] == {"AEFLOW_HOME": str(home)}
    there = plan(config, Place("docker", "aeflow:local"))[0]
    assert there.parameters == {"config": "configs/pump.yaml"}
    assert there.job_variables["image"] == "aeflow:local"
    assert f"{config.parents[1].resolve()}:/project" in there.job_variables["volumes"]
    cluster = plan(config, Place("kubernetes", "registry/aeflow:1"))[0]
    assert cluster.job_variables == {"image": "registry/aeflow:1"}


def test_the_file_of_the_repository_is_that_of_its_config():
    written = (ROOT / "prefect.yaml").read_text(encoding="utf-8")
    assert written == as_prefect_yaml(ROOT / "configs" / "tiles.yaml"), (
        "run: aeflow deploy tiles --yaml > prefect.yaml"
    )
    names = {d["name"] for d in yaml.safe_load(written)["deployments"]}
    assert names == {"tiles"}


@pytest.mark.parametrize(("month", "day"), [(3, 29), (10, 25)])
def test_prefect_fires_when_our_calendar_says_so_over_a_change_of_the_clocks(month, day):
    from prefect.server.schemas.schedules import CronSchedule

    start = datetime(2026, month, day, tzinfo=UTC) - timedelta(days=2)
    theirs = asyncio.run(CronSchedule(cron="30 4 * * *", timezone="Europe/Berlin").get_dates(4, start))
    ours = list(fires("30 4 * * *", "Europe/Berlin", start, start + timedelta(days=4)))
    assert [t.astimezone(UTC) for t in theirs] == ours


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "give first, last or both"),
        ({"first": "2026-11-20", "last": "2026-11-19"}, "comes after last"),
        ({"first": "a", "jobs": 0}, "greater than or equal to 1"),
        ({"first": "a", "hurry": True}, "Extra inputs are not permitted"),
    ],
)
def test_a_backfill_that_cannot_be_is_refused(given, said):
    with pytest.raises(ValidationError, match=said):
        Backfill.model_validate(given)
