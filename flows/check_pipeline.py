"""Whether a pipeline could run: its config, its source, its batches, its history, its model."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aeflow.config import load_config
from aeflow.data.due import schedule_warnings
from aeflow.data.take_in import Context, history_batches, list_batches, take_in
from aeflow.exceptions import SourceError
from aeflow.models.autoencoder import parameter_count
from aeflow.models.catalog import CATALOG, build
from aeflow.settings import home_for
from aeflow.store.files import storage_errors
from aeflow.wording import counted

_SHOWN = 5


@dataclass(frozen=True)
class PipelineCheck:
    """What `aeflow check` found."""

    pipeline: str
    kind: str
    family: str
    batches: tuple[str, ...]
    history: tuple[str, ...]
    first_batch: str
    rows_in: int
    valid: int
    quarantined: dict[str, int]
    entities: int
    channels: tuple[str, ...]
    parameters: int
    """Of the network, trained ones; 0 where the history decides how many there are."""
    warnings: tuple[str, ...] = ()
    """What the pipeline is better not: see `aeflow.data.due.schedule_warnings`."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The findings as sentences."""
        aside = ", ".join(f"{count} {reason}" for reason, count in self.quarantined.items()) or "none"
        series = self.kind == "series"
        return [
            f"{self.pipeline}: the config is sound.",
            f"  {counted(len(self.batches), 'batch')} in the source: {_some(self.batches)}",
            f"  Of them {len(self.history):,} to learn from, the history: {_some(self.history)}",
            f"  Batch {self.first_batch}: {counted(self.rows_in, 'row' if series else 'image')}, {self.valid:,} valid, set aside: {aside}"
            + (f"; {counted(self.entities, 'entity')}" if series else ""),
            f"  What would be trained: family {self.family}, channels {', '.join(self.channels)}"
            + (f": {self.parameters:,} parameters." if self.parameters else "."),
            *(f"  Note: {warning}" for warning in self.warnings),
        ]


def check_pipeline(config: Path) -> PipelineCheck:
    """Read the config and the first batch of the history, and build the network.

    Raises:
        ConfigError: the config is not valid.
        InputError: the network cannot be built: items of another shape, a package that is missing.
        SourceError: the source cannot be read as the config says, or is empty.
    """
    pipeline = load_config(config)
    batches = list_batches(pipeline)
    if not batches:
        raise SourceError("expected at least one batch, and the source holds none", where=pipeline.name)
    history = history_batches(pipeline)
    network = build(pipeline.model, pipeline.item_shape, seed=pipeline.seed)
    parameters = 0 if CATALOG[pipeline.model.family].closed_form else parameter_count(network)
    # The first stage of a training asks for what it needs beside the items, such as a package of weights.
    next(iter(network.stages()), None)
    scratch = home_for(config) / "work"
    with storage_errors(scratch, "make a working folder"):
        scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        staged = take_in(pipeline, history[0], Path(folder), context=Context())
    return PipelineCheck(
        pipeline=pipeline.name,
        kind=pipeline.kind,
        family=pipeline.model.family,
        batches=tuple(batches),
        history=tuple(history),
        first_batch=history[0],
        rows_in=staged.rows_in,
        valid=staged.valid,
        quarantined=staged.quarantined,
        entities=len(staged.entities),
        channels=pipeline.channels,
        parameters=parameters,
        warnings=tuple(schedule_warnings(pipeline)),
    )


def _some(names: tuple[str, ...]) -> str:
    if len(names) <= _SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[: _SHOWN - 1])}, ... {names[-1]}"
