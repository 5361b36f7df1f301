"""What lies in a report folder: the names of the tables, and values as JSON, the same bytes for the same value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from aeflow.exceptions import IntegrityError
from aeflow.store.files import storage_errors

if TYPE_CHECKING:
    from pathlib import Path

SCORES_FILE = "scores.parquet"
FLAGS_FILE = "flags.parquet"
PRECEDENTS_FILE = "precedents.parquet"


class Stored(BaseModel):
    """Base of what is stored. A key that a later version added is passed over when read."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", use_attribute_docstrings=True, ser_json_inf_nan="strings"
    )

    def write(self, path: Path) -> None:
        """Write it as UTF-8 JSON, keys in the order of the fields.

        Raises:
            StorageError: the file cannot be written.
        """
        content = self.model_dump_json(indent=1) + "\n"
        with storage_errors(path, f"write {path.name}"):
            path.write_bytes(content.encode())

    @classmethod
    def read(cls, path: Path) -> Self:
        """The value that `write` stored at `path`.

        Raises:
            StorageError: the file cannot be read.
            IntegrityError: its content is not of this kind.
        """
        with storage_errors(path, f"read {path.name}"):
            content = path.read_bytes()
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "the whole file"
            msg = f"{path} is no {cls.__name__.lower()} of a report ({place}: {first['msg']}); score the batch again"
            raise IntegrityError(msg) from error
