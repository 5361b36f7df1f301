"""How things look in a terminal."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from aeflow.wording import about, counted, moment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from aeflow.evaluation import PromiseCheck
    from aeflow.report.realised import Realised
    from aeflow.report.summary import Summary
    from flows.evaluate_detector import Comparison


def print_json(value: Any) -> None:
    """Print a value as JSON, dates as ISO text."""
    print(json.dumps(value, indent=1, default=str, ensure_ascii=False))


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print an aligned table; numbers to the right, None as nothing."""
    cells = [["" if v is None else str(v) for v in row] for row in rows]
    widths = [max(len(line[c]) for line in [list(header), *cells]) for c in range(len(header))]
    right = [
        all(isinstance(row[c], int | float | None) for row in rows) and bool(rows) for c in range(len(header))
    ]
    for line in [list(header), *cells]:
        shown = (t.rjust(w) if r else t.ljust(w) for t, w, r in zip(line, widths, right, strict=True))
        print("  ".join(shown).rstrip())


def tell_unreadable(files: Mapping[str, str]) -> None:
    """Tell, on standard error, of files of the source of which it is not known to what batches they belong."""
    for name, problem in files.items():
        message = (
            f"aeflow: {name} is set aside, and to which batches it belongs is not known: {problem}\n"
            "  The rest goes on. Mend it or take it away; its batches are scored again then."
        )
        print(message, file=sys.stderr)


_BARS = "▁▂▃▄▅▆▇█"


def print_report(
    summary: Summary, folder: Path, nights: Sequence[Summary], found: Mapping[str, Realised], *, zone: str
) -> None:
    """Print last night at a glance: what happened, what was promised, what people `found` of it by batch, the worst
    flags, the files; and the flags of the last `nights`, oldest first. Times are those of `zone`."""
    from aeflow.report.realised import over_nights

    print(f"{summary.pipeline}, batch {summary.batch}, detector {summary.detector_version}")
    print(f"  {summary.sentence}")
    print(
        f"  {summary.rows_in:,} came in: {summary.scored:,} scored, {summary.not_scorable:,} not scorable, "
        f"{summary.quarantined_rows:,} set aside."
    )
    _print_promise(summary, found[summary.batch])
    for grade in summary.grades:
        if grade.grade != "HIGH":
            where = f" in {', '.join(grade.entities)}" if any(grade.entities) else ""
            print(
                f"  Channel {grade.channel} is graded {grade.grade}: {grade.cause.replace('_', ' ')}{where}."
            )
    for warning in summary.warnings:
        print(f"  Note: {warning}")
    if len(nights) > 1:
        print(f"  The last {len(nights)} nights: {_sparkline([night.flags for night in nights])}")
        _print_some(over_nights(nights, found))
    _print_flags(summary, zone)
    print()
    print(f"  {folder / 'report.html'}")


def _print_flags(summary: Summary, zone: str) -> None:
    timed = any(flag.start for flag in summary.top_flags)
    if summary.top_flags:
        print()
        rows = [
            {
                "severity": f"{flag.severity:.0f}",
                "what": flag.item or flag.entity,
                f"when ({zone})": _span(flag.start, flag.end, zone),
                "channels": ", ".join(flag.channels),
                "flag": flag.flag_id,
            }
            for flag in summary.top_flags
        ]
        shown = [name for name in rows[0] if timed or not name.startswith("when")]
        print_table(shown, [[row[name] for name in shown] for row in rows])
        if summary.flags > len(rows):
            print(f"  {summary.flags - len(rows):,} more on the page.")
    if summary.suppressed_flags:
        print()
        print(f"  Suppressed, so that they count as no flag: {summary.suppressed:,}")
        for aside in summary.suppressed_flags:
            when = f" {moment(aside.start, zone)}" if aside.start else ""
            print(f"    {aside.flag_id} {aside.item or aside.entity}{when}: {aside.reason}")


def _span(start: datetime | None, end: datetime | None, zone: str) -> str:
    if start is None or end is None:
        return ""
    first, last = (time.astimezone(ZoneInfo(zone)) for time in (start, end))
    same_day = first.date() == last.date()
    return f"{first:%Y-%m-%d %H:%M:%S} to {last:{'%H:%M:%S' if same_day else '%Y-%m-%d %H:%M:%S'}}"


def _print_promise(summary: Summary, found: Realised) -> None:
    """What was promised of false flags, what came of it, and what people found."""
    from aeflow.report.realised import promised_and_found

    promise = summary.promise
    print(f"  Promise: {promise.sentence} {promise.note}".rstrip())
    if promise.flags_by_chance is not None:
        low, high = promise.flags_by_chance
        print(
            f"  Came: {counted(summary.flags, 'flag')}; by chance alone {low} to {high} (95 %). {summary.flood}".rstrip()
        )
    _print_some(
        promised_and_found(summary, found),
        promise.cut_in_words,
        promise.moved_in_words,
        promise.blunt_in_words,
    )


def _print_some(*sentences: str) -> None:
    """A line each, those that say nothing left out."""
    for sentence in filter(None, sentences):
        print(f"  {sentence}")


def _sparkline(counts: Sequence[int]) -> str:
    """A bar for each count, and the highest in figures."""
    most = max(*counts, 1)
    bars = "".join("·" if not count else _BARS[(count * len(_BARS) - 1) // most] for count in counts)
    return f"{bars} (at most {max(counts)} {'flag' if max(counts) == 1 else 'flags'})"


_METRIC_NAMES = {
    "auroc": "AUROC",
    "auroc_mean_of_entities": "AUROC, mean of entities",
    "average_precision": "average precision",
    "vus_pr": "VUS-PR, mean of entities",
    "pixel_auroc": "pixel AUROC",
    "pixel_average_precision": "pixel average precision",
    "au_pro": "AU-PRO",
    "box_overlap": "overlap of boxes with marked regions (IoU)",
    "boxes_found": "share of images with a box of IoU 0.3",
    "event_precision": "event precision",
    "event_recall": "event recall",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "false_alarm_rate": "false-alarm rate",
    "missing_alarm_rate": "missing-alarm rate",
    "reconstruction_error": "reconstruction error of normal items",
    "psnr": "PSNR of normal items (dB)",
    "ssim": "SSIM of normal items",
    "active_units": "active share of the code",
    "class_accuracy": "classes, read from the codes",
    "class_accuracy_raw": "classes, read from the items",
    "class_majority": "classes, share of the largest",
}


def print_evaluation(comparison: Comparison) -> None:
    """Print the figures of detector, baselines and flag-everything side by side."""
    rows = comparison.rows
    first = rows[0]
    print(
        f"{comparison.pipeline}: {first.labelled} labelled items compared, {first.abnormal} of them abnormal; "
        f"{first.undecided} undecided ({first.undecided_abnormal} of them abnormal), {first.left_out} left out since the detector was fitted on them, "
        f"{comparison.unknown} not in the source or set aside."
    )
    names = [name for name in _METRIC_NAMES if any(name in row.metrics for row in rows)]
    print_table(
        ["figure", *(row.detector for row in rows)],
        [
            [
                _METRIC_NAMES[name],
                *(_with_interval(row.metrics.get(name), row.intervals.get(name)) for row in rows),
            ]
            for name in names
        ],
    )
    print("In brackets: 95 % intervals by block bootstrap.")
    print("Precision, recall, F1 and the rates are those of the pipeline's own threshold.")
    for row in rows:
        if row.promise is not None:
            print(_promise_line(row.detector, row.promise))


def _promise_line(detector: str, promise: PromiseCheck) -> str:
    came = f"{counted(promise.false_flags, 'false flag')} of {promise.flags:,} among {promise.normal_items:,} normal items"
    if promise.expected is None or promise.by_chance is None:
        return f"{detector}: {came}."
    low, high = promise.by_chance
    kept = "kept" if promise.kept else "not kept"
    return f"{detector}: {came}; expected {about(promise.expected)} ({low:,} to {high:,} by chance): promise {kept}."


def _with_interval(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None or interval is None:
        return _figure(value)
    return f"{_figure(value)} [{_figure(interval[0])}, {_figure(interval[1])}]"


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if value >= 0.01 or value == 0 else f"{value:.3g}"
