"""Read a pipeline's YAML: one message for everything that is wrong with it."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ValidationError

from aeflow.config.pipeline import PipelineConfig
from aeflow.exceptions import ConfigError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def find_config(name_or_path: str, *, configs: Path = Path("configs")) -> Path:
    """The YAML file that CONFIG means: a path, or a name in `configs/`.

    Raises:
        ConfigError: there is no such file; names those that are there.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path.resolve()
    named = configs / f"{name_or_path}.yaml"
    if named.is_file():
        return named.resolve()
    known = sorted(p.stem for p in configs.glob("*.yaml"))
    close = difflib.get_close_matches(path.stem, known, n=1)
    remedy = f"Did you mean {close[0]!r}? " if close else ""
    remedy += f"In {configs}/ lie: {', '.join(known)}." if known else "`aeflow init` writes a first config."
    msg = f"expected a config file or a name in {configs}/, and there is none"
    raise ConfigError(msg, where=name_or_path, remedy=remedy)


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice: YAML itself keeps the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        first: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if first.setdefault(str(key.value), line) != line:
                msg = f"the key {key.value!r} stands twice, on lines {first[str(key.value)]} and {line}"
                raise yaml.YAMLError(msg)
        return super().construct_mapping(node, deep=deep)


def load_config(path: Path) -> PipelineConfig:
    """The pipeline that the YAML file at `path` describes.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or does not describe a pipeline.
    """
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506 - a safe one
    except OSError as error:
        msg = f"the config cannot be read: {error.strerror}"
        raise ConfigError(msg, where=str(path)) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"the config is not valid YAML: {' '.join(str(error).split())}"
        raise ConfigError(msg, where=str(path)) from error
    if not isinstance(raw, dict):
        msg = f"expected a mapping of sections (name, source, ...), got {type(raw).__name__}"
        raise ConfigError(msg, where=str(path), remedy="`aeflow init` writes a complete one.")
    try:
        config = PipelineConfig.model_validate(raw)
    except ValidationError as error:
        lines = [_sentence(detail) for detail in error.errors()]
        msg = f"{len(lines)} {'entry is' if len(lines) == 1 else 'entries are'} not valid\n  " + "\n  ".join(
            lines
        )
        raise ConfigError(msg, where=str(path)) from error
    return config.at(path.resolve().parent)


def json_schema() -> dict[str, Any]:
    """The JSON schema of a pipeline's YAML, by which editors complete and check it."""
    schema = PipelineConfig.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "aeflow pipeline"
    return schema


def dump_json(config: PipelineConfig) -> str:
    """The config as canonical JSON (sorted keys, no spaces): what digests are made of."""
    return json.dumps(config.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


_WHOLE, _NUMBER, _LIST, _KEYS = "a whole number", "a number", "a list, in square brackets", "keys below it"
_TIME = "a time such as 2026-11-20T06:00:00"
_EXPECTED = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), _WHOLE),
    **dict.fromkeys(("float_type", "float_parsing"), _NUMBER),
    "finite_number": "a number that is not infinite",
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "string_type": "text",
    "string_pattern_mismatch": "text of the form {pattern}",
    "string_too_short": "text of at least {min_length} characters",
    "string_too_long": "text of at most {max_length} characters",
    "literal_error": "one of {expected}",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "too_short": "at least {min_length} entries",
    "too_long": "at most {max_length} entries",
    **dict.fromkeys(("tuple_type", "list_type", "frozen_set_type", "set_type"), _LIST),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type", "mapping_type"), _KEYS),
    **dict.fromkeys(("datetime_type", "datetime_parsing", "datetime_from_date_parsing"), _TIME),
}
"""Kinds of pydantic's errors, in the words of a YAML file."""


def _sentence(detail: ErrorDetails) -> str:
    """One validation error as: key: what was expected, what came, the nearest known key."""
    where = _place(detail["loc"])
    if detail["type"] == "extra_forbidden":
        key = str(detail["loc"][-1])
        known = _known_keys(detail["loc"][:-1])
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known keys: {', '.join(known)}"
        return f"{where}: there is no such key{hint}"
    if detail["type"] == "missing":
        return f"{where}: the key is missing, and has no default"
    if detail["type"] == "union_tag_not_found":
        return f"{where}: the key {detail['ctx']['discriminator']} is missing, which says of what kind it is"
    if detail["type"] == "union_tag_invalid":
        return _unknown_kind(where, detail["ctx"])
    if detail["type"] in _EXPECTED:
        return f"{where}: expected {_EXPECTED[detail['type']].format(**detail.get('ctx', {}))}, got {detail['input']!r}"
    message = detail["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return (
        f"{where}: {message}"
        if detail["type"] == "value_error"
        else f"{where}: {message}, got {detail['input']!r}"
    )


def _unknown_kind(where: str, context: dict[str, Any]) -> str:
    """The message for a name, such as that of a model family, that is none of those known."""
    known = context["expected_tags"].replace("'", "").split(", ")
    close = difflib.get_close_matches(context["tag"], known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    key = context["discriminator"].strip("'")
    return f"{where}.{key}: expected one of {', '.join(known)}, got {context['tag']!r}{hint}"


def _place(loc: tuple[int | str, ...]) -> str:
    """The keys that lead to a place. Union tags such as `table` stand in pydantic's path too; they are no keys
    of the file."""
    keys: list[str] = []
    candidates: list[type[BaseModel]] = [PipelineConfig]
    for part in loc:
        fields = [m.model_fields[str(part)] for m in candidates if str(part) in m.model_fields]
        if not fields and part in {_tag(m) for m in candidates}:
            candidates = [m for m in candidates if _tag(m) == part]
            continue
        keys.append(str(part))
        if fields:
            candidates = [m for field in fields for m in _models_in(field.annotation)]
    return ".".join(keys) or "(whole file)"


def _known_keys(loc: tuple[int | str, ...]) -> list[str]:
    """The keys allowed at a place of the config tree."""
    model: type[BaseModel] = PipelineConfig
    for part in loc:
        if isinstance(part, int):  # of a list: all of its entries are alike
            continue
        if str(part) in model.model_fields:
            candidates = _models_in(model.model_fields[str(part)].annotation)
        else:  # a union tag: choose the member that carries it
            candidates = [m for m in candidates if _tag(m) == part]
        if len(candidates) == 1:
            model = candidates[0]
    return sorted(model.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for arg in getattr(annotation, "__args__", ()) for m in _models_in(arg)]


def _tag(model: type[BaseModel]) -> str:
    for key in ("kind", "family"):
        if key in model.model_fields:
            return str(model.model_fields[key].default)
    return ""
