"""The layers of docs/architecture.md, and the house rules that a reader of one module may rely on."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

import pytest
from importlinter.cli import lint_imports

from aeflow.config.models import Model

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(p for package in ("aeflow", "flows") for p in (ROOT / package).rglob("*.py"))
NAMES = [p.relative_to(ROOT).as_posix() for p in MODULES]

# A library -> the only places that import it. A place that ends in / is a whole package.
HOMES = {
    "prefect": ("flows/",),
    "mlflow": ("aeflow/registry/", "aeflow/detector/pyfunc.py"),
    "great_expectations": ("aeflow/data/suite.py",),
    "river": ("aeflow/demonstration.py", "aeflow/demonstration/"),
    "typer": ("aeflow/cli/",),
    "flows": ("flows/", "aeflow/cli/"),
    "aeflow.cli": ("aeflow/cli/",),
}
# A place -> what it never imports.
BARRED = {
    "aeflow/numerics/": {
        "torch", "pandas", "pyarrow", "duckdb", "os", "io", "pathlib", "shutil", "tempfile", "sqlite3", "socket",
    },
    "aeflow/models/": {
        "os", "io", "pathlib", "shutil", "tempfile", "sqlite3", "socket", "subprocess", "urllib", "json", "yaml",
        "pandas", "pyarrow", "duckdb", "safetensors", "mlflow",
    },
    "aeflow/config/": {"torch", "pandas", "pyarrow", "duckdb", "numpy"},
}  # fmt: skip
# What runs code from a file when it reads one.
PICKLES = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "skops"}
PICKLING_CALLS = {"torch.load", "torch.save", "np.load", "numpy.load", "pd.read_pickle", "pandas.read_pickle"}
# The one module that reads a file of others: of a known digest, as tensors alone.
READS_WEIGHTS = "aeflow/models/pretrained_weights.py"
# Which family suits which data is a person's choice, or one of the config's defaults; all else knows
# families only through the catalog.
FAMILIES = {member.model_fields["family"].default for member in get_args(get_args(Model)[0])}
FAMILY_CLASSES = {member.__name__ for member in get_args(get_args(Model)[0])}
KNOW_FAMILIES = ("aeflow/models/", "aeflow/config/")
MAX_LINES = 500


def lies_in(name: str, places: tuple[str, ...]) -> bool:
    return any(name.startswith(p) if p.endswith("/") else name == p for p in places)


def imported(tree: ast.AST) -> set[str]:
    """Every module imported anywhere in the tree, with all its parents: a.b.c, a.b, a."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {".".join(name.split(".")[: n + 1]) for name in found for n in range(name.count(".") + 1)}


def strays(name: str, tree: ast.AST) -> list[str]:
    """Libraries that the module imports though their home is elsewhere, or though they are barred there."""
    names = imported(tree)
    away = {library for library, homes in HOMES.items() if library in names and not lies_in(name, homes)}
    barred = {
        library for place, those in BARRED.items() if lies_in(name, (place,)) for library in those & names
    }
    if name == READS_WEIGHTS:
        barred -= {"io", "pathlib"}
    return sorted(away | barred)


def pickling(tree: ast.AST) -> list[str]:
    """What in the module could load or write a pickle."""
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return sorted((imported(tree) & PICKLES) | (calls & PICKLING_CALLS))


def families_named(tree: ast.AST) -> list[str]:
    """Model families that the module names, as a string or by their config class."""
    found = {
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and node.value in FAMILIES
    }
    found |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & FAMILY_CLASSES
    found |= {name.rpartition(".")[2] for name in imported(tree)} & FAMILY_CLASSES
    return sorted(found)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def test_every_import_goes_down_the_list_of_layers(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert lint_imports("pyproject.toml", no_cache=True, no_logo=True) == 0


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_a_module_imports_only_what_belongs_there(path):
    assert strays(path.relative_to(ROOT).as_posix(), parsed(path)) == []


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_no_module_can_load_a_pickle(path):
    assert pickling(parsed(path)) == (["torch.load"] if NAMES[MODULES.index(path)] == READS_WEIGHTS else [])


def test_the_weights_of_others_are_read_as_tensors_alone_and_of_one_digest():
    source = (ROOT / READS_WEIGHTS).read_text(encoding="utf-8")
    (call,) = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"
    ]
    assert {word.arg: ast.unparse(word.value) for word in call.keywords}["weights_only"] == "True"
    assert source.index("if digest != _WEIGHTS_SHA256") < source.index("torch.load(")


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_only_the_catalog_and_the_configuration_know_families_by_name(path):
    if not lies_in(path.relative_to(ROOT).as_posix(), KNOW_FAMILIES):
        assert families_named(parsed(path)) == []


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_a_module_says_what_it_is_for_and_fits_one_sitting(path):
    assert ast.get_docstring(parsed(path)), "the first line of a module says what it is for"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_there_are_modules_and_families_to_look_at():
    assert len(MODULES) > 50
    assert {"conv2d", "lstm", "pca"} <= FAMILIES


@pytest.mark.parametrize(
    ("name", "source", "found"),
    [
        ("aeflow/scoring/score.py", "def f():\n    from mlflow.pyfunc import PythonModel", ["mlflow"]),
        ("aeflow/store/paths.py", "import prefect.states", ["prefect"]),
        ("aeflow/data/tables.py", "from aeflow import cli", ["aeflow.cli"]),
        ("aeflow/report/summary.py", "from flows import score_batch", ["flows"]),
        ("aeflow/numerics/scaling.py", "import torch.nn", ["torch"]),
        ("aeflow/models/lstm.py", "from pathlib import Path", ["pathlib"]),
        ("aeflow/registry/aliases.py", "import mlflow", []),
        ("aeflow/data/suite.py", "import great_expectations as gx", []),
    ],
)
def test_a_stray_import_is_found_wherever_it_hides(name, source, found):
    assert strays(name, ast.parse(source)) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from pickle import loads", ["pickle"]),
        ("import torch\ntorch.load('x', weights_only=True)", ["torch.load"]),
        ("import numpy as np\nnp.load('x', allow_pickle=True)", ["np.load"]),
        ("import safetensors.torch\nsafetensors.torch.load_file('x')", []),
    ],
)
def test_a_pickle_is_found(source, found):
    assert pickling(ast.parse(source)) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("if config.model.family == 'lstm': pass", ["lstm"]),
        ("from aeflow.config import Pca", ["Pca"]),
        ("import aeflow.config.models as m\nm.Conv2d()", ["Conv2d"]),
        ("'''A network such as lstm.'''", []),
    ],
)
def test_a_family_named_in_the_pipeline_is_found(source, found):
    assert families_named(ast.parse(source)) == found
