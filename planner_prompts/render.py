"""Question, toolbox and results -> chat messages.

The transcript of a run only ever grows, and what is the same for every run of a toolbox stands
first, so that the engine's prefix cache serves each later call.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from string import Template
from typing import Any

from executor.signatures import Schema
from executor.tools import Tool, ToolBox
from planner_prompts.examples import Example, bundled_examples
from planner_prompts.grammar import ANSWER
from planner_prompts.messages import Message, Role
from planner_prompts.profile import FEW_SHOT, Profile


def opening(
    toolbox: ToolBox, examples: Sequence[Example], question: str, profile: Profile = FEW_SHOT
) -> list[Message]:
    """The transcript up to where the plan begins.

    `examples` are the caller's own; the bundled ones go before them where the profile has them.
    """
    tools = "\n".join(describe(tool) for tool in toolbox) or "(none)"
    messages = [_message("system", _text(profile.system).substitute(tools=tools))]
    bundled = bundled_examples(toolbox) if profile.bundled_examples else []
    for example in [*bundled, *examples]:
        results = [result_line(id, result) for id, result in example.results.items()]
        messages += [
            _message("user", example.question),
            _message("assistant", example.plan),
            results_message(results),
            _message("assistant", ANSWER + example.answer),
        ]
    return [*messages, _message("user", question)]


def plan_message(plan: str) -> Message:
    """What the model has planned, as its own turn."""
    return _message("assistant", plan)


def result_line(task_id: int, result: str) -> str:
    """A result as the joiner reads it: a tool's text can't pass for another result or turn."""
    return f"${task_id} = {result}".replace("\n", "\n  ").replace("<|", "< |")


def results_message(results: Iterable[str]) -> Message:
    """The results, a line each."""
    return _message("user", _text("results").substitute(results="\n".join(results) or "(none)"))


def replan_messages(ending: str, first_id: int) -> list[Message]:
    """The joiner's own word that it wants another plan, and the request for it."""
    request = _text("replan").substitute(first_id=first_id)
    return [_message("assistant", ending), _message("user", request)]


def describe(tool: Tool) -> str:
    """A tool as the planner reads it: its signature and the first paragraph of its description."""
    parameters = ", ".join(_parameter(tool, name) for name in (*tool.required, *tool.optional))
    purpose = " ".join(tool.description.split("\n\n")[0].split())
    return f"- {tool.name}({parameters}): {purpose}".rstrip(": ")


def _parameter(tool: Tool, name: str) -> str:
    schema = tool.properties[name]
    default = f" = {_json(schema['default'])}" if "default" in schema else ""
    optional = "" if name in tool.required or default else "?"
    return f"{name}{optional}: {_type(schema)}{default}"


def _type(schema: Schema) -> str:
    if "enum" in schema or "const" in schema:
        choices = schema["enum"] if "enum" in schema else [schema["const"]]
        return " | ".join(map(_json, choices))
    if "anyOf" in schema:
        return " | ".join(_type(choice) for choice in schema["anyOf"])
    if schema["type"] == "array":
        return f"[{_type(schema['items'])}]"
    return str(schema["type"])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


@cache
def _text(name: str) -> Template:
    file = resources.files(__package__).joinpath(f"{name}.txt")
    return Template(file.read_text(encoding="utf-8").rstrip("\n"))


def _message(role: Role, content: str) -> Message:
    return Message(role=role, content=content)
