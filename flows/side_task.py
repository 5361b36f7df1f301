"""What tasks beside the nightly runs share: a batch taken in for one of them, its results put in place at
the end, or not at all."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from aeflow.config import load_config
from aeflow.data.take_in import take_in, take_in_training
from aeflow.settings import home_for
from aeflow.store.claims import claim
from aeflow.store.files import replace_folder
from aeflow.store.paths import Paths
from aeflow.training.devices import choose_device
from flows.score_batch import fetch_detector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

    from aeflow.config import PipelineConfig
    from aeflow.data.intake import Intake
    from aeflow.detector import Detector
    from aeflow.registry import DetectorRef


@dataclass(frozen=True)
class SideTask:
    """A detector at work on something of its own: `work` is for what is passing, and `build` becomes the
    results once all went well."""

    config: PipelineConfig
    paths: Paths
    ref: DetectorRef
    detector: Detector
    device: torch.device
    work: Path

    @property
    def build(self) -> Path:
        """The folder of the results before they are put in place."""
        return self.work / "build"

    def stage(self, batch: str) -> Intake:
        """A snapshot of the batch.

        Raises:
            BatchNotFound: the source holds no such batch.
            SourceError: it cannot be read as the config says.
        """
        return take_in(self.config, batch, self.work / "intake", context=self.detector.context)

    def stage_history(self) -> Intake:
        """A snapshot of the history that the config chooses; raises as `stage`."""
        return take_in_training(self.config, self.work / "history")

    def deliver(self, target: Path) -> None:
        """The results in place of those of the run before."""
        replace_folder(self.build, target)


@contextmanager
def side_task(config: Path, name: str, *, version: int | None) -> Iterator[SideTask]:
    """The champion (or a version), alone at the task `name` of its pipeline; its work folder is removed at
    the end.

    Raises:
        DetectorError: there is no such detector, or it does not fit the pipeline.
        AlreadyRunning: a living process does the same.
    """
    pipeline = load_config(config)
    paths = Paths(home_for(config), pipeline.name)
    ref, detector = fetch_detector(paths, version)
    detector.check_fits(pipeline)
    work = paths.task(name)
    with claim(paths.task_claim(name), f"{name} of {pipeline.name}", now=datetime.now(UTC)):
        shutil.rmtree(work, ignore_errors=True)
        device = choose_device(pipeline.compute.device)
        detector.network.to(device)
        task = SideTask(pipeline, paths, ref, detector, device, work)
        task.build.mkdir(parents=True)
        try:
            yield task
        finally:
            shutil.rmtree(work, ignore_errors=True)


def of_items(progress: Callable[[float, str], None] | None, count: int) -> Callable[[int], None]:
    """A function that takes how many of `count` items are done and tells `progress`, if there is one."""

    def tell(done: int) -> None:
        if progress is not None:
            progress(done / max(count, 1), f"{done:,} of {count:,}")

    return tell
