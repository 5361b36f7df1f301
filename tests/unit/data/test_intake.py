from dataclasses import replace
from datetime import UTC, datetime

import pytest

from aeflow.data.intake import Intake
from aeflow.exceptions import AccountingError, IntegrityError, StorageError


def account(folder, **changes):
    intake = Intake(
        folder=folder,
        batch="2026-11-20",
        kind="series",
        rows_in=10,
        valid=8,
        quarantined={"bad_number": 2},
        digest="00",
        start=datetime(2026, 11, 20, tzinfo=UTC),
        end=datetime(2026, 11, 21, tzinfo=UTC),
        channels=("a",),
        entities=("", "ü"),
    )
    return replace(intake, **changes)


def test_an_account_comes_back_as_it_was_saved(tmp_path):
    account(tmp_path).save()
    assert Intake.load(tmp_path) == account(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["intake.json"]


def test_a_lost_row_is_refused(tmp_path):
    with pytest.raises(AccountingError, match=r"11 rows came in, but 8 are valid and 2 set aside \(-1\)"):
        account(tmp_path, rows_in=11)


def test_a_folder_without_an_account_is_no_finished_intake(tmp_path):
    with pytest.raises(StorageError, match="Take the batch in again"):
        Intake.load(tmp_path)


def test_a_damaged_account_is_refused(tmp_path):
    (tmp_path / "intake.json").write_text('{"batch": 3}')
    with pytest.raises(IntegrityError, match="take the batch in again"):
        Intake.load(tmp_path)


def test_a_folder_that_is_not_there_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="cannot be written"):
        account(tmp_path / "gone").save()
