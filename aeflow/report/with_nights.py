"""A batch's page with the last nights beside it, as they stand now: what is sent to people in the morning.

The published page depends on its own batch alone. This one is that page, byte for byte, but for the section on
other nights: so nothing is drawn again, no detector is needed, and what it shows of the batch is what is proven.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from aeflow.exceptions import InputError, IntegrityError
from aeflow.numerics.proportion import wilson_interval
from aeflow.report.html import REPORT_FILE, page_environment
from aeflow.report.nights import flags_by_night, last_nights
from aeflow.report.reviewed import bound_verdicts
from aeflow.store.files import atomic_file, storage_errors
from aeflow.store.verdicts import Standing, open_verdicts, standing
from aeflow.wording import counted, moment, percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from aeflow.report.summary import Summary
    from aeflow.store.paths import Paths
    from aeflow.store.verdicts import Verdict

# In the template of the page; names of other people's data are escaped, so that none can look like one of them.
_BEGIN, _END = "<!-- other nights -->", "<!-- /other nights -->"


@dataclass(frozen=True)
class Reviewed:
    """How many flags hold for true, and how many for false."""

    true: int = 0
    false: int = 0

    @property
    def precision(self) -> str:
        """The share of true ones with its 95 % interval (Wilson), in figures; empty where nothing is decided."""
        decided = self.true + self.false
        if not decided:
            return ""
        low, high = wilson_interval(self.true, decided)
        return f"{percent(self.true / decided)} ({100 * low:.0f} to {100 * high:.0f} %)"


def write_page_with_nights(paths: Paths, batch: str, file: Path, *, zone: str, now: datetime) -> None:
    """Write the page of a published batch with the last nights up to it, and how many of their flags people
    called true.

    Args:
        paths: of the pipeline.
        batch: a published one.
        file: that is written, or written over.
        zone: IANA time zone of the time on it.
        now: which is shown, since what it says of the nights may be otherwise tomorrow.

    Raises:
        InputError: the file lies among the published reports.
        IntegrityError: the published page cannot be read, or has no place for the nights.
        StorageError: a report or the database cannot be read, or the file not be written.
    """
    if file.resolve().is_relative_to(paths.reports.resolve()):
        raise InputError(
            "expected a file outside of the published reports, which nothing is added to",
            where=str(file),
            remedy="Name another folder.",
        )
    published = paths.report(batch) / REPORT_FILE
    with storage_errors(published, "read the page"):
        page = published.read_text(encoding="utf-8")
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise IntegrityError(
            "the page has no place for other nights: it was changed, or made by an earlier version",
            where=str(published),
            remedy=f"Make it anew: aeflow score {paths.pipeline} --batch {batch} --force",
        )
    nights = last_nights(paths, until=batch)
    reviewed = _reviewed(paths, nights, open_verdicts(paths).all())
    section = _section(nights, reviewed, moment(now.replace(second=0, microsecond=0), zone), zone)
    with atomic_file(file) as opened:
        opened.write(f"{before}{section}{after}".encode())


def _reviewed(paths: Paths, nights: Sequence[Summary], said: Iterable[Verdict]) -> dict[str, Reviewed]:
    """Batch -> what holds of its flags, of each of the nights; counted as the query `trend` does."""
    counts = {night.batch: {Standing.TRUE: 0, Standing.FALSE: 0} for night in nights}
    bound = bound_verdicts(paths, (verdict for verdict in said if verdict.batch in counts))
    batch_of = {verdict.flag_id: verdict.batch for verdict in bound}
    for flag_id, holds in standing(bound).items():
        if holds in {Standing.TRUE, Standing.FALSE}:
            counts[batch_of[flag_id]][holds] += 1
    return {batch: Reviewed(of[Standing.TRUE], of[Standing.FALSE]) for batch, of in counts.items()}


def _section(nights: Sequence[Summary], reviewed: dict[str, Reviewed], when: str, zone: str) -> str:
    total = Reviewed(sum(of.true for of in reviewed.values()), sum(of.false for of in reviewed.values()))
    template = page_environment().get_template("with_nights.html.j2")
    return template.render(
        nights=[(night, reviewed[night.batch]) for night in reversed(nights)],
        plot=Markup(flags_by_night(nights)),  # noqa: S704 - the plot escapes
        said=_said(total, len(nights)),
        when=when,
        zone=zone,
    )


def _said(total: Reviewed, nights: int) -> str:
    """What people said of all of them."""
    decided = total.true + total.false
    if not decided:
        return f"None of the flags of {counted(nights, 'night')} has been called true or false yet."
    were = "was" if total.true == 1 else "were"
    return (
        f"People decided {counted(decided, 'flag')} of {counted(nights, 'night')}: {total.true:,} {were} true, a precision of "
        f"{total.precision}, with its 95 % interval in brackets."
    )
