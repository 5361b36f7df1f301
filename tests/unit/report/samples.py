"""Scores and flags as the scoring stage leaves them, of real images and series; the scores are made up."""

from __future__ import annotations

import hashlib
import json
import warnings
from datetime import UTC, datetime, timedelta
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from aeflow import schemas
from aeflow.report.promise import make_promise
from aeflow.report.receipt import Provenance
from aeflow.report.summary import BatchFacts

CUT = 1e-3
PROVENANCE = Provenance(
    input_digest="1" * 64,
    config_digest="2" * 64,
    detector_digest="3" * 64,
    calibration_digest="4" * 64,
    seed=0,
    device="cpu",
)


def facts(rows_in, *, quarantined=None, **more):
    given = {
        "pipeline": "pumps",
        "batch": "2026-11-20",
        "detector_version": 3,
        "promise": make_promise("false_flags_per_batch", 1.0, expected_false_flags_per_batch=0.97),
    }
    return BatchFacts(rows_in=rows_in, quarantined=quarantined or {}, **{**given, **more})


def quarantine(rows):
    """Rows of the stored quarantine from (reason, file, row, detail)."""
    full = [
        {"batch": "2026-11-20", "entity": "", "file": f, "row": n, "reason": r, "rule": "a rule", "detail": d}
        for r, f, n, d in rows
    ]
    return pa.Table.from_pylist(full, schema=schemas.QUARANTINE).to_batches()


def water_flow():
    """Two channels of the real water-flow series, hourly: the flow and its change; `(L, 2)`."""
    from river.datasets import WaterFlow

    flow = np.array([value for _, value in WaterFlow()])
    return np.stack([flow, np.gradient(flow)], axis=1)


def write_series(
    folder,
    values,
    *,
    channels=("flow", "change"),
    context=8,
    rows_per_group=500,
    start=datetime(2022, 3, 20, 11, tzinfo=UTC),
    step=timedelta(hours=1),
    cut=CUT,
):
    """Score each entity of `values` (name -> `(L, C)`) against a running median and write the files.

    Returns the number of rows; the first `context` of each entity are not scorable.
    """
    rows, flags = [], []
    for entity in sorted(values):
        of_entity, found = _entity(
            entity, values[entity], channels, context=context, start=start, step=step, cut=cut
        )
        rows += of_entity
        flags += found
    _write(
        folder / "scores.parquet",
        rows,
        schemas.SERIES_SCORES,
        kind="series",
        channels=channels,
        rows_per_group=rows_per_group,
    )
    _write_flags(folder, flags, "series", channels)
    return len(rows)


def _entity(entity, observed, channels, *, context, start, step, cut):
    windows = np.lib.stride_tricks.sliding_window_view(observed, context, axis=0)
    expected = np.full(observed.shape, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a window without any value
        expected[context:] = np.nan_to_num(np.nanmedian(windows[:-1], axis=2))
    residual = np.nan_to_num(observed - expected)
    parts = (residual / np.quantile(np.abs(residual), 0.9, axis=0)) ** 2 / observed.shape[1]
    score = parts.sum(axis=1)
    p_value = np.clip(np.exp(-score / 4), 1e-300, 1)
    severity = np.clip(50 * np.log(p_value) / np.log(cut), 0, 100)
    scored = (np.arange(len(score)) >= context) & ~np.isnan(observed).all(axis=1)
    flagged = scored & (p_value <= cut)
    flagged_rows = np.flatnonzero(flagged)
    events = (
        np.split(flagged_rows, np.flatnonzero(np.diff(flagged_rows) > 4) + 1) if flagged_rows.size else []
    )
    name_of = {int(i): _id(entity, int(e[0])) for e in events for i in e}
    times = [start + step * i for i in range(len(score))]
    rows = [
        {
            "entity": entity,
            "timestamp": times[i],
            "state": "scored" if scored[i] else "not_scorable",
            "reason": None if scored[i] else "no_context",
            "score": float(score[i]) if scored[i] else None,
            "p_value": float(p_value[i]) if scored[i] else None,
            "severity": float(severity[i]) if scored[i] else None,
            "flag": bool(flagged[i]) if scored[i] else None,
            "flag_id": name_of.get(i),
            "channel": channels[int(np.argmax(parts[i]))] if scored[i] else None,
            "contributions": parts[i].tolist() if scored[i] else None,
            "observed": [None if np.isnan(v) else float(v) for v in observed[i]],
            "expected": expected[i].tolist() if scored[i] else None,
        }
        for i in range(len(score))
    ]
    found = []
    for event in events:
        peak = int(event[np.argmax(score[event])])
        found.append(
            {
                "flag_id": name_of[int(event[0])],
                "pipeline": "pumps",
                "batch": "2026-11-20",
                "entity": entity,
                "start": times[event[0]],
                "peak": times[peak],
                "end": times[event[-1]],
                "points": len(event),
                "score": float(score[peak]),
                "p_value": float(p_value[peak]),
                "severity": float(severity[peak]),
                "channels": _shares(channels, parts[peak], rows[peak]["observed"], rows[peak]["expected"]),
            }
        )
    return rows, found


def write_images(folder, images, *, names=None, flagged=3, channels=("grey",), pictured=200):
    """Flag the last `flagged` of `images` (`(N, H, W)` in 0..1), with the mean of the rest as expected."""
    normal = images[: len(images) - flagged].mean(axis=0)
    names = names or [f"line-1/digit-{i:04d}.png" for i in range(len(images))]
    rows, flags = [], []
    for i, image in enumerate(images):
        error = (image - normal) ** 2
        is_flag = i >= len(images) - flagged
        severity = 55.0 + i % 40 if is_flag else float(50 * i / len(images))
        row = {
            "item": names[i],
            "sha256": f"{i:064x}",
            "width_px": 4 * image.shape[1],
            "height_px": 5 * image.shape[0],
            "state": "scored",
            "score": float(error.mean()),
            "p_value": float(CUT ** (severity / 50)),
            "severity": severity,
            "flag": is_flag,
            "flag_id": _id(names[i], 0) if is_flag else None,
            "channel": channels[0],
            "contributions": [float(error.mean())],
        }
        rows.append(row)
        if is_flag:
            common = {k: row[k] for k in ("flag_id", "item", "sha256", "score", "p_value", "severity")}
            shares = _shares(channels, np.array(row["contributions"]), None, None)
            pictures = {
                "image_png": png(image),
                "reconstruction_png": png(normal),
                "heatmap_png": png(error / max(error.max(), 1e-9)),
            }
            y, x = np.unravel_index(np.argmax(error), error.shape)
            box = {"x_px": 4 * int(x), "y_px": 5 * int(y), "width_px": 8, "height_px": 10, "share": 0.4}
            flags.append(
                {
                    **common,
                    "pipeline": "digits",
                    "batch": "b1",
                    "entity": "",
                    "channels": shares,
                    "boxes": [box],
                    **(pictures if len(flags) < pictured else {}),
                }
            )
    _write(folder / "scores.parquet", rows, schemas.IMAGE_SCORES, kind="images", channels=channels)
    _write_flags(folder, flags, "images", channels)
    return len(rows)


def digits(count):
    """Real handwritten digits, `(count, 8, 8)` in 0..1."""
    from sklearn.datasets import load_digits

    return (load_digits().images[:count] / 16).astype(np.float32)


def png(pixels):
    file = BytesIO()
    Image.fromarray(np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)).save(file, format="PNG")
    return file.getvalue()


def _id(name, row):
    return hashlib.sha256(f"{name} {row}".encode()).hexdigest()[:16]


def _shares(channels, parts, observed, expected):
    order = np.argsort(-parts, kind="stable")
    return [
        {
            "channel": channels[c],
            "share": float(parts[c] / parts.sum()) if parts.sum() else 1 / len(parts),
            "contribution": float(parts[c]),
            "observed": None if observed is None else observed[c],
            "expected": None if expected is None else expected[c],
        }
        for c in order
    ]


def _write_flags(folder, flags, kind, channels):
    ordered = sorted(flags, key=lambda flag: (-flag["severity"], flag["flag_id"]))
    _write(folder / "flags.parquet", ordered, schemas.FLAGS, kind=kind, channels=channels)


def _write(path, rows, schema, *, kind, channels, rows_per_group=500):
    metadata = {
        **schema.metadata,
        b"aeflow.kind": kind.encode(),
        b"aeflow.channels": json.dumps(channels).encode(),
    }
    table = pa.Table.from_pylist(rows, schema=schema.with_metadata(metadata))
    pq.write_table(table, path, row_group_size=rows_per_group, compression="zstd")
