from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from aeflow import registry
from aeflow.exceptions import DetectorError, InputError, IntegrityError, StorageError
from aeflow.registry import TrainingData, aliases
from aeflow.registry.download import staging
from aeflow.store.digests import sha256_folder
from aeflow.store.paths import Paths

MODEL = """
from pathlib import Path
import mlflow
import numpy as np

class Detector(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.weight = float(Path(context.artifacts["detector"], "weights").read_text())

    def predict(self, context, model_input: np.ndarray, params=None) -> np.ndarray:
        return model_input.sum(axis=(1, 2)) * self.weight

mlflow.models.set_model(Detector())
"""
EXAMPLE = np.ones((2, 4, 3), np.float32)
DATA = TrainingData(name="history", digest="d" * 64, rows=1000, source="data/*.csv")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """One registry for all tests here: to make its database takes seconds. Each uses a pipeline of
    its own. Nothing may be written into the working directory."""
    home = tmp_path_factory.mktemp("registry") / "home"
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    environment, folder = dict(os.environ), Path.cwd()
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        os.environ.pop(name, None)
    os.chdir(elsewhere)
    yield home
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    assert list(elsewhere.iterdir()) == []


def saved(folder, weight):
    (folder / "calibration").mkdir(parents=True)
    (folder / "weights").write_text(str(weight))
    (folder / "calibration" / "cut.json").write_text("{}")
    return folder


def register(paths, tmp_path, weight=2.0, **options):
    model = tmp_path / "model.py"
    model.write_text(MODEL)
    folder = tmp_path / f"saved-{weight}"
    if not folder.exists():
        saved(folder, weight)
    given = {"kind": "series", "input_example": EXAMPLE, "data": DATA, "model_card": "# A card"} | options
    return registry.register(paths, folder, python_model=model, **given)


def test_where_nothing_was_trained_there_is_no_version_and_no_database_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    paths = Paths(tmp_path, "none")
    assert registry.resolve(paths) is None
    assert registry.versions(paths) == []
    assert [p.name for p in tmp_path.iterdir() if p.name != "tmp"] == []


def test_a_registered_detector_comes_back_with_all_that_was_said_of_it(home, tmp_path):
    paths = Paths(home, "whole")
    baseline = saved(tmp_path / "pca", 1)
    ref = register(
        paths,
        tmp_path,
        baseline_folder=baseline,
        params={f"p{n}": n for n in range(120)},
        metrics={"auroc": 0.9, "loss": [3.0, 2.0, 1.0]},
        figures={"learning_curve": b"png"},
        tags={"aeflow.config_digest": "c" * 64},
    )
    assert ref == registry.DetectorRef(1, sha256_folder(tmp_path / "saved-2.0"))
    (info,) = registry.versions(paths)
    assert (info.version, info.digest, info.aliases) == (1, ref.digest, ())
    assert info.metrics == {"auroc": 0.9, "loss": 1.0}
    assert info.tags["aeflow.config_digest"] == "c" * 64
    assert info.created.tzinfo is not None

    from mlflow import MlflowClient
    from mlflow.artifacts import list_artifacts

    client = MlflowClient()
    run = client.get_run(info.run_id)
    assert len(run.data.params) == 120
    assert [m.value for m in client.get_metric_history(info.run_id, "loss")] == [3.0, 2.0, 1.0]
    assert run.inputs.dataset_inputs[0].dataset.name == "history"
    assert {f.path for f in client.list_artifacts(info.run_id)} == {"figures", "model_card.md"}
    files = {f.path for f in list_artifacts(artifact_uri="models:/aeflow-whole/1/artifacts")}
    assert {f.rsplit("/", 1)[-1] for f in files} == {"detector", "baseline"}
    assert client.get_model_version("aeflow-whole", "1").description == "# A card"


def test_the_version_loads_as_an_mlflow_model_with_pickle_forbidden(home, tmp_path):
    paths = Paths(home, "pyfunc")
    register(paths, tmp_path, weight=3.0)
    import mlflow

    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    model = mlflow.pyfunc.load_model("models:/aeflow-pyfunc/1")
    assert model.metadata.signature.inputs.inputs[0].shape == (-1, 4, 3)
    assert model.predict(EXAMPLE).tolist() == [36.0, 36.0]
    assert model.input_example.shape == EXAMPLE.shape
    needed = Path(mlflow.pyfunc.get_model_dependencies("models:/aeflow-pyfunc/1")).read_text()
    assert "torch==" in needed
    assert "+cpu" not in needed
    assert not [p for p in home.rglob("*") if p.suffix in {".pkl", ".pickle"}]


def test_everything_lies_below_the_home_folder(home, tmp_path):
    paths = Paths(home, "below")
    register(paths, tmp_path)
    from mlflow import MlflowClient

    place = MlflowClient().get_experiment_by_name("aeflow/below").artifact_location
    assert place == (home / "mlartifacts" / "below").resolve().as_uri()
    assert list((home / "work" / "below").iterdir()) == []


def test_an_alias_moves_and_is_told_alike_by_the_file_and_by_mlflow(home, tmp_path):
    paths = Paths(home, "alias")
    first, second = register(paths, tmp_path, 1.0), register(paths, tmp_path, 2.0)
    assert registry.resolve(paths, "champion") is None
    assert aliases._ask_alias(paths, "champion") is None
    for ref in (first, second, first):
        registry.set_alias(paths, "champion", ref.version)
        assert registry.resolve(paths, "champion") == ref == aliases._ask_alias(paths, "champion")
    registry.set_alias(paths, "challenger", 2)
    assert [i.aliases for i in registry.versions(paths)] == [("champion",), ("challenger",)]
    assert aliases._ask_alias(Paths(home, "unknown"), "champion") is None


def test_an_alias_is_asked_of_mlflow_where_its_tables_have_changed(home, tmp_path, monkeypatch):
    paths = Paths(home, "changed")
    ref = register(paths, tmp_path)
    registry.set_alias(paths, "champion", 1)

    def other_tables(*_):
        import sqlite3

        raise sqlite3.OperationalError("no such table")

    monkeypatch.setattr(aliases, "_read_alias", other_tables)
    assert registry.resolve(paths) == ref


def test_no_alias_is_set_to_a_version_that_is_not_there(home, tmp_path):
    paths = Paths(home, "absent")
    with pytest.raises(DetectorError, match="no registered version 7") as caught:
        registry.set_alias(paths, "champion", 7)
    assert "aeflow train" in caught.value.remedy


def test_a_version_that_somebody_else_registered_is_refused(home, tmp_path):
    paths = Paths(home, "foreign")
    register(paths, tmp_path)
    from mlflow import MlflowClient

    client = MlflowClient()
    client.create_model_version("aeflow-foreign", source="models:/aeflow-foreign/1")
    client.set_registered_model_alias("aeflow-foreign", "champion", "2")
    with pytest.raises(DetectorError, match="not registered by aeflow"):
        registry.resolve(paths)
    with pytest.raises(DetectorError, match="not registered by aeflow"):
        registry.fetch(paths, 2)


def test_a_detector_is_downloaded_whole_and_once(home, tmp_path):
    paths = Paths(home, "download")
    ref = register(paths, tmp_path)
    shutil.rmtree(paths.detector(1))
    folder = registry.fetch(paths, 1, digest=ref.digest)
    assert folder == paths.detector(1)
    assert sha256_folder(folder) == ref.digest
    stamp = folder.stat().st_mtime_ns
    assert registry.fetch(paths, 1).stat().st_mtime_ns == stamp


def test_a_damaged_copy_is_downloaded_anew(home, tmp_path, caplog):
    paths = Paths(home, "damaged")
    ref = register(paths, tmp_path)
    (paths.detector(1) / "weights").write_text("9")
    assert sha256_folder(registry.fetch(paths, 1)) == ref.digest
    assert "downloaded anew" in caplog.text


def test_files_changed_in_the_registry_are_refused(home, tmp_path):
    paths = Paths(home, "tampered")
    register(paths, tmp_path)
    shutil.rmtree(paths.detector(1))
    (weights,) = paths.artifacts.rglob("detector/weights")
    weights.write_text("9")
    with pytest.raises(IntegrityError, match="changed since"):
        registry.fetch(paths, 1)
    assert not paths.detector(1).exists()


def test_another_detector_under_the_same_number_is_refused(home, tmp_path):
    paths = Paths(home, "renewed")
    register(paths, tmp_path)
    with pytest.raises(IntegrityError, match="another detector"):
        registry.fetch(paths, 1, digest="0" * 64)


def test_a_copy_of_an_earlier_registry_is_replaced_by_the_new_version(home, tmp_path):
    paths = Paths(home, "stale")
    saved(paths.detector(1), 7)
    ref = register(paths, tmp_path)
    assert sha256_folder(registry.fetch(paths, 1)) == ref.digest


def test_a_version_that_is_not_there_names_the_remedy(home):
    with pytest.raises(DetectorError, match="no registered version 3") as caught:
        registry.fetch(Paths(home, "nothing"), 3)
    assert "aeflow train" in caught.value.remedy


@pytest.mark.parametrize(
    ("kind", "example"),
    [
        ("images", EXAMPLE),
        ("series", EXAMPLE.astype(np.float64)),
        ("series", EXAMPLE[:0]),
        ("series", np.ones((2, 3, 4, 4), np.float32)),
    ],
)
def test_an_example_of_another_shape_or_type_is_refused(home, tmp_path, kind, example):
    with pytest.raises(InputError, match="expected a float32 example"):
        register(Paths(home, "shape"), tmp_path, kind=kind, input_example=example)


def test_a_detector_folder_that_is_not_there_is_refused(home, tmp_path):
    with pytest.raises(InputError, match="folder of a saved detector"):
        register(Paths(home, "shape"), tmp_path, baseline_folder=tmp_path / "none")


def test_a_server_that_is_not_there_is_a_storage_error(home, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(StorageError, match="registry cannot be read"):
        registry.resolve(Paths(home, "server"))


def test_a_detector_that_lies_here_is_used_without_importing_mlflow(home, tmp_path):
    paths = Paths(home, "light")
    ref = register(paths, tmp_path)
    registry.set_alias(paths, "champion", 1)
    script = (
        "import sys; from pathlib import Path; from aeflow import registry; from aeflow.store.paths import Paths\n"
        "paths = Paths(Path(sys.argv[1]), 'light'); ref = registry.resolve(paths)\n"
        "print(ref.digest, registry.fetch(paths, ref.version, digest=ref.digest))\n"
        "assert not {'mlflow', 'torch', 'pandas', 'sqlalchemy'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(home)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.split() == [ref.digest, str(paths.detector(1))]


def test_processes_that_make_the_registry_at_once_do_not_fail_after_one_that_was_killed(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".mlflow.db.0.part").write_text("half a database")
    script = (
        "import sys; from pathlib import Path; from aeflow.registry import connection, registration\n"
        "from aeflow.store.paths import Paths\n"
        "paths = Paths(Path(sys.argv[1]), 'race')\n"
        "with connection.connected(paths) as client: print(registration._experiment(client, paths))"
    )
    env = {k: v for k, v in os.environ.items() if k not in {"MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"}}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "home")],
            env={**env, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert len(set(answers)) == 1
    assert sorted(p.name for p in (tmp_path / "home").iterdir()) == ["mlflow.db", "mlflow.db.lock", "tmp"]


def test_what_a_killed_process_left_is_removed_after_a_day(tmp_path):
    paths = Paths(tmp_path, "killed")
    old, new = (tmp_path / "work" / "killed" / f"registry-{name}" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
    yesterday = time.time() - 2 * 86_400
    os.utime(old, (yesterday, yesterday))
    with staging(paths) as mine:
        assert mine.is_dir()
        assert new.is_dir()
        assert not old.exists()
    assert not mine.exists()
