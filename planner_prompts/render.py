"""Question, toolbox and results -> chat messages.

The transcript of a run only ever grows, and what is the same for every run of a toolbox stands
first, so that the engine's prefix cache serves each later call.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from importlib import resources
from string import Template
from typing import Any

from executor.parser import tasks_of
from executor.plan import Task, render_name
from executor.schema_size import Schema
from executor.tools import Tool, ToolBox
from executor.types import Anything, Array, Choice, Object, Scalar, Type, Union
from planner_prompts.examples import Example, bundled_examples
from planner_prompts.grammar import ANSWER
from planner_prompts.messages import Message, Role
from planner_prompts.profile import FEW_SHOT, Profile
from planner_prompts.results import result_lines

_REMEMBERED = 64  # toolboxes


def opening(
    toolbox: ToolBox, examples: Sequence[Example], question: str, profile: Profile = FEW_SHOT
) -> list[Message]:
    """The transcript up to where the plan begins.

    `examples` are the caller's own; the bundled ones go before them where the profile has them.
    """
    own = _worked(examples, toolbox)
    return [*_common(toolbox, profile), *own, _message("user", question)]


@lru_cache(_REMEMBERED)
def _common(toolbox: ToolBox, profile: Profile) -> tuple[Message, ...]:
    """What stands at the head of each transcript."""
    tools = "\n".join(describe(tool) for tool in toolbox) or "(none)"
    system = _message("system", _text(profile.system).substitute(tools=tools))
    bundled = bundled_examples(toolbox) if profile.bundled_examples else []
    return (system, *_worked(bundled, toolbox))


def _worked(examples: Sequence[Example], toolbox: ToolBox) -> list[Message]:
    """Examples as transcripts of runs."""
    messages = []
    for example in examples:
        tasks = tasks_of(example.plan, toolbox)
        messages += [
            _message("user", example.question),
            _message("assistant", example.plan),
            results_message(tasks, example.results, toolbox),
            _message("assistant", ANSWER + example.answer),
        ]
    return messages


def in_chat(earlier: Sequence[Message], question: str) -> str:
    """A question with what was said before it, as one text: a plan follows questions only."""
    if not earlier:
        return question
    said = "\n".join(f"{message['role']}: {message['content']}" for message in earlier)
    return _text("chat").substitute(earlier=said, question=question)


def plan_message(plan: str) -> Message:
    """What the model has planned, as its own turn."""
    return _message("assistant", plan)


def results_message(
    tasks: Iterable[Task],
    results: Mapping[int, str],
    toolbox: ToolBox,
    answer_schema: Schema | None = None,
) -> Message:
    """What came of the tasks of a plan; `results` are all that the run has so far, by task id."""
    lines = "\n".join(result_lines(tasks, results, toolbox)) or "(none)"
    told = _text("results").substitute(results=lines)
    if answer_schema is not None:
        told += "\n" + _text("answer_schema").substitute(schema=_json(answer_schema))
    return _message("user", told)


def another_answer_messages(written: str, fault: str) -> list[Message]:
    """The joiner's own word with a fault in its answer, and the request for another."""
    request = _text("another_answer").substitute(fault=fault)
    return [_message("assistant", written), _message("user", request)]


def replan_messages(ending: str, first_id: int) -> list[Message]:
    """The joiner's own word that it wants another plan, and the request for it."""
    request = _text("replan").substitute(first_id=first_id)
    return [_message("assistant", ending), _message("user", request)]


def rewrite_messages(written: str, fault: str, id: int) -> list[Message]:
    """A plan as far as it is written, with a fault in its last line, and the request to go on."""
    request = _text("rewrite").substitute(fault=fault, id=id)
    return [_message("assistant", written), _message("user", request)]


def describe(tool: Tool) -> str:
    """A tool as the planner reads it: its signature and the first paragraph of its description."""
    parameters = ", ".join(_parameter(tool, name) for name in (*tool.required, *tool.optional))
    purpose = " ".join(tool.description.split("\n\n")[0].split())
    return f"- {tool.name}({parameters}): {purpose}".rstrip(": ")


def _parameter(tool: Tool, name: str) -> str:
    schema = tool.properties[name]
    has_default = isinstance(schema, Mapping) and "default" in schema  # a schema may be just true
    default = f" = {_json(schema['default'])}" if has_default else ""
    optional = "" if name in tool.required or default else "?"
    return f"{render_name(name)}{optional}: {_type(tool.types[name])}{default}"


def _type(type: Type) -> str:
    match type:
        case Scalar(kind=kind, format=format):
            return format or kind
        case Choice(values=values):
            return " | ".join(map(_json, values))
        case Union(choices=choices):
            return " | ".join(map(_type, choices))
        case Array(first=first, rest=rest):
            items = list(map(_type, first))
            if rest is not None and all(each == rest for each in first):
                items = [_type(rest)]
            elif rest is not None:
                items.append(f"{_type(rest)}...")
            return f"[{', '.join(items)}]"
        case Object(required=required, optional=optional, rest=rest):
            members = [f"{_json(name)}: {_type(each)}" for name, each in required.items()]
            members += [f"{_json(name)}?: {_type(each)}" for name, each in optional.items()]
            if rest is not None:
                members.append(f"...: {_type(rest)}")
            return f"{{{', '.join(members)}}}"
        case Anything():
            return "any"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


@cache
def _text(name: str) -> Template:
    file = resources.files(__package__).joinpath(f"{name}.txt")
    return Template(file.read_text(encoding="utf-8").rstrip("\n"))


def _message(role: Role, content: str) -> Message:
    return Message(role=role, content=content)
