"""A pipeline as commented YAML: every key, with what it means and why it has its value.

What a key means is the docstring of its field in the config tree, so that it is said once.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import yaml
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aeflow.config import PipelineConfig

_WIDTH = 100
_NEVER = 10_000  # wider than any line
_REASON = "> "


def as_yaml(
    config: PipelineConfig, *, seen: Sequence[str] = (), reasons: Mapping[str, str] | None = None
) -> str:
    """The text of a config file that loads as `config`.

    Args:
        config: the pipeline.
        seen: sentences for the head of the file.
        reasons: key such as "prepare.window_points" -> why it has its value.
    """
    lines = [
        *_comment(
            f"Pipeline {config.name}. Check it: aeflow check {config.name}. Train it: aeflow train {config.name}.",
            0,
        ),
    ]
    if seen:
        lines += [
            "#",
            "# What was seen in the data:",
            *(line for s in seen for line in _comment(s, 0, mark="- ")),
        ]
    lines += [""]
    return "\n".join([*lines, *_section(config, "", reasons or {}, 0)]) + "\n"


def _section(section: BaseModel, path: str, reasons: Mapping[str, str], depth: int) -> Iterable[str]:
    for name, field in type(section).model_fields.items():
        value, key = getattr(section, name), f"{path}{name}"
        if depth == 0 and isinstance(value, BaseModel):
            yield ""
        # Where there are several kinds, the one that was chosen says best what it is.
        meaning = None if field.discriminator else field.description
        if meaning is None and isinstance(value, BaseModel):
            meaning = (type(value).__doc__ or "").split("\n\n")[0]
        yield from _comment(meaning or "", depth)
        yield from _comment(reasons.get(key, ""), depth, mark=_REASON)
        if isinstance(value, BaseModel):
            yield f"{_indent(depth)}{name}:"
            yield from _section(value, f"{key}.", reasons, depth + 1)
        else:
            yield from _entry(name, section.model_dump(mode="json")[name], depth)


def _entry(name: str, value: object, depth: int) -> Iterable[str]:
    # Lists stay on one line as long as they fit, and are wrapped where they do not.
    text = yaml.safe_dump(
        {name: value} if value else {},
        default_flow_style=None if isinstance(value, list) else False,
        width=_WIDTH - 2 * depth,
        allow_unicode=True,
        sort_keys=False,
    )
    if not isinstance(value, list | dict):
        text = f"{name}: {_scalar(value)}"
    elif not value:
        text = f"{name}: {'[]' if isinstance(value, list) else '{}'}"
    for line in text.splitlines():
        yield f"{_indent(depth)}{line}"


def _scalar(value: object) -> str:
    return yaml.safe_dump(value, width=_NEVER, allow_unicode=True).removesuffix("\n").removesuffix("\n...")


def _comment(text: str, depth: int, mark: str = "") -> list[str]:
    lines = textwrap.wrap(
        " ".join(text.split()),
        _WIDTH - 2 * depth - 2,
        initial_indent=mark,
        subsequent_indent=mark if mark == _REASON else " " * len(mark),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [f"{_indent(depth)}# {line}" for line in lines]


def _indent(depth: int) -> str:
    return "  " * depth
