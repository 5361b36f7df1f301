"""Six ways in which the nights of a real machine may differ from its history, and a quiet one.

Legend: L rows, C channels, D rows of a day.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.workload import SHARED_DATA

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

NIGHTS = 6
LOOKED_AT = "machine-1-6"
"""The machine of SMD on which the rules of the decision were made; any other is a check of them."""
WATER = "water"


@dataclass(frozen=True)
class Machine:
    """One machine: its history and the nights that followed, `(L, C)` each, and rows `(L, C)` of real faults."""

    channels: tuple[str, ...]
    history: NDArray[np.float64]
    nights: NDArray[np.float64]
    faults: NDArray[np.float64]
    rows_a_day: int
    window_points: int
    first_day: int = 0

    @property
    def history_days(self) -> int:
        """Days of the history."""
        return len(self.history) // self.rows_a_day

    @property
    def scale(self) -> NDArray[np.float64]:
        """Robust scale of each channel of the history `(C,)`, its standard deviation where more than half of the
        values are equal; 0 of one that never moves."""
        low, high = np.quantile(self.history, [0.25, 0.75], axis=0)
        return np.where(high > low, (high - low) / 1.349, self.history.std(axis=0))

    def night(self, number: int) -> slice:
        """The rows of one night, counted from 0; a negative number from the end."""
        first = (number % NIGHTS) * self.rows_a_day
        return slice(first, first + self.rows_a_day)


@dataclass(frozen=True)
class Scenario:
    """What is planted into the nights, and what is to be decided after the last."""

    expected: str
    plant: Callable[[Machine], NDArray[np.float64]]


def load_machine(name: str = LOOKED_AT) -> Machine:
    """A machine of SMD; the water flow of river by that name, and where the default machine is not at hand.

    Raises:
        FileNotFoundError: there is no other machine of that name.
    """
    train = SHARED_DATA / "smd" / "train" / f"{name}.txt.gz"
    if name == WATER or (name == LOOKED_AT and not train.exists()):
        return water_machine()
    return _smd(name)


def _smd(name: str) -> Machine:
    """Ten days of history and six nights, a reading a minute; its nights are the days in an order drawn once, so that all days of
    the one real trace are alike to the two, and nothing has changed where nothing was planted."""

    def read(part: str) -> NDArray[np.float64]:
        with gzip.open(SHARED_DATA / "smd" / part / f"{name}.txt.gz", "rt") as file:
            return np.loadtxt(file, delimiter=",")

    rows = read("train")
    label = np.loadtxt(SHARED_DATA / "smd" / "test_label" / f"{name}.txt") == 1
    day = 1440
    days = rows[: len(rows) // day * day].reshape(-1, day, rows.shape[1])
    order = np.random.default_rng(0).permutation(len(days))
    moving = np.flatnonzero(days.reshape(-1, days.shape[2]).std(axis=0) > 0)
    days = days[order][..., moving]
    history = len(days) - NIGHTS
    return Machine(
        channels=tuple(f"m{c + 1:02d}" for c in moving),
        history=days[:history].reshape(-1, moving.size),
        nights=days[history:].reshape(-1, moving.size),
        faults=read("test")[label][:, moving],
        rows_a_day=day,
        window_points=16,
    )


def water_machine() -> Machine:
    """The flow of a real pipe, a quarter of an hour each row, with channels that follow from it; its days again
    and again in an order drawn once."""
    from river.datasets import WaterFlow  # noqa: PLC0415 - an extra of the tests

    hourly = np.array([value for _, value in WaterFlow()], dtype=np.float64)
    day = 96
    flow = np.interp(np.arange((len(hourly) - 1) * 4) / 4, np.arange(len(hourly)), hourly)
    days = flow[: len(flow) // day * day].reshape(-1, day)
    generator = np.random.default_rng(0)
    chosen = generator.permutation(np.tile(np.arange(len(days)), 2))[: 30 + NIGHTS]
    flow = days[chosen].ravel()
    unit = (flow - flow.mean()) / flow.std()
    followers = [
        unit,
        -unit,
        np.abs(unit),
        unit**2,
        np.roll(unit, 2),
        np.roll(unit, 6),
        unit + np.roll(unit, 1),
    ]
    noise = generator.normal(0, 0.1, (flow.size, len(followers) + 1))
    values = np.column_stack([unit * 0.8, *followers]) + noise
    faults = np.column_stack([*(np.roll(values[:600, c], 37 * c) * 2.5 for c in range(values.shape[1]))])
    first = 30 * day
    return Machine(
        tuple(f"w{c + 1}" for c in range(values.shape[1])), values[:first], values[first:], faults, day, 12
    )


def _quiet(machine: Machine) -> NDArray[np.float64]:
    return machine.nights.copy()


def _sensor_gain(machine: Machine) -> NDArray[np.float64]:
    """From the last night but one on, the livelist sensor reads two and a half times as much."""
    nights = machine.nights.copy()
    channel = _lively(machine)[0]
    rows = slice(machine.night(-2).start, None)
    nights[rows, channel] *= 2.5
    return nights


def _season(machine: Machine) -> NDArray[np.float64]:
    """For the last four nights every channel lies a scale higher and swings half as much again."""
    nights = machine.nights.copy()
    rows = slice(machine.night(-4).start, None)
    center = np.median(machine.history, axis=0)
    nights[rows] = center + (nights[rows] - center) * 1.5 + machine.scale
    return nights


def _burst(machine: Machine) -> NDArray[np.float64]:
    """Real faults of the machine, from all over its labelled ones, six of twenty minutes each in the last night."""
    nights = machine.nights.copy()
    last, length = machine.night(-1), max(3, machine.rows_a_day // 72)
    step, apart = machine.rows_a_day // 7, len(machine.faults) // 6
    for number in range(6):
        at = last.start + (number + 1) * step
        nights[at : at + length] = machine.faults[number * apart : number * apart + length]
    return nights


def _wear(machine: Machine) -> NDArray[np.float64]:
    """One channel creeps up by six tenths of a scale a night."""
    nights = machine.nights.copy()
    channel = _lively(machine)[1]
    creeping = np.arange(len(nights)) / machine.rows_a_day
    nights[:, channel] += 0.6 * machine.scale[channel] * creeping
    return nights


def _stale(machine: Machine) -> NDArray[np.float64]:
    """For the last four nights all that moves all the time is noisier, by a little beside what it moves: the model is
    as good as ever, and its errors are larger than the calibration's."""
    nights = machine.nights.copy()
    rows = slice(machine.night(-4).start, None)
    noise = np.random.default_rng(1).normal(0, 1, nights[rows].shape)
    moves = (np.diff(machine.history, axis=0) != 0).mean(axis=0) > 0.5
    nights[rows] += noise * 0.3 * machine.scale * moves
    return nights


def _lively(machine: Machine) -> NDArray[np.int64]:
    """Channels by how evenly they move, liveliest first: the share of readings that differ from the one before."""
    return np.argsort(-(np.diff(machine.history, axis=0) != 0).mean(axis=0), kind="stable")


SERIES: Mapping[str, Scenario] = {
    "quiet": Scenario("OK", _quiet),
    "sensor_gain": Scenario("SENSOR_FAULT", _sensor_gain),
    "season": Scenario("RETRAIN", _season),
    "burst": Scenario("INCIDENT", _burst),
    "wear": Scenario("HOLD", _wear),
    "stale_calibration": Scenario("RECALIBRATE", _stale),
}
