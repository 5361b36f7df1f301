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
    rest = {_DATE.sub("", folder, count=1) for folder in folders if _DATE.search(folder)}
    return len(folders) > 1 and len(rest) == 1 and all(map(_DATE.search, folders))
