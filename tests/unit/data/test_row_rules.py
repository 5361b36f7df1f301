import numpy as np

from aeflow.data.row_rules import CODE, LastKept, RowRules, Rows

RULES = RowRules.of(["a", "b"], {"b": (0.0, 10.0)}, "UTC")


def judge(entity, time, values, fault=None, last=None):
    fault = np.zeros(len(entity), np.int8) if fault is None else np.array(fault, np.int8)
    rows = Rows(np.array(entity), np.array(time), np.array(values, float), fault)
    return RULES.judge(rows, last or LastKept())


def test_the_first_rule_that_a_row_breaks_names_it():
    nan, inf = np.nan, np.inf
    values = [[1, 1], [inf, 99], [nan, nan], [1, -1], [nan, 10], [1, 1]]
    fault, last = judge([0] * 6, [0, 1, 2, 3, 4, 4], values, [CODE["bad_number"], 0, 0, 0, 0, 0])
    reasons = ["bad_number", "not_finite", "no_value", "out_of_limits", "", "duplicate_timestamp"]
    assert [int(f) for f in fault] == [CODE[r] for r in reasons]
    assert last == LastKept(0, 4)


def test_a_duplicate_is_seen_across_chunks_and_not_across_entities():
    _, last = judge([0], [5], [[1, 1]])
    fault, last = judge([0, 1], [5, 5], [[1, 1], [1, 1]], last=last)
    assert fault.tolist() == [CODE["duplicate_timestamp"], 0]
    assert judge([1], [5], [[np.inf, 1]], last=last)[1] == last


def test_limits_are_inclusive():
    assert judge([0, 0], [0, 1], [[1, 0], [1, 10]])[0].tolist() == [0, 0]


def test_a_number_that_float32_cannot_hold_is_an_infinity():
    largest = float(np.finfo(np.float32).max)
    fault, _ = judge([0, 0, 0], [1, 2, 3], [[1e39, 1], [-1e300, 1], [largest, 1]])
    assert fault.tolist() == [CODE["not_finite"], CODE["not_finite"], 0]
    assert RULES.explain(CODE["not_finite"], np.array([1e39, 1]), 0)[1] == "a = 1e+39"


def test_rows_are_not_written_into():
    fault = np.zeros(1, np.int8)
    RULES.judge(Rows(np.zeros(1, int), np.zeros(1, int), np.full((1, 2), np.nan), fault), LastKept())
    assert fault.tolist() == [0]


def test_each_fault_explains_itself():
    rule, detail = RULES.explain(CODE["out_of_limits"], np.array([1, 12.5]), 0)
    assert (rule, detail) == ("0 <= b <= 10", "b = 12.5")
    assert RULES.explain(CODE["not_finite"], np.array([-np.inf, 1]), 0)[1] == "a = -inf"
    assert (
        RULES.explain(CODE["duplicate_timestamp"], np.ones(2), 0)[1]
        == "another row of 1970-01-01T00:00:00+00:00 was kept"
    )
    for reason, code in CODE.items():
        assert not reason or RULES.explain(code, np.array([np.inf, 11]), 0)[0]
