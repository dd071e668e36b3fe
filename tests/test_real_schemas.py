"""Schemas as they are found in the wild, with the calls that people wrote for them.

The rows are an excerpt of the Berkeley Function Calling Leaderboard (data/README.md). For all rows
of such a file: `BFCL_CALLS=bfcl_calls.jsonl pytest tests/test_real_schemas.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from executor.parser import tasks_of
from executor.plan import Join, Task, render
from executor.seal import check
from executor.tools import Tool, ToolBox
from planner_prompts.grammar import matches, plan_regex

EXCERPT = Path(__file__).parent / "data" / "bfcl_calls.jsonl"
ROWS = [
    json.loads(line)
    for line in Path(os.environ.get("BFCL_CALLS", EXCERPT)).read_text("utf-8").splitlines()
]
BREAKS_ITS_SCHEMA = {
    "live_parallel_multiple_2-2-0",
    "live_multiple_87-38-4",
    "live_multiple_552-153-1",
    "live_multiple_731-167-2",
    "live_multiple_733-167-4",
    "live_multiple_735-167-6",
    "live_multiple_750-169-5",
    "live_multiple_756-169-11",
    "live_multiple_871-182-8",
    "live_multiple_964-207-0",
}
HAS_AN_UNKNOWN_PARAMETER = {"live_multiple_862-181-3"}  # which its schema doesn't forbid
LEFT_OUT = BREAKS_ITS_SCHEMA | HAS_AN_UNKNOWN_PARAMETER
SOUND = [row for row in ROWS if row["id"] not in LEFT_OUT]


def toolbox_of(row: Any) -> ToolBox:
    return ToolBox(
        Tool.from_json_schema(each["name"], "", each["parameters"], lambda **_: None)
        for each in row["tools"]
    )


def tasks(row: Any) -> list[Task]:
    return [Task(at, call["tool"], call["args"]) for at, call in enumerate(row["calls"], 1)]


def ids(rows: Sequence[Any]) -> list[str]:
    return [row["id"] for row in rows]


@pytest.mark.parametrize("row", ROWS, ids=ids(ROWS))
def test_each_toolbox_gets_a_grammar(row: Any) -> None:
    assert plan_regex(toolbox_of(row), backend="guidance").startswith(r"1\.\ (join\(\)|")


@pytest.mark.parametrize("row", SOUND, ids=ids(SOUND))
def test_each_plan_is_written_read_and_sealed(row: Any) -> None:
    toolbox, gold = toolbox_of(row), tasks(row)
    plan = "\n".join(render(item, toolbox) for item in [*gold, Join(len(gold) + 1)])
    assert matches(plan_regex(toolbox, max_tasks=len(gold), backend="guidance"), plan)
    assert tasks_of(plan, toolbox) == gold
    for task in gold:
        check(task, toolbox, {})


def test_the_rows_that_are_left_out_are_those_at_fault() -> None:
    def breaks_its_schema(row: Any) -> bool:
        schemas = {each["name"]: each["parameters"] for each in row["tools"]}
        return any(
            not jsonschema.Draft202012Validator(schemas[call["tool"]]).is_valid(call["args"])
            for call in row["calls"]
        )

    def has_an_unknown_parameter(row: Any) -> bool:
        known = {each["name"]: each["parameters"]["properties"] for each in row["tools"]}
        return any(not call["args"].keys() <= known[call["tool"]].keys() for call in row["calls"])

    broken = {row["id"] for row in ROWS if breaks_its_schema(row)}
    assert broken == BREAKS_ITS_SCHEMA & {*ids(ROWS)}
    unknown = {row["id"] for row in ROWS if has_an_unknown_parameter(row)} - broken
    assert unknown == HAS_AN_UNKNOWN_PARAMETER & {*ids(ROWS)}
