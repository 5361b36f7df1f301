"""Verdicts as Label Studio tasks: a task a flag, an annotation a saying, its regions as a prediction.

The labelling interface that fits them is `INTERFACE_OF_IMAGES` or `INTERFACE_OF_SERIES`. The picture of a
task is the path of its image below the source's root: Label Studio serves it from a local storage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aeflow.review.exchange_documents import expect, known_flag, make_verdict, read_document, write_document
from aeflow.review.verdict_file import OF_FLAG, time_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from aeflow.review.verdict_file import Flag, Known
    from aeflow.store.verdicts import Verdict

_WORDS = """  <Choices name="verdict" toName="flag" choice="single" showInline="true">
    <Choice value="true"/><Choice value="false"/><Choice value="unsure"/>
  </Choices>
  <TextArea name="note" toName="flag" maxSubmissions="1"/>
  <TextArea name="reviewer" toName="flag" maxSubmissions="1"/>
</View>
"""
INTERFACE_OF_IMAGES = f"""<View>
  <Image name="flag" value="$image" zoom="true"/>
  <RectangleLabels name="region" toName="flag"><Label value="abnormal"/></RectangleLabels>
{_WORDS}"""
INTERFACE_OF_SERIES = f"""<View>
  <Text name="flag" value="$what"/>
{_WORDS}"""
_REMEDY = "Give what Label Studio exports as JSON: a list of tasks with data.flag_id and annotations."


def write_tasks(path: Path, flags: Iterable[Flag], said: Mapping[str, list[Verdict]]) -> int:
    """Write every flag as a task with all that was said of it. Returns the number of tasks.

    Raises:
        StorageError: the file cannot be written.
    """
    tasks = [_task(number, flag, said.get(flag.flag_id, [])) for number, flag in enumerate(flags, start=1)]
    write_document(path, tasks)
    return len(tasks)


def read_tasks(path: Path, known: Known) -> list[Verdict]:
    """The verdicts in exported tasks. An annotation without a verdict, or one that was cancelled, says
    nothing; who made it is the text `reviewer` of it, else the address or number of its author.

    Raises:
        SourceError: it cannot be read, is not of that form, or names a flag that is not known.
    """
    found: list[Verdict] = []
    for number, task in enumerate(expect(read_document(path, remedy=_REMEDY), list, str(path)), start=1):
        where = f"{path}, task {number}"
        data = expect(expect(task, dict, where).get("data"), dict, f"{where}, data")
        flag = known_flag(data.get("flag_id"), known.flags, where)
        for annotation in expect(task.get("annotations") or [], list, f"{where}, annotations"):
            verdict = _said(flag, annotation, f"{where}, annotations", known)
            timed = verdict is not None and bool(annotation.get("created_at"))
            if verdict is not None and (timed or not known.repeats(verdict)):
                found.append(verdict)
    return found


def _task(number: int, flag: Flag, said: list[Verdict]) -> dict[str, Any]:
    what = {name: getattr(flag, name) for name in ("flag_id", *OF_FLAG, "detector_version")}
    where = flag.item or flag.entity or flag.batch
    what["what"] = f"{where} {flag.start} to {flag.end}: {flag.channels}" if flag.start else where
    data = what | ({"image": flag.item} if flag.item else {})
    prediction = {
        "model_version": f"detector {flag.detector_version}",
        "score": float(flag.severity or 0) / 100,
        "result": [_region(number, box, flag) for number, box in enumerate(flag.boxes, start=1)],
    }
    return {
        "id": number,
        "data": data,
        "annotations": [_annotation(verdict) for verdict in said],
        "predictions": [prediction] if flag.boxes else [],
    }


def _annotation(verdict: Verdict) -> dict[str, Any]:
    texts = {"note": verdict.note, "reviewer": verdict.reviewer}
    written = [
        {"from_name": name, "to_name": "flag", "type": "textarea", "value": {"text": [text]}}
        for name, text in texts.items()
        if text
    ]
    choice = {"from_name": "verdict", "to_name": "flag", "type": "choices"}
    return {
        "created_at": verdict.at.isoformat(),
        "detector_version": verdict.detector_version,
        "result": [choice | {"value": {"choices": [str(verdict.word)]}}, *written],
    }


def _region(number: int, box: tuple[int, int, int, int, float], flag: Flag) -> dict[str, Any]:
    x, y, width, height, share = box
    across, down = 100 / max(flag.width_px, 1), 100 / max(flag.height_px, 1)
    return {
        "id": f"region-{number}",
        "from_name": "region",
        "to_name": "flag",
        "type": "rectanglelabels",
        "original_width": flag.width_px,
        "original_height": flag.height_px,
        "score": share,
        "value": {
            "x": x * across,
            "y": y * down,
            "width": width * across,
            "height": height * down,
            "rectanglelabels": ["abnormal"],
        },
    }


def _said(flag: Flag, annotation: Any, where: str, known: Known) -> Verdict | None:
    expect(annotation, dict, where)
    values: dict[str, str] = {}
    for part in expect(annotation.get("result") or [], list, f"{where}, result"):
        name = expect(part, dict, f"{where}, result").get("from_name")
        if name not in {"verdict", "note", "reviewer"}:
            continue
        value = expect(part.get("value"), dict, f"{where}, {name}")
        told = value.get("choices" if name == "verdict" else "text") or [""]
        # Label Studio writes a single text as it is, several as a list.
        texts = [told] if isinstance(told, str) else expect(told, list, f"{where}, {name}")
        values[name] = "\n".join(expect(text, str, f"{where}, {name}") for text in texts).strip()
    if annotation.get("was_cancelled") or not values.get("verdict"):
        return None
    at = annotation.get("created_at")
    return make_verdict(
        flag,
        values["verdict"],
        reviewer=values.get("reviewer") or _author(annotation.get("completed_by")) or known.reviewer,
        at=time_of(None if at is None else expect(at, str, where), where) or known.now,
        note=values.get("note", ""),
        version=annotation.get("detector_version"),
        where=where,
    )


def _author(completed_by: Any) -> str:
    """Who made an annotation: Label Studio names its users by number, or by a record of them."""
    if isinstance(completed_by, dict):
        named = completed_by.get("email") or completed_by.get("username") or ""
        return named if isinstance(named, str) else ""
    return f"user {completed_by}" if isinstance(completed_by, int) else ""
