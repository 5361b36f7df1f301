"""The page that people read: one file with everything inside, made of a report's stored files."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
import pyarrow.compute as pc
from markupsafe import Markup

from aeflow.config import Retraining
from aeflow.report.code_map import Mark, code_map
from aeflow.report.flag_cards import series_cards
from aeflow.report.flag_rows import flag_rows
from aeflow.report.image_cards import image_cards
from aeflow.report.night import night_of
from aeflow.report.plots import severity_plot
from aeflow.report.stored import FLAGS_FILE, SCORES_FILE
from aeflow.retraining import judge_nights
from aeflow.schemas import REASONS
from aeflow.store.files import storage_errors
from aeflow.wording import about, chance, counted, figure, lasting, moment, percent

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pyarrow as pa

    from aeflow.detector.exemplars import Exemplars
    from aeflow.report.receipt import Receipt
    from aeflow.report.summary import Grade, Summary
    from aeflow.report.survey import Survey
    from aeflow.retraining import Judgement

REPORT_FILE = "report.html"
_LISTED = 1_000
"""Flags in the table; `flags.parquet` holds all."""
_SUPPRESSED = 200
_MAPPED = 300
_ENTITIES = 20
_EXAMPLES = 3


@dataclass(frozen=True)
class PageOptions:
    """How the page shows a batch. zone: IANA time zone of all times on it; pictured_flags: how many flags
    get pictures or a plot; context_points: shown before and after an event; exemplars: normal items that the
    detector keeps, for the map; lag_points: as of the pipeline, and cadence_seconds, the length of one, where all
    entities have the same."""

    zone: str = "UTC"
    pictured_flags: int = 200
    context_points: int = 60
    exemplars: Exemplars | None = None
    lag_points: int = 0
    cadence_seconds: float | None = None


def write_page(
    folder: Path,
    summary: Summary,
    receipt: Receipt,
    survey: Survey,
    *,
    quarantine: Iterable[pa.RecordBatch],
    options: PageOptions,
) -> None:
    """Write `report.html` beside the scores and flags in `folder`.

    Args:
        folder: where `scores.parquet` and `flags.parquet` lie.
        summary: of the batch; receipt: of the same.
        receipt: shown at the end.
        survey: of the scores.
        quarantine: rows of `schemas.QUARANTINE`, from which examples are taken.
        options: zone, pictures, context.

    Raises:
        IntegrityError: a stored picture or file cannot be read.
        StorageError: the page cannot be written.
    """
    page = render_page(folder, summary, receipt, survey, quarantine=quarantine, options=options)
    path = folder / REPORT_FILE
    with storage_errors(path, "write the page"):
        path.write_bytes(page.encode())


def render_page(
    folder: Path,
    summary: Summary,
    receipt: Receipt,
    survey: Survey,
    *,
    quarantine: Iterable[pa.RecordBatch],
    options: PageOptions,
) -> str:
    """The page as text; see `write_page`."""
    flags, scores = folder / FLAGS_FILE, folder / SCORES_FILE
    if summary.kind == "images":
        cards = image_cards(flags, scores, limit=options.pictured_flags)
    else:
        cards = series_cards(
            flags,
            scores,
            survey.channels,
            limit=options.pictured_flags,
            context_points=options.context_points,
            zone=options.zone,
        )
    template = page_environment().get_template("report.html.j2")
    return template.render(
        summary=summary,
        receipt=receipt,
        cards=cards,
        listed=_listed(flags, options.zone),
        hidden_flags=max(summary.flags - _LISTED, 0),
        by_entity=_by_entity(flags) if summary.kind == "series" else [],
        severity_plot=_severity_plot(survey),
        quarantine=_examples(quarantine, summary.quarantined, options.zone),
        reasons=REASONS,
        weak_grades=_weak_grades(summary),
        period=_period(summary, options.zone),
        zone=options.zone,
        thing="point" if summary.kind == "series" else "image",
        script_hash=_script_hash(),
        survey_has_cut=survey.cut_p_value is not None,
        suppressed=_suppressed(flags, options.zone),
        drift=_drift(summary),
        lag=_lag(options),
        code_map=_code_map(flags, options.exemplars, pictured=len(cards)),
    )


def templates_of(package: str) -> jinja2.Environment:
    """The templates of a package. Escaping is on for each, whatever its suffix: names come from other people's
    data."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def page_environment() -> jinja2.Environment:
    """The templates of pages, with the words and numbers that they use."""
    environment = templates_of("aeflow.report")
    environment.filters |= {
        "about": about,
        "chance": chance,
        "counted": counted,
        "figure": figure,
        "percent": percent,
    }
    return environment


def _script_hash() -> str:
    """By which the page's policy knows its own script: no other one runs, even if escaping failed."""
    script = page_environment().get_template("report.js").render()
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def _severity_plot(survey: Survey) -> Markup:
    things = "points" if survey.kind == "series" else "images"
    beyond = int(survey.severities[survey.severities.size // 2 :].sum())
    label = f"Severity of {survey.scored:,} {things} on a logarithmic scale: {beyond:,} at or beyond the cut of 50"
    return Markup(severity_plot(survey.severities, survey.cut_p_value, label=label))  # noqa: S704 - plots escape


def _weak_grades(summary: Summary) -> list[Grade]:
    """What is not in full health, the worst first."""
    weak = [grade for grade in summary.grades if grade.grade != "HIGH"]
    return sorted(weak, key=lambda grade: grade.grade != "LOW")


def _period(summary: Summary, zone: str) -> str:
    if summary.start is None or summary.end is None:
        return ""
    span = lasting(summary.end - summary.start)
    return f"{moment(summary.start, zone)} to {moment(summary.end, zone)} ({span})"


def _lag(options: PageOptions) -> str:
    """How far a score looks back, in words; empty where it does not."""
    if not options.lag_points:
        return ""
    points = counted(options.lag_points, "point")
    if options.cadence_seconds is None:
        return points
    return f"{points} ({lasting(timedelta(seconds=options.lag_points * options.cadence_seconds))})"


def _listed(flags: Path, zone: str) -> list[dict[str, Any]]:
    """The first flags as rows of the table."""
    columns = ["flag_id", "entity", "item", "start", "severity", "p_value", "channels"]
    return [
        {
            "flag_id": row["flag_id"],
            "name": row["item"] or row["entity"],
            "when": moment(row["start"], zone) if row["start"] else "",
            "severity": f"{row['severity']:.0f}",
            "chance": chance(row["p_value"]),
            "channel": row["channels"][0]["channel"] if row["channels"] else "",
        }
        for row in flag_rows(flags, columns, limit=_LISTED)
    ]


def _suppressed(flags: Path, zone: str) -> list[dict[str, Any]]:
    """The most severe flags that count as none, since they are like one that was called false."""
    columns = ["flag_id", "entity", "item", "start", "severity"]
    columns += ["suppressed_by", "suppressed_reason", "suppressed_until"]
    return [
        row
        | {
            "name": row["item"] or row["entity"],
            "when": moment(row["start"], zone) if row["start"] else "",
            "severity": f"{row['severity']:.0f}",
            "until": moment(row["suppressed_until"], zone) if row["suppressed_until"] else "",
        }
        for row in flag_rows(flags, columns, suppressed=True, limit=_SUPPRESSED)
    ]


def _drift(summary: Summary) -> Judgement | None:
    """What the night says by itself; several nights may say more (`aeflow retrain`). Judged by the usual rule,
    not the pipeline's own: how it is retrained is no part of the receipt, and must not change the page."""
    return None if summary.drift is None else judge_nights((night_of(summary),), Retraining())


def _code_map(flags: Path, exemplars: Exemplars | None, *, pictured: int) -> Markup | None:
    """The flags among the normal items; None where the detector keeps none, or has several networks, whose
    codes have nothing in common, or where nothing was flagged."""
    columns = ["item", "entity", "pipeline", "severity", "signature"]
    numbered = enumerate(flag_rows(flags, columns, limit=_MAPPED), start=1)
    rows = [(number, row) for number, row in numbered if row["signature"]]
    if exemplars is None or not exemplars.comparable or not rows:
        return None
    places = exemplars.places(np.array([row["signature"] for _, row in rows]))
    marks = [
        Mark(
            number if number <= pictured else 0,
            f"flag {number}, {row['item'] or row['entity'] or row['pipeline']}, severity {row['severity']:.0f}",
            place,
        )
        for (number, row), place in zip(rows, places, strict=True)
    ]
    label = f"Map of the codes of {len(exemplars.names)} normal items and {counted(len(marks), 'flag')}"
    normal = exemplars.places(exemplars.signatures)
    return Markup(code_map(normal, marks, label=label))  # noqa: S704 - the map escapes


def _by_entity(flags: Path) -> list[dict[str, Any]]:
    """The entities with most flags: name, flags, highest severity, share of the largest count."""
    counts: Counter[str] = Counter()
    highest: dict[str, float] = {}
    for row in flag_rows(flags, ["entity", "severity"]):
        counts[row["entity"]] += 1
        highest[row["entity"]] = max(row["severity"], highest.get(row["entity"], 0.0))
    most = max(counts.values(), default=1)
    ranked = sorted(counts, key=lambda name: (-counts[name], -highest[name], name))[:_ENTITIES]
    return [
        {
            "name": name,
            "flags": counts[name],
            "severity": f"{highest[name]:.0f}",
            "share": counts[name] / most,
        }
        for name in ranked
    ]


def _examples(
    quarantine: Iterable[pa.RecordBatch], counts: dict[str, int], zone: str
) -> list[dict[str, Any]]:
    """For each reason its count and the first rows set aside for it, most frequent reason first."""
    shown: dict[str, list[dict[str, Any]]] = {reason: [] for reason in counts}
    missing = sum(min(count, _EXAMPLES) for count in counts.values())
    for batch in quarantine:
        for reason, examples in shown.items():
            wanted = _EXAMPLES - len(examples)
            rows = batch.filter(pc.equal(batch.column("reason"), reason)).slice(0, wanted).to_pylist()
            examples += [_example(row, zone) for row in rows]
            missing -= len(rows)
        if missing <= 0:
            break
    ranked = sorted(counts, key=lambda reason: (-counts[reason], reason))
    return [{"reason": reason, "count": counts[reason], "examples": shown[reason]} for reason in ranked]


def _example(row: dict[str, Any], zone: str) -> dict[str, str]:
    place = row["file"] or ""
    if row["row"] is not None:
        place += f", row {row['row']:,}"
    parts = [row["entity"], moment(row["timestamp"], zone) if row["timestamp"] else "", row["detail"]]
    return {"place": place, "what": "; ".join(part for part in parts if part), "rule": row["rule"] or ""}
