"""Write the config of a new pipeline."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from aeflow.config import load_config
from aeflow.exceptions import ConfigError, StorageError
from aeflow.onboarding.defaults import propose
from aeflow.onboarding.yaml_text import as_yaml

if TYPE_CHECKING:
    from aeflow.config import PipelineConfig
    from aeflow.onboarding.defaults import Profile

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def write_config(profile: Profile, name: str, out: Path, *, force: bool = False) -> Path:
    """Write `out/name.yaml`: a complete, commented pipeline that trains at once.

    Args:
        profile: what was seen in the data.
        name: of the pipeline.
        out: the folder of the configs; made if it is not there.
        force: write over a file of that name.

    Returns:
        The file written.

    Raises:
        ConfigError: the name is none for a pipeline, or the file is there already.
        StorageError: the file cannot be written.
    """
    path = config_path(name, out, force=force)
    proposal = propose(profile, name, lambda target: _seen_from(target, path.parent))
    return write_pipeline(proposal.config, path, seen=proposal.seen, reasons=proposal.reasons)


def write_pipeline(
    config: PipelineConfig, path: Path, *, seen: tuple[str, ...] = (), reasons: dict[str, str] | None = None
) -> Path:
    """Write a pipeline with comments to `path`, and read it back as a proof.

    Raises:
        StorageError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(as_yaml(config, seen=seen, reasons=reasons), encoding="utf-8")
    except OSError as error:
        msg = f"the config cannot be written: {error.strerror}"
        raise StorageError(
            msg, where=str(path), remedy="Check the folder's rights and the free space."
        ) from error
    load_config(path)
    return path


def config_path(name: str, out: Path, *, force: bool) -> Path:
    """Where the config of a new pipeline goes.

    Raises:
        ConfigError: the name is none for a pipeline, or the file is there already and `force` is False.
    """
    if not _NAME.fullmatch(name):
        msg = f"expected a name of lower-case letters, digits, - and _, got {name!r}"
        raise ConfigError(msg, where="NAME", remedy="It names folders and the registered model.")
    path = out.absolute() / f"{name}.yaml"
    if path.exists() and not force:
        msg = "there is a config of that name already"
        raise ConfigError(msg, where=str(path), remedy="Take another name, or --force to write over it.")
    return path


def _seen_from(target: Path, folder: Path) -> str:
    """The path of the data as it stands in the config: relative, so that both can move together."""
    try:
        return Path(os.path.relpath(target, folder.resolve())).as_posix()
    except ValueError:  # another drive
        return target.as_posix()
