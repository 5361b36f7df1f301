"""What was seen -> a complete pipeline, with the reason for each choice.

None of it looks at labels. Where the data leave a choice open, the reason says so: it stands as a
comment in the YAML, at the key that it concerns.

Which model looks at what, and what goes with it, is chosen in `config.image_defaults` and `config.series_defaults`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aeflow.config import (
    BatchRule,
    Calibration,
    Checks,
    Compute,
    History,
    ImagePrepare,
    ImageSource,
    PipelineConfig,
    Report,
    Split,
    SqlSource,
    TableSource,
    Training,
)
from aeflow.config.image_defaults import choose_image_model
from aeflow.config.series_defaults import choose_series
from aeflow.data import periods
from aeflow.onboarding.columns import NOT_IN_EVERY_FILE
from aeflow.onboarding.dated_folders import are_dates
from aeflow.onboarding.images import ImageProfile
from aeflow.onboarding.tables import SqlProfile, TableProfile
from aeflow.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aeflow.onboarding.tables import Readings

Profile = ImageProfile | TableProfile | SqlProfile

_NORMAL = {
    "good",
    "ok",
    "okay",
    "normal",
    "free",
    "train",
    "training",
    "healthy",
    "nominal",
    "history",
    "reference",
}
_TRAIN_WINDOWS = 20_000  # more overlapping windows teach little and take long
_HISTORY_SHARE = 0.7  # of the days; the rest waits to be scored
_WHOLE_SHARE = 0.5  # of each entity's rows, where everything is one batch
_SHORT_SPAN = timedelta(days=3)
_ONE_BATCH_FALSE_SHARE = 0.33
_DAY_SECONDS = 86_400
_LONG_EVENT = 0.05  # of a day's batch: no event has to last longer to be flagged


@dataclass(frozen=True)
class Proposal:
    """A pipeline, and why it is so."""

    config: PipelineConfig
    seen: tuple[str, ...]
    """What was found in the data, a sentence each."""
    reasons: dict[str, str]
    """Key such as "prepare.window_points" -> why it has its value."""


def propose(profile: Profile, name: str, relative: Callable[[Path], str]) -> Proposal:
    """A pipeline for the data.

    Args:
        profile: what was seen.
        name: of the pipeline.
        relative: writes a path as the config's folder sees it.
    """
    if isinstance(profile, ImageProfile):
        return _for_images(profile, name, relative)
    return _for_series(profile, name, relative)


def choose_batch_size(items: int) -> int:
    """Items of a training step: a power of two from 8 to 64, so that an epoch of few items has some
    twenty steps all the same."""
    return int(min(64, max(8, 2 ** int(math.log2(max(items, 1) / 20 + 1)))))


def looks_normal(folder: str) -> bool:
    """Whether a folder's name says that its content is normal: good, MT_Free, anomaly-free, train."""
    return bool(_NORMAL & set(re.split(r"[^a-z]+", folder.lower())))


def _for_images(profile: ImageProfile, name: str, relative: Callable[[Path], str]) -> Proposal:
    reasons: dict[str, str] = {}
    choice = choose_image_model(profile.median_px)
    reasons["prepare.height_px"] = (
        f"The images are {_px(profile.smallest_px)} to {_px(profile.largest_px)}, median "
        f"{_px(profile.median_px)} (width x height)."
    )
    reasons["prepare.color"] = (
        "All images looked at are grey." if profile.grey else "Some images are in colour."
    )
    if profile.exclude:
        reasons["source.exclude"] = f"{counted(profile.excluded, 'file')} taken for masks of other images."
    for like in profile.manifests:
        groups = "".join(f', group: "{{{column}}}"' for column in like.groups[:1])
        reasons["source.manifest"] = (
            f'{like.path} lists images. To use it: {{path: {like.path}, item: "{like.item}"{groups}}}'
            + ("; images of one group then never part between training and test." if groups else "")
        )
    by, history, items = _image_batches(profile, reasons)
    learnt = profile.images
    if history.last is not None or history.batches:
        chosen = (
            f
            for f in profile.folders
            if (history.last and f <= history.last) or _as_pattern(f) in history.batches
        )
        learnt = sum(profile.folders[folder] for folder in chosen)
    batch_size = choose_batch_size(round(learnt * Split().train))
    reasons["training.batch_size"] = f"Trained on about {counted(round(learnt * Split().train), 'image')}."
    config = PipelineConfig(
        name=name,
        source=ImageSource(root=relative(profile.root), exclude=profile.exclude),
        batch=BatchRule(by=by),
        history=history,
        split=Split(),
        checks=Checks(),
        prepare=ImagePrepare(
            color="grey" if profile.grey else "rgb", height_px=choice.height_px, width_px=choice.width_px
        ),
        model=choice.model,
        training=Training(batch_size=batch_size),
        scoring=choice.scoring,
        calibration=Calibration(false_flags_per_batch=1, items_per_batch=items),
        compute=Compute(),
        report=Report(),
    )
    reasons |= choice.reasons
    formats = _counted(profile.formats)
    modes = _counted(profile.modes)
    seen = [
        f"{counted(profile.images, 'image')}; of {profile.looked_at:,} looked at: {formats}; pixel formats: {modes}."
    ]
    if profile.folders:
        seen.append(f"Folders: {_counted(profile.folders)}.")
    if profile.unreadable:
        seen.append(
            f"Cannot be read and will be set aside: {counted(len(profile.unreadable), 'image')}, such as {profile.unreadable[0]}."
        )
    return Proposal(config, tuple(seen), reasons)


def _image_batches(profile: ImageProfile, reasons: dict[str, str]) -> tuple[str, History, float | None]:
    if len(profile.folders) < 2:
        reasons["batch.by"] = "There is one folder: everything is one batch. A folder a night? Say folder."
        return "source", History(), None
    reasons["batch.by"] = f"{len(profile.folders)} folders hold images: each is a batch."
    if profile.in_root:
        reasons["batch.by"] += f" None holds the {counted(profile.in_root, 'image')} directly in the root."
    if are_dates(profile.folders):
        reasons["calibration.items_per_batch"] = "The median size of the folders."
        items = float(np.median(list(profile.folders.values())))
        return "folder", _first_nights(tuple(profile.folders), reasons), items
    normal = tuple(folder for folder in profile.folders if looks_normal(folder))
    if not normal or len(normal) == len(profile.folders):
        reasons["history.batches"] = (
            "No folder's name says that it alone is normal, so all are learnt from: NAME THE NORMAL ONES."
        )
        return "folder", History(), None
    reasons["history.batches"] = "The folders whose names say that they are normal."
    items = float(np.median([count for folder, count in profile.folders.items() if folder not in normal]))
    reasons["calibration.items_per_batch"] = "The median size of the other folders."
    return "folder", History(batches=tuple(_as_pattern(folder) for folder in normal)), items


def _first_nights(folders: Sequence[str], reasons: dict[str, str]) -> History:
    """The history of folders that are named by dates, sorted."""
    count = max(1, int(len(folders) * _HISTORY_SHARE))
    reasons["batch.by"] = f"The folders {folders[0]} to {folders[-1]} are named by dates: each is a batch."
    reasons["history.last"] = (
        f"Taken as normal: the first {count} of {counted(len(folders), 'folder')}; those after wait to be scored."
    )
    return History(last=folders[count - 1])


def _for_series(profile: TableProfile | SqlProfile, name: str, relative: Callable[[Path], str]) -> Proposal:
    readings, reasons = profile.readings, dict[str, str]()
    batch, history, share = _series_batches(profile, reasons)
    typical = int(np.median([entity.rows for entity in readings.entities]) * share)
    cadence = _cadence(readings, reasons)
    choice = choose_series(
        len(readings.roles.channels),
        typical,
        int(typical * Split().train),
        cadence_seconds=cadence,
        timed=readings.roles.time is not None,
        by_period=batch.by == "period",
        items=readings.rows_are_items,
        of_one_quantity=readings.columns_follow,
    )
    reasons |= choice.reasons
    window = choice.prepare.window_points
    windows = int(readings.rows * share * Split().train)
    stride = 1 if choice.keeps_windows else max(1, min(window // 4, math.ceil(windows / _TRAIN_WINDOWS)))
    if stride > 1:
        reasons["prepare.train_stride_points"] = (
            f"Of about {windows:,} overlapping windows, one in {stride} is trained on."
        )
    if readings.roles.left_out:
        left_out = "; ".join(f"{column}: {reason}" for column, reason in readings.roles.left_out.items())
        reasons["source.channels"] = f"Left out are {left_out}."
    config = PipelineConfig(
        name=name,
        source=_series_source(profile, relative),
        batch=batch,
        history=history,
        split=Split(),
        checks=Checks(),
        prepare=choice.prepare.model_copy(update={"cadence_seconds": cadence, "train_stride_points": stride}),
        model=choice.model,
        training=Training(),
        scoring=choice.scoring,
        calibration=_series_promise(batch, choice.scoring.smooth_points, cadence, reasons),
        compute=Compute(),
        report=Report(),
    )
    return Proposal(config, tuple(_seen_in(profile)), reasons)


def _series_promise(
    batch: BatchRule, smooth_points: int, cadence_seconds: float | None, reasons: dict[str, str]
) -> Calibration:
    if batch.by != "source":
        shortest = max(1, smooth_points // 2)
        if batch.by == "period":
            # Of hourly readings ten points would be half of the night's.
            shortest = max(
                1, min(shortest, int(_DAY_SECONDS * _LONG_EVENT / (cadence_seconds or _DAY_SECONDS)))
            )
        if shortest > 1:
            reasons["calibration.min_event_points"] = (
                f"A fault stays in a mean of {smooth_points} points for as long: what does not last half of that is one "
                "normal row that leapt, and such rows would push the cut far up."
            )
        return Calibration(false_flags_per_batch=1, min_event_points=shortest)
    reasons["calibration.false_discovery_rate"] = (
        "Everything is one batch, of which nobody knows how much is abnormal: so a share of what is flagged is "
        "promised. In nightly batches false_flags_per_batch says more."
    )
    return Calibration(false_discovery_rate=_ONE_BATCH_FALSE_SHARE)


def _url_from(url: str, relative: Callable[[Path], str]) -> str:
    """The url as it has to stand in the config's folder: a database file by a path that starts there."""
    scheme, mark, path = url.partition(":///")
    if not mark or scheme not in {"sqlite", "duckdb"} or path.startswith("/") or not path or "${" in path:
        return url
    return f"{scheme}:///{relative(Path(path).absolute())}"


def _series_source(
    profile: TableProfile | SqlProfile, relative: Callable[[Path], str]
) -> TableSource | SqlSource:
    roles = profile.readings.roles
    if isinstance(profile, SqlProfile):
        assert roles.time is not None
        return SqlSource(
            query=relative(profile.query),
            url=_url_from(profile.url, relative),
            time_column=roles.time,
            entity_column=roles.entity,
            channels=roles.channels,
        )
    return TableSource.model_validate(
        {
            "path": relative(profile.path),
            "format": profile.format,
            "delimiter": profile.delimiter,
            "decimal": profile.decimal,
            "header": profile.header,
            "time_column": roles.time,
            "time_format": profile.time_format,
            "entity_column": roles.entity,
            "entity_from_path": profile.entity_from_path,
            "channels": roles.channels,
        }
    )


def _series_batches(
    profile: TableProfile | SqlProfile, reasons: dict[str, str]
) -> tuple[BatchRule, History, float]:
    """The batch rule, the history, and the share of the rows that the history holds."""
    span = profile.readings.span_us
    if isinstance(profile, TableProfile) and profile.folders_are_batches and are_dates(profile.folders):
        history = _first_nights(tuple(profile.folders), reasons)
        learnt = sum(count for folder, count in profile.folders.items() if folder <= str(history.last))
        return BatchRule(by="folder"), history, learnt / profile.files
    if isinstance(profile, TableProfile) and profile.folders_are_batches:
        reasons["batch.by"] = f"The rows have no time, and {', '.join(profile.folders)} hold the same files."
        normal = tuple(folder for folder in profile.folders if looks_normal(folder))
        if normal:
            reasons["history.batches"] = "The folders whose names say that they are normal."
            share = sum(profile.folders[folder] for folder in normal) / profile.files
        else:
            reasons["history.batches"] = "No folder's name says that it is normal: NAME THE NORMAL ONES."
            share = 1.0
        return BatchRule(by="folder"), History(batches=tuple(map(_as_pattern, normal))), share
    if span is not None and (isinstance(profile, SqlProfile) or _alongside(profile.readings)):
        zone = profile.readings.zone
        rule = BatchRule(by="period", period="day", time_zone=zone.name)
        first, last = (periods.id_at(periods.from_us(us), rule) for us in span)
        ids = periods.ids_between(first, last, rule)
        count = max(1, int(len(ids) * _HISTORY_SHARE))
        reasons["batch.by"] = f"The times run from {ids[0]} to {ids[-1]}: a batch a day."
        reasons["history.last"] = (
            f"Taken as normal: the first {count} of {counted(len(ids), 'day')}; the days after wait to be scored."
        )
        reasons["batch.time_zone"] = zone.reason
        return rule, History(last=ids[count - 1]), count / len(ids)
    reasons["batch.by"] = (
        "The rows have no time: everything is one batch."
        if span is None
        else "The times of the entities do not run side by side over more than three days: everything is one batch."
    )
    reasons["history.first_share"] = (
        "The first half of each entity is taken as normal; it is scored all the same."
    )
    return BatchRule(by="source"), History(first_share=_WHOLE_SHARE), _WHOLE_SHARE


def _alongside(readings: Readings) -> bool:
    """Whether the time is one that goes on: more than three days, most entities there most of the time."""
    span = readings.span_us
    assert span is not None
    length = span[1] - span[0]
    own = [
        e.last_us - e.first_us for e in readings.entities if e.first_us is not None and e.last_us is not None
    ]
    return length > _SHORT_SPAN / timedelta(microseconds=1) and float(np.median(own)) > 0.5 * length


def _cadence(readings: Readings, reasons: dict[str, str]) -> float | None:
    steps = sorted({e.step_seconds for e in readings.entities if e.step_seconds})
    if readings.roles.time is None:
        reasons["prepare.cadence_seconds"] = (
            "The rows carry no time: SAY HOW MANY SECONDS LIE BETWEEN TWO ROWS."
        )
        return 1.0
    if readings.cadence_seconds:
        gaps, longest = _gaps(readings)
        reasons["prepare.cadence_seconds"] = "The median step, the same for every entity."
        if gaps:
            reasons["prepare.max_gap_points"] = (
                f"{counted(gaps, 'step')} longer than usual, the longest {_duration(longest)}."
            )
        return readings.cadence_seconds
    reasons["prepare.cadence_seconds"] = (
        f"The entities have steps of their own, {_duration(steps[0])} to {_duration(steps[-1])}: each is learnt."
        if steps
        else "No entity has two rows: learnt from the history."
    )
    return None


def _seen_in(profile: TableProfile | SqlProfile) -> Iterable[str]:
    readings = profile.readings
    rows = (
        counted(readings.rows, "row")
        if readings.whole
        else f"more than {readings.rows:,} rows (not all were looked at)"
    )
    if isinstance(profile, TableProfile):
        folders = f" in the folders {_counted(profile.folders)}" if profile.folders else ""
        yield f"{counted(profile.files, f'{profile.format} file')}{folders}, {rows}."
    else:
        yield f"{rows} from the query."
    uneven = [name for name, why in readings.roles.left_out.items() if why == NOT_IN_EVERY_FILE]
    if uneven:
        yield (
            f"Not in every file that was looked at, and so no channel: {', '.join(uneven)}. Where a file lacks what "
            "should be there, name the channel under source.channels: rows of that file are then set aside."
        )
    named = [entity.name for entity in readings.entities]
    if profile.readings.roles.entity or getattr(profile, "entity_from_path", False):
        shown = ", ".join(named[:5]) + (", ..." if len(named) > 5 else "")
        fewest, most = (f(e.rows for e in readings.entities) for f in (min, max))
        each = counted(most, "row") if fewest == most else f"{fewest:,} to {most:,} rows"
        yield f"{counted(len(named), 'entity')} ({shown}), {each} each."
    if readings.span_us:
        first, last = (periods.from_us(us) for us in readings.span_us)
        yield f"Times from {first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} (UTC)."
    gaps, longest = _gaps(readings)
    if gaps:
        yield f"{counted(gaps, 'gap')}, the longest {_duration(longest)}."
    missing = [
        f"{c.name} ({c.missing:.0%})"
        for c in readings.columns
        if c.name in readings.roles.channels and c.missing > 0.01
    ]
    if missing:
        yield f"Values are missing in {', '.join(missing)}."
    constant = [c.name for c in readings.columns if c.name in readings.roles.channels and c.distinct < 2]
    if constant:
        yield f"Constant in the sample: {', '.join(constant)}."


def _gaps(readings: Readings) -> tuple[int, float]:
    longest = max((e.longest_gap_seconds for e in readings.entities), default=0.0)
    return sum(e.gaps for e in readings.entities), longest


def _as_pattern(folder: str) -> str:
    """The folder's name as a glob that fits nothing else."""
    return re.sub(r"([*?[])", r"[\1]", folder)


def _counted(counts: dict[str, int]) -> str:
    shown = ", ".join(f"{name} {count}" for name, count in list(counts.items())[:8])
    return shown + (f", ... ({len(counts)} in all)" if len(counts) > 8 else "")


def _px(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} seconds"
