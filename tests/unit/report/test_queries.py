"""The queries that come along give what a straightforward pandas computation gives, over 1,000 nights."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from aeflow.cli.entry import run
from aeflow.exceptions import InputError, IntegrityError
from aeflow.report.queries import ask, find_query, shipped_queries, write_csv, write_parquet
from aeflow.store.verdicts import Standing, standing
from tests.unit.report.stores import empty_store, write_store

NIGHTS = 1_000


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    patch = pytest.MonkeyPatch()
    patch.setenv("AEFLOW_HOME", str(folder / "home"))
    yield write_store(folder, folder / "home", NIGHTS)
    patch.undo()


@pytest.fixture
def asked(many, monkeypatch):
    """A function that asks the large store by the name of a query, for a pandas table."""
    monkeypatch.setenv("AEFLOW_HOME", str(many.paths.home))

    def ask_by_name(name, **given):
        with ask(many.config, find_query(name), given) as answer:
            return answer.read_pandas()

    return ask_by_name


@pytest.fixture(scope="module")
def flags(many):
    """Flags with the number and detector of their batch and what holds of them."""
    holds = {flag: str(word) for flag, word in standing(many.verdicts).items()}
    joined = many.flags.merge(many.batches[["batch", "number", "detector_version"]], on="batch")
    joined["standing"] = joined["flag_id"].map(holds)
    joined["channel"] = [channels[0]["channel"] for channels in joined["channels"]]
    return joined


def precision(confirmed, refuted):
    """Share and Wilson's interval at 95 %."""
    n = confirmed + refuted
    if n == 0:
        return None, None, None
    z, p = 1.959964, confirmed / n
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return p, max((middle - half) / (1 + z * z / n), 0), min((middle + half) / (1 + z * z / n), 1)


def same(found, expected, columns):
    pd.testing.assert_frame_equal(
        found[columns].reset_index(drop=True),
        expected[columns].reset_index(drop=True),
        check_dtype=False,
        rtol=1e-5,
    )


def with_precision(table):
    parts = [precision(c, r) for c, r in zip(table["confirmed"], table["refuted"], strict=True)]
    names = ["precision", "precision_low", "precision_high"]
    return table.assign(
        **{n: [float("nan") if p[k] is None else p[k] for p in parts] for k, n in enumerate(names)}
    )


def test_the_last_night(asked, many, flags):
    recent = flags[(flags["number"] > NIGHTS - 7) & ~flags["suppressed"]]
    expected = recent.assign(what=lambda f: f["entity"], severity=lambda f: f["severity"].round(1))
    order = flags.loc[expected.index].sort_values(
        ["number", "severity", "p_value"], ascending=[False, False, True]
    )
    found = asked("last_night", nights=7)
    assert len(found) > 3
    same(found, expected.loc[order.index], ["batch", "severity", "what", "channel", "standing", "flag_id"])
    assert set(asked("last_night")["batch"]) <= {many.batches["batch"].iloc[-1]}


def test_the_trend(asked, many, flags):
    night = flags.groupby("batch")["standing"]
    expected = many.batches.tail(200).copy()
    expected["detector"] = expected["detector_version"]
    expected["quarantined"] = [sum(counts.values()) for counts in expected["quarantined"]]
    expected["promise_kept"] = [promise["kept"] for promise in expected["promise"]]
    expected["expected_false_flags"] = 0.9
    for name, word in (("confirmed", "true"), ("refuted", "false")):
        counts = night.agg(lambda words, word=word: int((words == word).sum()))
        expected[name] = expected["batch"].map(counts).fillna(0).astype(int)
    found = asked("trend", nights=200)
    columns = [
        "batch",
        "detector",
        "scored",
        "quarantined",
        "flags",
        "suppressed",
        "expected_false_flags",
        "promise_kept",
    ]
    counted = ["confirmed", "refuted", "precision", "precision_low", "precision_high"]
    assert found["precision"].notna().sum() > 20
    same(found, with_precision(expected), [*columns, *counted])


def test_the_worst_entities(asked, flags):
    recent = flags[(flags["number"] > NIGHTS - 365) & ~flags["suppressed"]]
    expected = (
        recent.sort_values("number")
        .groupby("entity")
        .agg(
            flags=("flag_id", "size"),
            nights=("batch", "nunique"),
            highest_severity=("severity", lambda s: round(s.max(), 1)),
            usual_channel=("channel", lambda c: c.value_counts().sort_index().idxmax()),
            confirmed=("standing", lambda s: int((s == "true").sum())),
            refuted=("standing", lambda s: int((s == "false").sum())),
            last_batch=("batch", "last"),
        )
        .reset_index()
        .sort_values(["flags", "highest_severity", "entity"], ascending=[False, False, True])
        .head(5)
    )
    found = asked("worst_entities", nights=365, rows=5)
    assert len(found) == 5
    same(found, expected, expected.columns.tolist())


def test_the_open_queue(asked, flags):
    expected = flags.assign(state=flags["standing"].fillna("open"), what=flags["entity"])
    expected = expected[expected["state"].isin(["open", "unsure", "disputed"]) & ~expected["suppressed"]]
    expected = expected.sort_values(["severity", "p_value"], ascending=[False, True]).head(300)
    expected["severity"] = expected["severity"].round(1)
    found = asked("open_queue", rows=300)
    assert set(found["state"]) == {"open", "unsure", "disputed"}
    same(found, expected, ["batch", "severity", "what", "channel", "state", "flag_id"])


def test_detectors_side_by_side(asked, many, flags):
    expected = []
    for version, nights in many.batches.groupby("detector_version"):
        words = flags[flags["detector_version"] == version]["standing"]
        expected.append(
            {
                "detector": version,
                "nights": len(nights),
                "first_batch": nights["batch"].iloc[0],
                "last_batch": nights["batch"].iloc[-1],
                "scored": nights["scored"].sum(),
                "flags": nights["flags"].sum(),
                "flags_per_night": nights["flags"].mean(),
                "expected_false_flags": 0.9,
                "promise_not_kept": sum(not promise["kept"] for promise in nights["promise"]),
                "confirmed": int((words == Standing.TRUE).sum()),
                "refuted": int((words == Standing.FALSE).sum()),
            }
        )
    table = with_precision(pd.DataFrame(expected))
    assert len(table) == 3
    same(asked("model_comparison"), table, table.columns.tolist())


def test_the_quarantine_by_cause(asked, many):
    aside = many.quarantine.merge(many.batches[["batch", "number"]], on="batch")
    recent = aside[aside["number"] > NIGHTS - 90]
    expected = (
        recent.groupby("reason")
        .agg(rows=("batch", "size"), nights=("batch", "nunique"), last_batch=("batch", "max"))
        .reset_index()
        .sort_values(["rows", "reason"], ascending=[False, True])
    )
    found = asked("quarantine_by_cause", nights=90)
    same(found, expected, ["reason", "rows", "nights", "last_batch"])
    last = recent[recent["reason"] == found["reason"][0]].sort_values(["batch", "file", "row"])
    latest = last[last["batch"] == found["last_batch"][0]]
    assert found["example"][0] in {f"rows.csv, row {row}" for row in latest["row"]}


def test_scores_of_every_night_are_summed(asked, many):
    found = asked(
        "select batch, sum(score) as total, count(*) as rows from scores group by batch order by batch"
    )
    expected = many.scores.groupby("batch")["score"].agg(["sum", "size"]).reset_index()
    expected.columns = ["batch", "total", "rows"]
    same(found, expected, ["batch", "total", "rows"])


@pytest.mark.parametrize("name", sorted(shipped_queries()))
def test_a_query_that_comes_along_says_what_it_tells_and_takes_nothing_published(name, tmp_path, home):
    query = shipped_queries()[name]
    assert query.about.endswith(".")
    assert all(parameter.meaning.endswith(".") for parameter in query.parameters)
    with ask(empty_store(tmp_path, home).config, query, {}) as answer:
        assert answer.read_all().num_rows == 0


def test_queries_are_found_from_any_folder(tmp_path):
    code = "from aeflow.report.queries import shipped_queries; print(*shipped_queries())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=True
    )
    assert "last_night" in done.stdout.split()


@pytest.mark.parametrize(
    ("text", "given", "message"),
    [
        ("delete from batches", {}, "expected one SELECT, got DELETE"),
        ("copy flags to 'x.csv'", {}, "expected one SELECT, got COPY"),
        ("select 1; drop table batches", {}, "expected one SELECT, got SELECT, DROP"),
        ("create table x as select 1", {}, "expected one SELECT, got CREATE"),
        ("pragma database_list", {}, "expected one SELECT, got PRAGMA"),
        (" ", {}, "expected one SELECT, got nothing"),
        ("select nope from flags", {}, "nope"),
        ("select from where", {}, "DuckDB cannot answer"),
        ("select $a", {}, r"no value for \$a"),
        ("select 1", {"a": 1}, r"no parameter \$a"),
        ("nonsense", {}, "got 'nonsense'"),
    ],
)
def test_what_is_no_single_question_is_refused(tmp_path, home, text, given, message):
    store = empty_store(tmp_path, home)
    with pytest.raises(InputError, match=message), ask(store.config, find_query(text), given):
        pass


def test_parameters_are_bound_and_never_pasted_in(tmp_path, home):
    store = empty_store(tmp_path, home)
    evil = "x' union select 'gone"
    with ask(store.config, find_query("select $a as came"), {"a": evil}) as answer:
        assert answer.read_all().to_pylist() == [{"came": evil}]


def test_a_file_of_ones_own_brings_its_defaults(tmp_path, home):
    store = empty_store(tmp_path, home)
    path = tmp_path / "mine.sql"
    path.write_text(
        "-- Mine.\n-- $n = 2.5: a number.\n-- $t = two: a text.\nselect $n as n, $t as t\n", "utf-8"
    )
    query = find_query(str(path))
    assert (query.about, len(query.parameters)) == ("Mine.", 2)
    with ask(store.config, query, {"t": "other"}) as answer:
        assert answer.read_all().to_pylist() == [{"n": 2.5, "t": "other"}]


def test_answers_are_written_as_csv_and_parquet(tmp_path, home):
    store = write_store(tmp_path, home, 2, seed=2)
    text = "select flag_id, start, severity, channels from flags order by 1"
    with ask(store.config, find_query(text), {}) as answer:
        rows = write_parquet(answer, tmp_path / "a.parquet")
    with ask(store.config, find_query(text), {}) as answer:
        assert write_csv(answer, tmp_path / "a.csv") == rows > 1
    typed = pq.read_table(tmp_path / "a.parquet")
    plain = pyarrow.csv.read_csv(tmp_path / "a.csv")
    assert typed["flag_id"].to_pylist() == plain["flag_id"].to_pylist() == sorted(store.flags["flag_id"])
    assert '"channel": "' in plain["channels"][0].as_py()
    assert typed["start"].type.tz == "UTC"
    assert typed["start"][0].as_py().tzinfo is not None
    assert datetime.fromisoformat(str(plain["start"][0])).astimezone(UTC) == typed["start"][0].as_py()


def test_pictures_do_not_go_into_a_csv(tmp_path, home):
    store = empty_store(tmp_path, home)
    with (
        pytest.raises(InputError, match="image_png holds pictures"),
        ask(store.config, find_query("select * from flags"), {}) as answer,
    ):
        write_csv(answer, tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()


@pytest.mark.parametrize("view", ["flags", "scores"])
@pytest.mark.parametrize("damage", ["cut off", "empty", "pages"])
def test_a_damaged_file_is_named_with_the_command_that_mends_it(tmp_path, home, view, damage):
    store = write_store(tmp_path, home, 5, seed=2)
    batch = next(b for b in sorted(set(store.flags["batch"])))
    file = store.paths.report(batch) / f"{view}.parquet"
    whole = file.read_bytes()
    file.write_bytes(
        {"cut off": whole[:-9], "empty": b"", "pages": b"PAR1" + b"\xff" * 200 + whole[204:]}[damage]
    )
    with (
        pytest.raises(IntegrityError, match=rf"{view}\.parquet(.|\n)*aeflow score pumps --batch {batch}"),
        ask(store.config, find_query(f"select * from {view}"), {}) as answer,
    ):
        answer.read_all()


def test_a_wrong_query_is_no_damage(tmp_path, home):
    store = write_store(tmp_path, home, 2, seed=2)
    with (
        pytest.raises(InputError, match="DuckDB cannot answer this"),
        ask(store.config, find_query("select nothing_like_it from flags"), {}),
    ):
        pass


@pytest.mark.parametrize("option", ["--csv", "--parquet"])
def test_an_answer_is_not_written_into_a_folder_that_is_not_there(tmp_path, home, capsys, option):
    store = empty_store(tmp_path, home)
    file = tmp_path / "mistyped" / "answer"
    assert run(["sql", str(store.config), "select 1", option, str(file)]) == 2
    assert "Make the folder first" in capsys.readouterr().err
    assert not file.parent.exists()
