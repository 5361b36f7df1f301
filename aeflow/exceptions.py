"""The errors that aeflow raises on purpose.

    AeflowError                 ours: exit code 1
    ├── AccountingError         rows in != scored + quarantined + not scorable
    └── UserError               something outside aeflow has to be mended: exit code 2
        ├── ConfigError         a pipeline's YAML
        ├── SourceError         the data cannot be read as the config says
        │   └── BatchNotFound   no such batch in the source
        ├── BatchRefused        read, but too little of it is fit to score
        ├── NightFailed         at least one batch of a nightly run could not be scored
        ├── AlreadyRunning      a living process does the same work
        ├── DetectorError       no such detector version, or it does not fit the data
        ├── InputError          an array or argument of the wrong shape, type or value
        ├── IntegrityError      a stored file was changed or damaged since aeflow wrote it
        └── StorageError        a folder cannot be written (rights, disk full)

Every message is one sentence each of: what was expected, what came, where, and what to do.
"""

from __future__ import annotations


class AeflowError(Exception):
    """Base of every error raised on purpose. `exit_code` is what the command line returns."""

    exit_code = 1


class AccountingError(AeflowError):
    """The rows of a batch do not add up: some would have been lost."""


class UserError(AeflowError):
    """Something outside aeflow has to be mended: a config, the data, an argument, a folder."""

    exit_code = 2

    def __init__(self, problem: str, *, where: str = "", remedy: str = "") -> None:
        """`problem` says what was expected and what came; `where` the file, row, key or batch;
        `remedy` what to do next."""
        self.problem = problem
        self.where = where
        self.remedy = remedy
        parts = [f"{where}: {problem}" if where else problem]
        if remedy:
            parts.append(remedy)
        super().__init__("\n  ".join(parts))


class ConfigError(UserError):
    """A pipeline's YAML is not valid."""


class SourceError(UserError):
    """The data cannot be read as the config says."""


class BatchNotFound(SourceError):
    """The source holds no batch of that id."""


class BatchRefused(UserError):
    """The batch was read, but too little of it is fit to score."""


class NightFailed(UserError):
    """At least one batch of a nightly run could not be scored; the others were."""


class AlreadyRunning(UserError):
    """A living process runs the same batch or training."""


class DetectorError(UserError):
    """No such detector version, or it does not fit the data."""


class InputError(UserError, ValueError):
    """An array or argument has the wrong shape, type or value."""


class IntegrityError(UserError):
    """A stored file does not have the content that aeflow wrote into it."""


class StorageError(UserError):
    """A folder cannot be read or written."""
