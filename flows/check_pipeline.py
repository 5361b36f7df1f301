"""Whether a pipeline could run: its config, its source, its batches, its history, its model."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aeflow.config import family_in_words, load_config
from aeflow.data.checks import examples_of
from aeflow.data.due import schedule_warnings
from aeflow.data.history import select_history
from aeflow.data.take_in import Context, survey, take_in, take_in_training
from aeflow.detector.fitting import expect_enough
from aeflow.exceptions import DetectorError, InputError, SourceError
from aeflow.models.autoencoder import parameter_count
from aeflow.models.catalog import build, has_closed_form
from aeflow.models.fused import fused_networks
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
    unreadable: dict[str, str] = field(default_factory=dict)
    """File of the source that cannot be read to its end -> why; what batches its rows belong to is not known."""
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
    """Read the config and the first batch of the history, and build the network. Where that batch alone
    would not do to train on, the whole history is read.

    Raises:
        ConfigError: the config is not valid.
        DetectorError: the history holds nothing valid, or too little to be trained on.
        InputError: the network cannot be built: items of another shape, a package that is missing.
        SourceError: the source cannot be read as the config says, or is empty.
    """
    pipeline = load_config(config)
    batches, unreadable = survey(pipeline)
    if not batches:
        raise SourceError("expected at least one batch, and the source holds none", where=pipeline.name)
    history = select_history(pipeline, batches)
    network = build(pipeline.model, pipeline.item_shape, seed=pipeline.seed)
    parameters = 0 if has_closed_form(pipeline.model) else parameter_count(network)
    # The first stage of a training asks for what it needs beside the items, such as a package of weights.
    for one in fused_networks(network):
        next(iter(one.stages()), None)
    scratch = home_for(config) / "work"
    with storage_errors(scratch, "make a working folder"):
        scratch.mkdir(parents=True, exist_ok=True)
    warnings = list(schedule_warnings(pipeline))
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        staged = take_in(pipeline, history[0], Path(folder) / "first", context=Context())
        if not staged.valid:
            warnings.append(
                f"Batch {history[0]} holds nothing valid. {' '.join(examples_of(staged))}".rstrip()
            )
        try:
            expect_enough(pipeline, staged)
        except (DetectorError, InputError):
            expect_enough(pipeline, take_in_training(pipeline, Path(folder) / "history"))
    return PipelineCheck(
        pipeline=pipeline.name,
        kind=pipeline.kind,
        family=family_in_words(pipeline.model),
        batches=tuple(batches),
        history=tuple(history),
        first_batch=history[0],
        rows_in=staged.rows_in,
        valid=staged.valid,
        quarantined=staged.quarantined,
        entities=len(staged.entities),
        channels=pipeline.channels,
        parameters=parameters,
        unreadable=unreadable,
        warnings=tuple(warnings),
    )


def _some(names: tuple[str, ...]) -> str:
    if len(names) <= _SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[: _SHOWN - 1])}, ... {names[-1]}"
