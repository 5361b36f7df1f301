"""Measures while a batch is scored how far it has moved from the history of its detector, in fixed memory.

What is looked at of a batch depends on the numbers of its rows alone, so that chunks change nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from aeflow.detector.drift_reference import (
    CODED_ITEMS,
    array_codes,
    image_quantities,
    one_in,
    window_codes,
)
from aeflow.detector.series_scores import SeriesNormal
from aeflow.numerics.drift import Sketch, compare, spread_over
from aeflow.numerics.false_discovery import adjusted_p_values
from aeflow.retraining.measurements import Drift, Shift, is_moved

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from aeflow.data.images import ImageInputs
    from aeflow.detector import Detector
    from aeflow.detector.drift_reference import DriftReference
    from aeflow.numerics.drift import Shifts
    from aeflow.scoring.series import RowScores


class DriftMeter:
    """Takes in a batch chunk by chunk. rows, entities: how many the batch holds."""

    def __init__(self, detector: Detector, *, rows: int, entities: int, device: torch.device) -> None:
        self._detector, self._device = detector, device
        self._reference = detector.drift
        n_quantities = len(self._reference.quantities) if self._reference is not None else 0
        self._inputs = Sketch(n_quantities)
        directions = self._reference.directions if self._reference is not None else None
        self._codes = Sketch(0 if directions is None else directions.axes.shape[1])
        self._one_in = one_in(rows, entities)
        self._coded_in = max(1.0, rows / CODED_ITEMS)
        self._names: dict[str, int] = {}
        self._done = 0
        self._leads = np.zeros((0, n_quantities), dtype=np.int64)

    def add_rows(self, rows: RowScores) -> None:
        """The rows of a chunk, chunks in their order."""
        first_row, self._done = self._done, self._done + rows.scorable.size
        reference, normal = self._reference, self._detector.normal
        if reference is None or not isinstance(normal, SeriesNormal):
            return
        inputs = rows.inputs
        number = first_row + np.arange(rows.scorable.size)
        of_batch = np.array([self._names.setdefault(e, len(self._names)) for e in inputs.entities], np.int64)
        entity = of_batch[inputs.row_entity]
        looked_at = np.flatnonzero(spread_over(number, self._one_in))
        known = normal.codes(inputs.entities)[inputs.row_entity[looked_at]]
        self._inputs.feed(normal.scale.apply(inputs.row_values[looked_at], known), entity[looked_at])
        judged = looked_at[rows.scorable[looked_at]]
        self._count_leads(entity[judged], rows.contributions[judged])
        coded = np.flatnonzero(spread_over(number, self._coded_in) & rows.scorable)
        if reference.directions is not None and coded.size:
            codes = window_codes(
                self._detector.network, normal, inputs, inputs.row_window[coded], self._device
            )
            self._feed_codes(reference, codes)

    def add_images(self, inputs: ImageInputs) -> None:
        """The images of a chunk."""
        reference = self._reference
        if reference is None or reference.scale is None or not len(inputs.pixels):
            return
        looked_at = np.flatnonzero(spread_over(inputs.item, self._one_in))
        nobody = np.zeros(looked_at.size, dtype=np.int64)
        _, values = image_quantities(inputs.pixels[looked_at], self._detector.config.channels)
        self._inputs.feed(reference.scale.apply(values, nobody), nobody)
        coded = np.flatnonzero(spread_over(inputs.item, self._coded_in))
        if reference.directions is not None and coded.size:
            codes = array_codes(
                self._detector.network, self._detector.image_normal, inputs.pixels[coded], self._device
            )
            self._feed_codes(reference, codes)

    def result(self) -> Drift | None:
        """What was measured; None where the detector knows nothing to hold the batch against, or the batch
        held nothing."""
        reference, normal = self._reference, self._detector.normal
        if reference is None or not self._inputs.counts.shape[0]:
            return None
        names = tuple(self._names)
        row = np.zeros(1, dtype=np.int64)
        new = 0
        if isinstance(normal, SeriesNormal):
            # Not `normal.codes`, which serves new entities of a cohort with the cohort's row.
            known = {name: code for code, name in enumerate(normal.entities)}
            row = np.array([known.get(name, -1) for name in names], dtype=np.int64)
            new = int((row < 0).sum())
            self._inputs.widen(len(names))
            self._count_leads(np.arange(len(names)), None)
        shifts = compare(reference.inputs, self._inputs.counts, row)
        p_value = adjusted_p_values(shifts.p_value.ravel()).reshape(shifts.p_value.shape)
        moved = is_moved(p_value, shifts.ks)
        return Drift(
            inputs=tuple(
                self._shift(name, shifts, p_value, moved[:, q], q)
                for q, name in enumerate(reference.quantities)
            ),
            latent=self._latent(reference),
            entities=len(row),
            moved_entities=int(moved.any(axis=1).sum()),
            new_entities=new,
        )

    def _shift(
        self, name: str, shifts: Shifts, p_value: NDArray[np.float64], moved: NDArray[np.bool_], q: int
    ) -> Shift:
        """Of the entity in which a quantity moved most."""
        worst = int(np.lexsort((-np.nan_to_num(shifts.ks[:, q]), np.nan_to_num(p_value[:, q], nan=1.0)))[0])
        assert self._reference is not None
        found = _shift_of(name, shifts, p_value, (worst, q), int(moved.sum()))
        if self._reference.leads is None or not self._leads.shape[0]:
            return found
        leads = self._leads[worst, q] / max(int(self._leads[worst].sum()), 1)
        usual = float(self._reference.leads[q])
        return replace(found, leads=round(float(leads), 4), usual_leads=round(usual, 4))

    def _latent(self, reference: DriftReference) -> tuple[Shift, ...]:
        if reference.codes is None or not self._codes.counts.shape[0]:
            return ()
        shifts = compare(reference.codes, self._codes.counts, np.zeros(1, dtype=np.int64))
        p_value = adjusted_p_values(shifts.p_value[0])[np.newaxis]
        moved = is_moved(p_value, shifts.ks)
        return tuple(
            _shift_of(f"direction {k + 1}", shifts, p_value, (0, k), int(moved[0, k]))
            for k in range(p_value.size)
        )

    def _feed_codes(self, reference: DriftReference, codes: NDArray[np.float32]) -> None:
        assert reference.directions is not None
        places = reference.directions.places(codes)
        self._codes.feed(places, np.zeros(len(places), dtype=np.int64))

    def _count_leads(self, entity: NDArray[np.int64], contributions: NDArray[np.float32] | None) -> None:
        """Which channel had the largest error in each row; None: only make room for the entities."""
        more = int(entity.max(initial=-1)) + 1 - self._leads.shape[0]
        if more > 0:
            room = np.zeros((more, self._leads.shape[1]), dtype=np.int64)
            self._leads = np.concatenate([self._leads, room])
        if contributions is not None and entity.size:
            first = np.nan_to_num(contributions, nan=-np.inf).argmax(axis=1)
            np.add.at(self._leads, (entity, first), 1)


def _shift_of(
    name: str,
    shifts: Shifts,
    p_value: NDArray[np.float64],
    place: tuple[int, int],
    entities: int,
) -> Shift:
    """Rounded: what lies beyond four digits is no finding, and hangs on the machine's arithmetic."""

    def digits(value: np.float64) -> float:
        return round(float(np.nan_to_num(value)), 4)

    return Shift(
        name=name,
        ks=digits(shifts.ks[place]),
        psi=digits(shifts.psi[place]),
        wasserstein=digits(shifts.wasserstein[place]),
        median=digits(shifts.median[place]),
        p_value=float(f"{np.nan_to_num(p_value[place], nan=1.0):.3g}"),
        entities=entities,
    )
