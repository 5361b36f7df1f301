"""Whether folders are named by dates: then each is what one night brought."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_MONTH_AND_DAY = r"(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12][0-9]|3[01])"
_DATE = re.compile(rf"(19|20)[0-9]{{2}}[-_.]?({_MONTH_AND_DAY}|W[0-5][0-9])")


def are_dates(folders: Collection[str]) -> bool:
    """Whether two folders or more hold a date such as 2026-11-20, 20261120 or 2026-W47 in their names, and
    differ in nothing else: so their order as text is that of time."""
    dates = [_DATE.search(folder) for folder in folders]
    if len(folders) < 2 or not all(dates):
        return False
    return len({_DATE.sub(_form, folder, count=1) for folder in folders}) == 1


def _form(date: re.Match[str]) -> str:
    """Which digits and signs a date is made of: two of different forms do not sort by time."""
    return re.sub(r"[0-9]", "0", date[0])
