"""A registered detector serves from MLflow alone, and without a pickle."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aeflow import detector as detectors
from aeflow import registry
from aeflow.exceptions import InputError

CPU = torch.device("cpu")


@pytest.fixture
def registered(space, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{space.home / 'mlflow.db'}")
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(space.folder)
    return space


@pytest.mark.parametrize("pipeline", ["water", "digits"])
def test_the_registered_model_scores_as_the_detector_does(registered, pipeline):
    import mlflow

    paths = registered.paths(pipeline)
    ref = registry.resolve(paths)
    detector = detectors.load(registry.fetch(paths, ref.version, digest=ref.digest))
    random = np.random.default_rng(0)
    items = random.random((5, *detector.network.item_shape), dtype=np.float32)
    model = mlflow.pyfunc.load_model(f"models:/aeflow-{pipeline}/{ref.version}")
    served = model.predict(items)
    assert served.shape == (5,)
    if pipeline == "digits":
        expected = detector.score_images(items, device=CPU, chunk_items=5).score
        np.testing.assert_allclose(served, expected, rtol=1e-5)
    else:
        # A value far outside scores higher, a missing one is not an error.
        items[0, -1, 0] = 1e6
        items[1, 0, 0] = np.nan
        again = model.predict(items)
        assert again[0] > 100 * served[0]
        assert np.isfinite(again).all()


def test_a_version_tells_what_it_is(registered):
    (version,) = registry.versions(registered.paths("water"))
    assert set(version.aliases) == {"champion", "challenger"}
    assert version.tags["family"] == "lstm"
    assert version.metrics["planted_auroc"] > 0.5
    kept = list((registered.home / "mlartifacts").rglob("*"))
    names = {p.name for p in kept if p.is_file()}
    assert {"detector.json", "network.safetensors", "arrays.safetensors"} <= names
    assert not [n for n in names if n.endswith((".pkl", ".pickle", ".pt", ".pth"))]


def test_wrong_shapes_are_refused_by_the_signature(registered):
    import mlflow

    model = mlflow.pyfunc.load_model("models:/aeflow-water/1")
    with pytest.raises(mlflow.exceptions.MlflowException, match="shape"):
        model.predict(np.zeros((2, 3), dtype=np.float32))


@pytest.mark.parametrize(
    ("pipeline", "wrong"), [("digits", np.nan), ("digits", np.inf), ("water", np.inf), ("water", -np.inf)]
)
def test_what_is_not_a_number_is_refused_where_nothing_can_be_missing(registered, pipeline, wrong):
    import mlflow

    paths = registered.paths(pipeline)
    ref = registry.resolve(paths)
    shape = detectors.load(registry.fetch(paths, ref.version, digest=ref.digest)).network.item_shape
    items = np.zeros((2, *shape), dtype=np.float32)
    items[1].flat[0] = wrong
    model = mlflow.pyfunc.load_model(f"models:/aeflow-{pipeline}/{ref.version}")
    with pytest.raises(InputError, match="expected finite items, got 1 NaN or infinite"):
        model.predict(items)
