"""What a run shows in the Prefect UI: progress, a summary in words, the top flags as a table, and where the
report is.

Does nothing where no Prefect server follows the run.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from aeflow.report.flag_rows import flag_rows
from flows.io_tasks import tracked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from uuid import UUID

_TOP_FLAGS = 20
_STEP_PERCENT = 5.0


def show_summary(key: str, markdown: str) -> None:
    """A run's summary; `key` names the artifact over all its runs."""
    if tracked():
        from prefect.artifacts import create_markdown_artifact  # noqa: PLC0415 - seconds that a server costs

        create_markdown_artifact(markdown=markdown, key=_key(key), description="What came of the run")


def show_report(key: str, report: Path) -> None:
    """A link to the page of a report, and how it is opened where the browser may not follow it."""
    if not tracked():
        return
    from prefect.artifacts import create_link_artifact  # noqa: PLC0415

    create_link_artifact(
        link=report.resolve().as_uri(),
        link_text=f"{report.parent.name} of {report.parent.parent.name}",
        key=_key(key),
        description=f"The report, on the machine that scored: `{report.resolve()}`. Browsers do not follow such a link "
        "from other pages: open it by `aeflow report CONFIG --open`.",
    )


def show_flags(key: str, flags: Path) -> None:
    """The most severe flags of a report as a table."""
    if not tracked():
        return
    from prefect.artifacts import create_table_artifact  # noqa: PLC0415

    columns = ["severity", "entity", "item", "start", "end", "p_value", "flag_id"]
    rows = flag_rows(flags, columns, limit=_TOP_FLAGS)
    shown = [{k: _cell(row[k]) for k in columns if row[k] not in (None, "")} for row in rows]
    create_table_artifact(table=shown, key=_key(key), description="The most severe flags")


def progress_shown(key: str) -> Callable[[float], None]:
    """A function that takes a share 0..1 and moves a progress bar in the UI, every five per cent."""
    if not tracked():
        return lambda _share: None
    from prefect.artifacts import create_progress_artifact, update_progress_artifact  # noqa: PLC0415

    artifact = cast("UUID", create_progress_artifact(progress=0.0, key=_key(key), description="Items scored"))
    shown = 0.0

    def move(share: float) -> None:
        nonlocal shown
        percent = 100.0 * share
        if percent - shown >= _STEP_PERCENT or (percent >= 100.0 > shown):
            shown = percent
            update_progress_artifact(artifact, progress=percent)

    return move


def _key(text: str) -> str:
    """Prefect takes lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _cell(value: object) -> str | float:
    return round(value, 4) if isinstance(value, float) else str(value)
