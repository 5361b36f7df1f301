"""A pipeline of several models goes the whole way that one of a single model goes."""

from __future__ import annotations

import json

import pytest
import yaml

MEMBERS = {
    "water": [{"family": "autoregression"}, {"family": "kernel_regression", "max_windows": 200}],
    "digits": [{"family": "pca"}, {"family": "dense", "code_size": 8}],
}


@pytest.mark.parametrize(("pipeline", "batch"), [("water", "2022-W17"), ("digits", "tonight")])
def test_several_models_are_trained_scored_verified_and_asked_as_one(space, pipeline, batch):
    file = space.folder / "configs" / f"{pipeline}.yaml"
    config = yaml.safe_load(file.read_text())
    config |= {"model": {"family": "fusion", "members": MEMBERS[pipeline]}, "training": {"epochs": 2}}
    file.write_text(yaml.safe_dump(config))
    names = ", ".join(member["family"] for member in MEMBERS[pipeline])
    assert f"family fusion of {names}" in space.ok("check", pipeline)

    trained = json.loads(space.ok("train", pipeline, "--json", "--challenger"))
    version = str(trained["version"])
    assert trained["challenger"]["planted_auroc"] > 0.5
    space.ok("promote", pipeline, version)
    scored = json.loads(space.ok("score", pipeline, "--batch", batch, "--json"))[0]
    assert scored["detector_version"] == int(version)
    assert "identical. Data, config, detector" in space.ok("verify", pipeline, "--batch", batch)
    for row in space.scores(pipeline, batch):
        if row["state"] == "scored":
            assert sum(row["contributions"]) == pytest.approx(row["score"], rel=1e-3, abs=1e-6)
    space.ok("embed", pipeline, "--batch", batch)
    space.ok("restore", pipeline, "--batch", batch)
    assert "expected a variational code" in space.refused("generate", pipeline)
