from __future__ import annotations

from dataclasses import replace

import pytest

from aeflow.exceptions import IntegrityError
from aeflow.report.build import build_report
from aeflow.report.receipt import RECEIPT_FILE, differences, make_receipt, read_receipt
from aeflow.store.digests import sha256_file
from tests.unit.report import samples


@pytest.fixture
def built(images):
    folder, rows = images
    return folder, build_report(folder, samples.facts(rows), samples.PROVENANCE)


def test_the_receipt_proves_every_file_but_itself_and_the_page(built):
    folder, _ = built
    receipt = read_receipt(folder)
    assert receipt.files == {
        name: sha256_file(folder / name) for name in ("flags.parquet", "scores.parquet", "summary.json")
    }
    assert {"aeflow", "numpy", "python", "torch"} <= receipt.versions.keys()


def test_a_receipt_does_not_differ_from_itself(built):
    receipt = read_receipt(built[0])
    assert differences(receipt, receipt) == []


def test_differences_name_what_changed(built):
    folder, summary = built
    before = read_receipt(folder)
    with (folder / "flags.parquet").open("ab") as file:
        file.write(b"!")
    changed = replace(samples.PROVENANCE, config_digest="9" * 64)
    after = make_receipt(folder, summary, changed, ("flags.parquet", "scores.parquet"))
    found = differences(before, after)
    assert [sentence.split(":")[0] for sentence in found] == [
        "config digest",
        "files flags.parquet",
        "files summary.json",
    ]
    assert "now it is absent" in found[2]


def test_what_is_no_receipt_is_refused(tmp_path):
    (tmp_path / RECEIPT_FILE).write_text("[]", encoding="utf-8")
    with pytest.raises(IntegrityError, match="no receipt of a report"):
        read_receipt(tmp_path)
