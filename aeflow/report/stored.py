"""What lies in a report folder: the names of the tables, and values as JSON, the same bytes for the same value."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from aeflow.exceptions import IntegrityError
from aeflow.store.files import storage_errors
from aeflow.store.paths import unescape_batch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCORES_FILE = "scores.parquet"
FLAGS_FILE = "flags.parquet"
PRECEDENTS_FILE = "precedents.parquet"


def damaged(path: Path, came: str) -> IntegrityError:
    """The error for a file of a report that is not as it was published, with the command that mends it."""
    pipeline, _, batch = path.parent.parent.name, *path.parent.name.partition("batch=")[1:]
    remedy = (
        f"Score the batch again: aeflow score {pipeline} --batch {unescape_batch(batch)}"
        if batch
        else "Score the batch again."
    )
    problem = f"the file was changed or damaged since it was published: {' '.join(came.split())[:200]}"
    return IntegrityError(problem, where=str(path), remedy=remedy)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What reading the table of a report at `path` raises, as an error that says what to do.

    Raises:
        StorageError: the file cannot be opened.
        IntegrityError: it is no whole Parquet file, or another one.
    """
    with storage_errors(path, f"read {path.name}"):
        try:
            yield
        except (pa.ArrowException, KeyError) as error:
            raise damaged(path, str(error)) from error
        except OSError as error:
            if error.errno is None:  # of Arrow, which found pages that make no sense
                raise damaged(path, str(error)) from error
            raise


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
            came = f"it is no {cls.__name__.lower()} of a report ({place}: {first['msg']})"
            raise damaged(path, came) from error
