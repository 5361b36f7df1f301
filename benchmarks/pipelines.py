"""A pipeline file trained and measured by the commands that a user types, in a home of its own."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from benchmarks.processes import environment, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
_AEFLOW = str(Path(sys.executable).with_name("aeflow"))


@dataclass(frozen=True)
class Run:
    """A pipeline that was trained: its file, its home, and the seconds that `aeflow train` took (wall time,
    start and registration included)."""

    config: Path
    env: Mapping[str, str]
    training_seconds: float

    def evaluate(self, labels: Path, *, scores: Path | None = None) -> dict[str, dict[str, Any]]:
        """What `aeflow evaluate --json` says: "detector", "baseline", "forest" and "everything" -> evaluation; what was
        compared is written to `scores`."""
        command = [_AEFLOW, "evaluate", str(self.config), "--labels", str(labels), "--version", "1", "--json"]
        command += [] if scores is None else ["--scores", str(scores)]
        done = subprocess.run(command, env=dict(self.env), capture_output=True, text=True, check=False)
        if done.returncode:
            msg = f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}"
            raise RuntimeError(msg)
        rows = json.loads(done.stdout)["evaluations"]
        return dict(zip(("detector", "baseline", "forest", "everything"), rows, strict=True))


@contextmanager
def trained(pipeline: Mapping[str, Any]) -> Iterator[Run]:
    """Train a pipeline, given as the content of its YAML with absolute paths; it is gone afterwards.

    Raises:
        RuntimeError: the command failed; with the end of what it printed.
    """
    with tempfile.TemporaryDirectory(prefix="aeflow-bench-") as folder:
        config = Path(folder) / "configs" / f"{pipeline['name']}.yaml"
        config.parent.mkdir()
        config.write_text(yaml.safe_dump(dict(pipeline), sort_keys=False), encoding="utf-8")
        env = environment(Path(folder) / "home")
        spent = measure([_AEFLOW, "train", str(config), "--challenger"], env=env)
        yield Run(config, env, spent.wall_s)


def shipped(name: str, *, seed: int, **sections: Mapping[str, Any]) -> dict[str, Any]:
    """The pipeline of `configs/NAME.yaml` with another seed, absolute paths, and some keys replaced: section
    -> key -> value; `model` as a whole, since each family has keys of its own."""
    content: dict[str, Any] = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"))
    content["seed"] = seed
    place = "root" if "root" in content["source"] else "path"
    content["source"][place] = str((CONFIGS / content["source"][place]).absolute())
    for section, keys in sections.items():
        content[section] = dict(keys) if section == "model" else {**content[section], **keys}
    return content


def without_comments(pipeline: Mapping[str, Any]) -> str:
    """A pipeline as one line of text: what decides a cell's figures, wherever this checkout lies."""
    source = {key: value for key, value in pipeline["source"].items() if key not in {"path", "root"}}
    kept = {key: value for key, value in pipeline.items() if key != "seed"}
    return json.dumps(kept | {"source": source}, sort_keys=True, default=str)


def labels_where(labels: Path, column: str, wanted: Callable[[str], bool], out: Path) -> Path:
    """The rows of a file of labels whose `column` is wanted, written to `out`."""
    with labels.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = [row for row in reader if wanted(row[column])]
        columns = reader.fieldnames or []
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return out
