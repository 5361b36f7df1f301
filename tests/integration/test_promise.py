"""A promise is kept, or the report says that it is not: before people have looked at a flood of flags."""

from __future__ import annotations

import csv
import json

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from aeflow import schemas
from aeflow.numerics.metrics import auroc

BATCH = "2022-W17"


def disturb(space, batch_days, change):
    """Change the water flow of some days of the table in place."""
    table = space.folder / "data" / "water" / "flow.csv"
    with table.open(newline="", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    mine = [row for row in rows if row["Time"][:10] in batch_days]
    for number, row in enumerate(mine):
        row["Water flow [l/s]"] = change(float(row["Water flow [l/s]"]), number)
    with table.open("w", newline="", encoding="utf-8") as text:
        writer = csv.DictWriter(text, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert len(mine) > 20 * len(batch_days)  # the data have gaps


def test_a_week_that_moved_away_from_the_calibration_says_so_everywhere(space):
    days = {f"2022-04-{day}" for day in range(25, 31)} | {"2022-05-01"}
    disturb(space, days, lambda flow, hour: 1.5 * flow + 30 * (hour % 2))
    said = space.ok("score", "water", "--batch", BATCH)
    assert "Promise not kept: recalibrate." in said
    summary = space.summary("water", BATCH)
    assert summary["sentence"].endswith("Promise not kept: recalibrate.")
    promise = summary["promise"]
    assert promise["kept"] is False
    assert summary["flagged_rows"] > 0.5 * summary["scored"]
    assert promise["moved"][0]["came_share"] > promise["moved"][0]["expected_share"] + 0.1
    shown = space.ok("report", "water", "--batch", BATCH)
    assert promise["moved_in_words"] in shown
    assert f"Came: {summary['flags']} flag" in shown
    page = (space.paths("water").report(BATCH) / "report.html").read_text(encoding="utf-8")
    assert "Promise not kept: recalibrate." in page
    again = json.loads(space.ok("score", "water", "--batch", BATCH, "--json"))[0]
    assert (again["changed"], again["promise"]) == (False, promise)


def test_a_batch_as_the_calibration_says_what_was_promised_and_what_came(space):
    said = space.ok("score", "digits", "--batch", "tonight")
    assert "romise" not in said
    summary = space.summary("digits", "tonight")
    promise = summary["promise"]
    assert promise["kept"] is True
    low, high = promise["expected_interval"]
    assert low <= promise["expected_false_flags_per_batch"] <= high
    assert (promise["moved"], promise["moved_in_words"]) == ([], "")
    low, high = promise["flags_by_chance"]
    came = f"Came: {summary['flags']} flags; by chance alone {low} to {high} (95 %)."
    assert came in space.ok("report", "digits", "--batch", "tonight")


def test_an_evaluation_stands_beside_three_baselines_and_the_promise(space):
    tonight = sorted((space.folder / "data" / "digits" / "tonight").glob("*.png"))
    labels = space.folder / "labels.csv"
    lines = [f"tonight/{file.name},{int(file.name.startswith('7'))}" for file in tonight]
    labels.write_text("\n".join(["item,label", *lines]) + "\n")
    found = json.loads(space.ok("evaluate", "digits", "--labels", str(labels), "--json"))["evaluations"]
    names = [one["detector"] for one in found]
    assert names == ["detector 1 (pca)", "linear baseline", "isolation forest", "flag everything"]
    forest = found[2]
    assert forest["labelled"] == 40
    assert 0.5 < forest["metrics"]["auroc"] <= 1
    assert "psnr" not in forest["metrics"]
    assert forest["promise"]["normal_items"] == 32
    kept = space.folder / "compared.parquet"
    said = space.ok("evaluate", "digits", "--labels", str(labels), "--scores", str(kept))
    assert "0 undecided (0 of them abnormal)" in said
    assert "isolation forest: " in said
    assert "among 32 normal items; expected 0.8 (0 to" in said
    assert "by chance): promise kept." in said
    compared = pq.read_table(kept)
    assert compared.schema.names == schemas.COMPARED.names
    rows = compared.filter(pc.equal(compared["detector"], "detector 1 (pca)")).to_pylist()
    assert len(rows) == 40
    assert sum(row["label"] for row in rows) == 8
    assert auroc(
        np.array([row["label"] for row in rows]), np.array([row["score"] for row in rows])
    ) == pytest.approx(found[0]["metrics"]["auroc"])
    assert all(row["item"].startswith("tonight/7") for row in rows if row["label"])
