"""Verdicts as a COCO data set: an annotation for each region of a flagged image and each saying of it.

The category is the word: true, false, unsure, retracted, or open where nothing was said. Which flag, who said
it and when stand in `attributes`, as CVAT keeps them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from aeflow.exceptions import SourceError
from aeflow.review.exchange_documents import expect, known_flag, make_verdict, read_document, write_document
from aeflow.review.verdict_file import time_of
from aeflow.store.verdicts import Word

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from aeflow.review.verdict_file import Flag, Known
    from aeflow.store.verdicts import Verdict

_OPEN = "open"
CATEGORIES = (_OPEN, *map(str, Word))
_REMEDY = "Give a COCO data set: an object with images, categories and annotations."
# Of several regions of one image the first of these that any has: a flag is true if a region is.
_STRONGEST = (Word.TRUE, Word.FALSE, Word.UNSURE, Word.RETRACTED)


def write_dataset(path: Path, pipeline: str, flags: Iterable[Flag], said: Mapping[str, list[Verdict]]) -> int:
    """Write every flagged image with all that was said of it. Returns the number of images.

    Raises:
        SourceError: a flag is of no image.
        StorageError: the file cannot be written.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, flag in enumerate(flags, start=1):
        if not flag.item:
            raise SourceError(
                "COCO is for regions of images, and these flags are of a series",
                where=pipeline,
                remedy="Take --format csv or label-studio.",
            )
        size = {"width": flag.width_px, "height": flag.height_px}
        images.append({"id": number, "file_name": flag.item, **size})
        for part in _annotations(flag, said.get(flag.flag_id, [])):
            annotations.append({"id": len(annotations) + 1, "image_id": number, **part})
    categories = [{"id": k, "name": name} for k, name in enumerate(CATEGORIES, start=1)]
    info = {"description": f"flags of {pipeline} and what was said of them"}
    write_document(
        path, {"info": info, "images": images, "categories": categories, "annotations": annotations}
    )
    return len(images)


def read_dataset(path: Path, known: Known) -> list[Verdict]:
    """The verdicts in a data set. A flag is known by `attributes.flag_id`, else by the path of its image
    where that was flagged once. Regions of one flag that the same person judged at the same time are one
    verdict: true if one of them is, else false, else unsure.

    Raises:
        SourceError: it cannot be read, is not of that form, or names a flag that is not known.
    """
    dataset = expect(read_document(path, remedy=_REMEDY), dict, str(path))
    names = _by_id(dataset, "categories", "name", path)
    files = _by_id(dataset, "images", "file_name", path)
    by_file = _flags_of_files(known.flags)
    together: dict[tuple[str, str, datetime], list[Verdict]] = defaultdict(list)
    timed: set[tuple[str, str, datetime]] = set()
    for number, one in enumerate(expect(dataset.get("annotations"), list, f"{path}, annotations"), start=1):
        where = f"{path}, annotation {number}"
        expect(one, dict, where)
        word = _named(names, one.get("category_id"), "category", where)
        if word == _OPEN:
            continue
        about = expect(one.get("attributes") or {}, dict, f"{where}, attributes")
        flag = _flag(about, _named(files, one.get("image_id"), "image", where), known.flags, by_file, where)
        at = time_of(_text(about, "at", where), where)
        verdict = make_verdict(
            flag,
            word,
            reviewer=_text(about, "reviewer", where) or known.reviewer,
            at=at or known.now,
            note=_text(about, "note", where),
            version=about.get("detector_version"),
            where=where,
        )
        key = (flag.flag_id, verdict.reviewer, verdict.at)
        together[key].append(verdict)
        if at is not None:
            timed.add(key)
    found = {key: _strongest(verdicts) for key, verdicts in together.items()}
    return [v for key, v in found.items() if key in timed or not known.repeats(v)]


def _annotations(flag: Flag, said: list[Verdict]) -> Iterator[dict[str, Any]]:
    whole = (0, 0, flag.width_px, flag.height_px, 1.0)
    sayings: list[Verdict | None] = [*said]
    for verdict in sayings or [None]:
        about: dict[str, Any] = {
            "flag_id": flag.flag_id,
            "batch": flag.batch,
            "severity": float(flag.severity or 0),
        }
        if verdict is not None:
            about |= {
                "reviewer": verdict.reviewer,
                "at": verdict.at.isoformat(),
                "note": verdict.note,
                "detector_version": verdict.detector_version,
            }
        word = _OPEN if verdict is None else str(verdict.word)
        for x, y, width, height, share in flag.boxes or (whole,):
            yield {
                "category_id": CATEGORIES.index(word) + 1,
                "bbox": [x, y, width, height],
                "area": width * height,
                "iscrowd": 0,
                "attributes": about | {"share": share},
            }


def _by_id(dataset: dict[str, Any], key: str, name: str, path: Path) -> dict[int, str]:
    found: dict[int, str] = {}
    for number, one in enumerate(expect(dataset.get(key), list, f"{path}, {key}"), start=1):
        where = f"{path}, {key} {number}"
        expect(one, dict, where)
        found[expect(one.get("id"), int, f"{where}, id")] = expect(one.get(name), str, f"{where}, {name}")
    return found


def _flags_of_files(flags: Mapping[str, Flag]) -> dict[str, list[Flag]]:
    found: dict[str, list[Flag]] = defaultdict(list)
    for flag in flags.values():
        if flag.item:
            found[flag.item].append(flag)
    return found


def _named(names: Mapping[int, str], number: Any, what: str, where: str) -> str:
    if not isinstance(number, int) or number not in names:
        raise SourceError(f"expected the id of one of the {what} entries, got {number!r}", where=where)
    return names[number]


def _flag(
    about: Mapping[str, Any],
    file: str,
    flags: Mapping[str, Flag],
    by_file: Mapping[str, list[Flag]],
    where: str,
) -> Flag:
    if "flag_id" in about:
        return known_flag(about["flag_id"], flags, where)
    of_file = by_file.get(file, [])
    if len(of_file) == 1:
        return of_file[0]
    raise SourceError(
        f"expected attributes.flag_id, or an image that was flagged once; {file!r} was flagged {len(of_file)} times",
        where=where,
        remedy="Begin from what `aeflow verdicts CONFIG --export FILE --format coco` writes.",
    )


def _text(about: Mapping[str, Any], name: str, where: str) -> str:
    value = about.get(name)
    return "" if value is None else str(expect(value, str, f"{where}, attributes.{name}"))


def _strongest(verdicts: list[Verdict]) -> Verdict:
    return min(verdicts, key=lambda verdict: _STRONGEST.index(verdict.word))
