"""The pipelines in configs/ as `aeflow init` would write them today: every key with what it means now. Their
values, what was seen in the data and the reasons stay."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path

from aeflow.config import load_config
from aeflow.onboarding.yaml_text import as_yaml

FOLDER = Path(__file__).parents[1] / "configs"


def renewed(path: Path) -> str:
    """The text of the config file `path`, written anew."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return as_yaml(load_config(path), seen=_seen(lines), reasons=_reasons(lines))


def _seen(lines: list[str]) -> list[str]:
    """The sentences at the head of the file."""
    head = " ".join(line.removeprefix("#") for line in takewhile(lambda line: line.startswith("#"), lines))
    return [" ".join(sentence.split()) for sentence in head.split(" - ")[1:]]


def _reasons(lines: list[str]) -> dict[str, str]:
    """Key -> why it has its value."""
    found: dict[str, str] = {}
    parents: list[tuple[int, str]] = []
    said: list[str] = []
    for line in lines:
        if reason := re.fullmatch(r" *# > (.*)", line):
            said.append(reason[1])
        elif key := re.match(r"( *)(\w+):", line):
            parents = [(depth, name) for depth, name in parents if depth < len(key[1])]
            if said:
                found[".".join([*(name for _, name in parents), key[2]])] = " ".join(said)
            parents.append((len(key[1]), key[2]))
            said = []
    return found
