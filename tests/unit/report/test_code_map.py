from __future__ import annotations

import re
from itertools import combinations
from xml.etree import ElementTree as ET

import numpy as np

from aeflow.report.code_map import Mark, code_map

NORMAL = np.random.default_rng(0).normal(size=(50, 2))


def drawn(flags, normal=NORMAL):
    svg = ET.fromstring(code_map(normal, flags, label="a <map>"))
    return svg, [
        (e, e.find("circle") if e.find("circle") is not None else e.find("path")) for e in svg.iter("a")
    ]


def place(mark):
    if mark.tag == "circle":
        return float(mark.get("cx")), float(mark.get("cy"))
    return tuple(float(v) for v in re.match(r"M(\S+) (\S+?)l", mark.get("d")).groups())


def test_every_normal_item_and_every_flag_is_drawn_and_leads_to_its_card():
    flags = [Mark(number, f"flag {number}", np.array([number * 0.1, 0.0])) for number in (1, 2, 3)]
    svg, links = drawn(flags)
    assert sum(e.get("class") == "dot" for e in svg.iter()) == len(NORMAL)
    assert [link.get("href") for link, _ in links] == ["#f3", "#f2", "#f1"]  # the most severe on top
    assert all(link.get("aria-label") for link, _ in links)
    assert svg.get("aria-label") == "a <map>"


def test_a_flag_far_out_is_at_the_border_and_said_to_be_so():
    svg, ((link, mark),) = drawn([Mark(1, "flag 1", np.array([1e9, 0.0]))])
    assert mark.tag == "path"
    assert "farther out" in link.get("aria-label")
    dots = [e for e in svg.iter() if e.get("class") == "dot"]
    xs = [float(dot.get("cx")) for dot in dots]
    assert max(xs) - min(xs) > 250  # the normal items are not squeezed into a point
    assert 0 <= place(mark)[0] <= 1000


def test_marks_in_one_place_do_not_hide_each_other():
    _, links = drawn([Mark(number, "x", np.zeros(2)) for number in range(1, 16)])
    for (ax, ay), (bx, by) in combinations([place(mark) for _, mark in links], 2):
        assert (ax - bx) ** 2 + (ay - by) ** 2 >= 20**2


def test_flags_without_a_card_lead_nowhere():
    svg, links = drawn([Mark(0, "a flag", np.zeros(2))])
    assert not links
    assert sum(e.get("class") == "mark" for e in svg.iter()) == 1


def test_names_stay_text():
    bad = "<script>alert(1)</script>"
    text = code_map(NORMAL, [Mark(1, bad, np.zeros(2))], label=bad)
    assert "<script" not in text
    assert ET.fromstring(text).find("a").get("aria-label") == bad


def test_normal_items_all_alike_make_a_map_too():
    svg, _ = drawn([Mark(1, "x", np.ones(2))], normal=np.zeros((3, 2)))
    for element in svg.iter("circle"):
        assert 0 <= float(element.get("cx")) <= 1000
