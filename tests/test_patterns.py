"""Patterns of schemas in the grammar: what is held, and what is left to the seal."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.errors import ArgumentError
from executor.parser import tasks_of
from executor.plan import render_value
from executor.seal import check
from executor.tools import Tool, ToolBox
from planner_prompts.grammar import matches, plan_regex
from planner_prompts.patterns import pattern_regex

HELD = {
    r"^[A-Z]{2}\d{4}$": (["AB1234"], ["AB123", "ab1234", "AB12345", "xAB1234", ""]),
    r"^\+?[1-9]\d{1,14}$": (["+4712345678", "12"], ["0", "1", "+", "1" * 16]),
    r"^(red|green|blue)$": (["red", "blue"], ["", "redd", "Red"]),
    r"[0-9]": (["a1b", "1", '"1$'], ["", "abc"]),
    r"^ab*": (["a", "abbb", "abc", 'a"$'], ["", "ba"]),
    r"b$": (["b", "ab", "$b"], ["", "ba"]),
    r"^[^@ ]+@[^@ ]+\.\w{2,}$": (["a@b.org", 'q"$\\@b.org'], ["a@b", "a b@c.org", "@b.org"]),
    r"^\$\d+$": (["$5", "$120"], ["5", "$", "$$5"]),
    r'^"\\"$': (['"\\"'], ["", '""']),
    r"^[#-&]$": (["#", "$", "%", "&"], ["", '"', "'"]),
    r"^[ -~]*$": (["", 'a "b" $1 \\'], ["é", "a\x7f"]),
    r"^a\tb$": (["a\tb"], ["a b", "ab"]),
    r"^\s\S\D\W$": ([" xx-", "\tyx ", "\r..."], ["xxx-", " xx_", " x1-"]),
    r"^[\w.-]+$": (["a_b.c-9"], ["", "a b", "a/b"]),
    r"^x?y{0,2}(?:z|)$": (["", "x", "xyyz", "yz"], ["yyy", "xx"]),
    r"^[é-ü]{2}$": (["éü", "öë"], ["ea"]),
    r"^a.c$": (["abc", "a$c", 'a"c', "a😀c"], ["ac", "abbc"]),
    r"": (["", "anything at all"], []),
}


@pytest.mark.parametrize("pattern", HELD)
def test_a_pattern_is_held(pattern: str) -> None:
    regex = pattern_regex(pattern)
    taken, refused = HELD[pattern]
    assert regex is not None
    texts = [*taken, *refused]
    assert [text for text in texts if re.search(pattern, text, re.ASCII)] == taken
    assert [text for text in texts if matches(f'"{regex}"', render_value(text))] == taken


LEFT = {
    "look ahead": r"^(?=a)b",
    "look behind": r"(?<!a)b",
    "a group again": r"^(a)\1$",
    "a word's end": r"\bword\b",
    "letters of either case": "(?i)abc",
    "no regex": "(",
    "ECMA's classes": r"^\p{L}+$",
    "anchors that ECMA does not have": r"\Aa",
    "an anchor in a choice": "^a|b$",
    "a long repeat": "^.{1,1000}$",
    "repeats of repeats": "((a{9}){9}){9}",
    "an automaton that explodes": "(a|b)*a(a|b){12}",
    "too many states": "^[0-9a-f]{128}$" * 3,
    "deeper than can be read": "(" * 2000 + ")" * 2000,
    "nothing that can be written": r"^[\x01\x02]$",
}


@pytest.mark.parametrize("pattern", LEFT.values(), ids=LEFT.keys())
def test_a_pattern_is_left_to_the_seal(pattern: str) -> None:
    assert pattern_regex(pattern) is None


def tool_with(pattern: str) -> Tool:
    schema = {"type": "string", "pattern": pattern}
    parameters = {"type": "object", "properties": {"x": schema}, "required": ["x"]}
    return Tool.from_json_schema("f", "", parameters, lambda x: x)


def test_the_grammar_holds_it_or_the_seal_does() -> None:
    for pattern, held in ((r"^[0-9]{3}$", True), (r"^(?=[0-9])[0-9]{3}$", False)):
        toolbox = ToolBox([tool_with(pattern)])
        plan = '1. f("12")\n2. join()'
        assert matches(plan_regex(toolbox), plan.replace("12", "123"))
        assert matches(plan_regex(toolbox), plan) is not held
        with pytest.raises(ArgumentError, match=r"x: '12' does not match"):
            check(tasks_of(plan, toolbox)[0], toolbox, {})


@given(st.sampled_from(list(HELD)), st.data())
def test_what_a_plan_can_write_has_the_pattern(pattern: str, data: st.DataObject) -> None:
    toolbox = ToolBox([tool_with(pattern)])
    regex = pattern_regex(pattern)
    text = data.draw(st.from_regex(re.compile(f'"{regex}"'), fullmatch=True))
    (task,) = tasks_of(f"1. f({text})\n2. join()", toolbox)
    assert re.search(pattern, task.args["x"], re.ASCII)  # as ECMA means its classes
