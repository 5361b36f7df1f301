"""Writes the reference pages and the comments of configs/ from the code: `make docs`. A test keeps them up to date."""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path
from typing import Any

import calibration_page
import configs_text
import detection_page
import models_page
import pyarrow as pa
from pydantic import BaseModel

from aeflow import schemas
from aeflow.config import PipelineConfig, json_schema
from aeflow.report.queries import shipped_queries
from aeflow.review.exchange_label_studio import INTERFACE_OF_IMAGES, INTERFACE_OF_SERIES

FOLDER = Path(__file__).parent


def pages() -> dict[str, str]:
    """File name -> content of every generated page."""
    return {
        "pipeline.md": pipeline_page(),
        "reports.md": reports_page(),
        "calibration.md": calibration_page.page(),
        "models.md": models_page.page(),
        "detection.md": detection_page.page(),
        "pipeline.schema.json": json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n",
    }


def pipeline_page() -> str:
    """Every key of a pipeline's YAML."""
    lines = [
        "# The pipeline file",
        "",
        "Generated from the code by `make docs`. `aeflow init` writes a complete file; every key has the default below where one",
        "is given. Unknown keys are refused with the nearest known one. Editors complete and check the file with",
        "[pipeline.schema.json](pipeline.schema.json): put `# yaml-language-server: $schema=<path>` on its first line.",
        "",
    ]
    for name, model in _sections(PipelineConfig):
        lines += [
            f"## {name}",
            "",
            " ".join((model.__doc__ or "").split()),
            "",
            "| key | values | default | meaning |",
            "|---|---|---|---|",
        ]
        for key, field in model.model_fields.items():
            default = (
                "needed" if field.is_required() else _default(field.get_default(call_default_factory=True))
            )
            lines.append(
                f"| `{key}` | {_values(model, key)} | {default} | {' '.join((field.description or '').split())} |"
            )
        lines.append("")
    return "\n".join(lines)


def reports_page() -> str:
    """Every stored table, and every reason code."""
    meanings = _comments()
    lines = [
        "# Report files",
        "",
        f"Generated from the code by `make docs`. Schema version {schemas.VERSION}: a new column may come, none changes its meaning.",
        "",
        "A report lies in `<home>/reports/<pipeline>/batch=<id>/`: `scores.parquet` (every item), `flags.parquet` (one row a flagged",
        "image or event), `precedents.parquet` (reviewed flags that decided something, see [verdicts](verdicts.md)), `summary.json`,",
        "`receipt.json`, `report.html`. Nothing in it depends on when, where or how fast it was made.",
        "The names of the channels, in the order of the lists, stand in the Parquet metadata under `aeflow.channels`.",
        "",
        "## The page",
        "",
        "`report.html` is one file with everything inside: it opens from a mail attachment, without a network, light or dark, and prints",
        "two flags to a page. With 200 flags it is smaller than 3 MB. First stands what was scored, set aside, promised and found, what the",
        "drift of the night says, the channels' health, and the detector; then the flags, the most severe first (`j` and `k` step",
        "through them); then the scores against those of the calibration, the flags among normal items, entities, checks and the receipt.",
        "",
        "![Flagged images: as they came, what was expected, where they differ, and the normal images most like them](images/report-images.png)",
        "",
        "An event shows each channel that caused it: observed, filled in where values or rows were missing, expected within its band, and",
        "the severity with its cut. Were every channel at the edge of its band, the score would be at the cut. Pointing at a plot or the arrow",
        "keys read it; dragging, or `+` and `-`, zoom; Escape shows all of it. Where a score is a mean over the last points",
        "(`scoring.smooth_points`) or of a whole window (`scoring.points: window`), an event lasts longer than its cause, which may have begun and",
        "ended that much earlier: with 20 points of half an hour a fault of two hours becomes an event of eight hours and more. The page says how much.",
        "",
        "![An event of a series: three channels leave what was expected; below them the severity with its cut, and the share of each channel](images/report-series.png)",
        "",
        "The page depends on its own batch alone: the same bytes come of a nightly run, of a backfill that scores many nights side by",
        "side and in any order, and of `aeflow verify`. A plot of other nights in it would hang on which of them were there by then, and would",
        "be wrong as soon as one of them is scored again. So the flags of the last thirty nights stand beside the reports, in",
        "`<home>/reports/<pipeline>/index.html`, which is written anew after every batch, each night with its report; the page names it, but does not",
        "link to it: in a mail attachment that would lead nowhere. `aeflow report CONFIG` prints them, too.",
        "",
        "What is sent in the morning is another file: `aeflow report CONFIG --page FILE` (`--batch ID` for another than the last) writes the",
        "published page with the thirty nights up to it in place of the section on other nights: how many flags each had, how many were",
        "expected, how many people called true and false, and the precision with its 95 % interval (Wilson), all as it stands at the time that the",
        "page names. `--open` opens such a page in the browser; it lies in `<home>/cache/pages/<pipeline>/`, which is safe to delete. The published",
        "folder and its receipt stay as they are.",
        "",
        "![Flags of five nights as bars with how many were expected by chance, and a table of how many of them people called true and false](images/report-nights.png)",
        "",
        "The pictures of this page and of [reviewing](review.md) are made anew by `python -m benchmarks.screenshots`.",
        "",
        "## Other files",
        "",
        "`embeddings.parquet` is written by `aeflow embed` into `<home>/embeddings/<pipeline>/batch=<id>/`, `restored.parquet` by",
        "`aeflow restore` into `<home>/restored/<pipeline>/batch=<id>/`. `aeflow evaluate --scores FILE` writes what it compared, item by item,",
        "for figures and plots of one's own.",
        "",
    ]
    tables = {
        "scores.parquet of series": (schemas.SERIES_SCORES, "SERIES_SCORES"),
        "scores.parquet of images": (schemas.IMAGE_SCORES, "IMAGE_SCORES"),
        "flags.parquet": (schemas.FLAGS, "FLAGS"),
        "precedents.parquet": (schemas.PRECEDENTS, "PRECEDENTS"),
        "quarantine": (schemas.QUARANTINE, "QUARANTINE"),
        "embeddings.parquet of images": (schemas.IMAGE_EMBEDDINGS, "IMAGE_EMBEDDINGS"),
        "embeddings.parquet of series": (schemas.SERIES_EMBEDDINGS, "SERIES_EMBEDDINGS"),
        "restored.parquet of images": (schemas.RESTORED_IMAGES, "RESTORED_IMAGES"),
        "restored.parquet of series": (schemas.RESTORED_SERIES, "RESTORED_SERIES"),
        "aeflow evaluate --scores": (schemas.COMPARED, "COMPARED"),
        "batches (aeflow sql)": (schemas.BATCHES, "BATCHES"),
        "verdicts (aeflow sql)": (schemas.VERDICTS, "VERDICTS"),
        "standings (aeflow sql)": (schemas.STANDINGS, "STANDINGS"),
    }
    nested = {
        "channels": meanings["_CHANNEL_SHARE"],
        "boxes": meanings["_BOX"],
        "neighbours": meanings["_NEIGHBOUR"],
    }
    for title, (schema, variable) in tables.items():
        lines += [f"## {title}", "", "| column | type | meaning |", "|---|---|---|"]
        for field in schema:
            lines.append(f"| `{field.name}` | {_type(field.type)} | {meanings[variable][field.name]} |")
            lines += [
                f"| `{field.name}.{inner.name}` | {_type(inner.type)} | {nested[field.name][inner.name]} |"
                for inner in _inner(field.type)
            ]
        lines.append("")
    lines += _sql_lines()
    lines += _exchange_lines()
    lines += ["## Reasons", "", "| code | meaning |", "|---|---|"]
    lines += [f"| `{code}` | {meaning} |" for code, meaning in schemas.REASONS.items()]
    return "\n".join([*lines, ""])


def _exchange_lines() -> list[str]:
    """The forms in which verdicts go out and come back."""
    return [
        "## Verdicts in and out",
        "",
        "`aeflow verdicts CONFIG --export FILE --format FORM` writes every flag with all that was said of it, `--import FILE` keeps what",
        "a file says: appended, all or nothing, and a file that is given twice changes nothing.",
        "",
        "| form | what it is | what is read of it |",
        "|---|---|---|",
        "| `csv` | a row a flag and saying, for a spreadsheet | `flag_id`, `verdict`; `reviewer`, `at`, `note` where they are there |",
        "| `label-studio` | JSON: a task a flag, an annotation a saying, its regions as a prediction | `data.flag_id` of each task, and of its annotations the choice `verdict`, the texts `note` and `reviewer` |",
        "| `coco` | JSON: images, and an annotation for each region and saying, whose category is the word | the category of each annotation; `attributes.flag_id`, `reviewer`, `at`, `note`. A flag is true if one of its regions is |",
        "",
        "The labelling interface for Label Studio; `$image` is the path below the source's root, served by a local storage there:",
        "",
        "```xml",
        *INTERFACE_OF_IMAGES.splitlines(),
        "```",
        "",
        "For a series:",
        "",
        "```xml",
        *INTERFACE_OF_SERIES.splitlines(),
        "```",
        "",
    ]


def _sql_lines() -> list[str]:
    """How to ask the reports by SQL, and the queries that come along."""
    lines = [
        "## SQL over all reports",
        "",
        "`aeflow sql CONFIG QUERY` asks every report of a pipeline at once, with DuckDB: QUERY is the name of one of the queries",
        "below, a file that ends in `.sql`, or SQL itself. `--csv FILE` and `--parquet FILE` write the answer, `--json` prints it,",
        "`--set NAME=VALUE` binds a parameter `$NAME`, `--list` shows every view and column. A query is one SELECT; it reaches the",
        "views and nothing else: no other file, no network, no setting. Memory is limited to 1 GB, beyond which DuckDB uses the disk.",
        "",
        "| view | what it is |",
        "|---|---|",
        "| `flags` | `flags.parquet` of every report |",
        "| `scores` | `scores.parquet` of every report, with `batch` from the folder's name; `where batch = ...` opens no other file |",
        "| `quarantine` | what was set aside, of batches without a report too |",
        "| `batches` | a row a report, of its `summary.json` |",
        "| `verdicts` | everything that was said, in its order, each word on the flag that it binds now |",
        "| `standings` | what holds of each flag after all that was said |",
        "",
        "`precision_of`, `precision_low` and `precision_high` take the numbers of confirmed and refuted flags and give their precision",
        "with its 95 % interval (Wilson, 1927).",
        "",
        "| query | what it tells | parameters |",
        "|---|---|---|",
    ]
    for query in shipped_queries().values():
        parameters = "; ".join(f"`${p.name}` = {p.default}: {p.meaning}" for p in query.parameters)
        parameters = parameters or "none"
        lines.append(f"| `{query.name}` | {query.about} | {parameters} |")
    return [
        *lines,
        "",
        "The queries lie in `sql/reports/`; copy one to begin your own, with comments of the same form at its head. Other tools read",
        "the same files. In DuckDB's own shell: `select * from read_parquet('.aeflow/reports/pumps/*/flags.parquet', union_by_name = true)`;",
        "in pandas: `pd.read_parquet('.aeflow/reports/pumps/batch=2026-11-20/flags.parquet', partitioning=None)`. Folders that begin with",
        "another word than `batch=` are no reports, and a report appears whole or not at all, so it can be read at any time.",
        "",
    ]


def _sections(
    model: type[BaseModel], name: str = "(top level)", beside: tuple[type[BaseModel], ...] = ()
) -> list[tuple[str, type[BaseModel]]]:
    """Name and class of a section and of those below it, but for those that stand `beside` it already."""
    found = [(name, model)]
    for key, field in model.model_fields.items():
        choices = _models(field.annotation)
        for inner in choices:
            if inner in beside:
                continue
            tag = next(
                (str(inner.model_fields[t].default) for t in ("kind", "family") if t in inner.model_fields),
                "",
            )
            below = key if name == "(top level)" else f"{name}.{key}"
            found += _sections(inner, f"{below} ({tag})" if tag else below, (*beside, *choices))
    return found


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for arg in getattr(annotation, "__args__", ()) for m in _models(arg)]


def _values(model: type[BaseModel], key: str) -> str:
    schema = model.model_json_schema()["properties"][key]
    return _words(schema).replace("|", "\\|")


def _words(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "anyOf" in schema:
        return " or ".join(_words(one) for one in schema["anyOf"])
    if "$ref" in schema or "oneOf" in schema or schema.get("allOf"):
        return "section"
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    kind = {"null": "null", "array": "list", "object": "mapping"}.get(
        schema.get("type", ""), schema.get("type", "any")
    )
    return " ".join([kind, *(f"{sign} {schema[k]:g}" for k, sign in signs.items() if k in schema)])


def _default(value: Any) -> str:
    if isinstance(value, BaseModel):
        return "see its section"
    return f"`{json.dumps(value, default=_plain)}`"


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


def _type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"list of {_type(kind.value_type)}"
    return "struct" if pa.types.is_struct(kind) else str(kind)


def _inner(kind: pa.DataType) -> list[pa.Field]:
    inner = kind.value_type if pa.types.is_list(kind) else kind
    return list(inner) if pa.types.is_struct(inner) else []


def _comments() -> dict[str, dict[str, str]]:
    """Variable of `schemas.py` -> column -> the comment behind it: each meaning is said in one place."""
    source = inspect.getsource(schemas)
    lines = source.splitlines()
    found: dict[str, dict[str, str]] = {}
    for statement in ast.parse(source).body:
        target = (
            statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        )
        if not isinstance(target, ast.Name):
            continue
        own = found.setdefault(target.id, {})
        for node in ast.walk(statement):
            if isinstance(node, ast.Starred) and isinstance(node.value, ast.Name):
                own |= found[node.value.id]
            if isinstance(node, ast.Tuple) and len(node.elts) == 2 and isinstance(node.elts[0], ast.Constant):
                comment = lines[node.lineno - 1].partition("  # ")[2]
                own[str(node.elts[0].value)] = comment.replace("|", "or")
    return found


if __name__ == "__main__":
    for page, content in pages().items():
        (FOLDER / page).write_text(content, encoding="utf-8")
    for config in sorted(configs_text.FOLDER.glob("*.yaml")):
        config.write_text(configs_text.renewed(config), encoding="utf-8")
