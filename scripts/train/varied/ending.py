"""From the parts of a question to a sample: one plan, its results, the answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from random import Random

from executor.plan import Join, Ref, Task, Template, Value, render
from train.samples import Right, Round, Sample, ToolSpec
from train.varied.bank import common
from train.varied.parts import Call, Part
from train.varied.phrasing import fill
from train.wording import listed

# With a unit behind it, but no month.
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?=(?: (?:[a-z][^ ]*|[A-Z]{3}))?$)")
_JOINED = (
    "{a}, and {b}",
    "{a}, and also {b}",
    "{a}, and {b}",
    "{A} {B}",
    "{A} Also, {b}",
    "{A} And {b}",
)


def sample_of(
    shape: str, tools: Sequence[ToolSpec], parts: Sequence[Part], rng: Random, *, failing: bool
) -> Sample:
    """One sample for the parts side by side; if `failing`, at least one of its calls failed."""
    tasks, calls = _tasks(parts)
    failures = _failures(tasks, calls, rng) if failing else {}
    results = {task.id: call.result for task, call in zip(tasks, calls, strict=True)} | failures
    draft = Sample(
        question=_question([part.question for part in parts], rng),
        tools=tuple(tools),
        rounds=(Round(plan="1. join()", results=results, ending="Answer: "),),
        shape=shape,
    )
    items: list[Task | Join] = [*tasks, Join(len(tasks) + 1)]
    plan = "\n".join(render(item, draft.toolbox) for item in items)
    by_id = {task.id: call for task, call in zip(tasks, calls, strict=True)}
    answer = _answer(by_id, failures, rng)
    round_ = Round(plan=plan, results=results, ending=f"Answer: {answer}")
    fine = [call for id, call in by_id.items() if id not in failures]
    return draft.model_copy(
        update={
            "rounds": (round_,),
            "width": sum(not task.needs for task in tasks),
            "right": _right(fine, answer, admits=bool(failures)),
        }
    )


def _tasks(parts: Sequence[Part]) -> tuple[list[Task], list[Call]]:
    """The calls of all parts as tasks, numbered on."""
    tasks: list[Task] = []
    calls: list[Call] = []
    for part in parts:
        before = len(tasks)
        calls += part.calls
        for number, call in enumerate(part.calls, before + 1):
            args = {name: _shifted(value, before) for name, value in call.args.items()}
            tasks.append(Task(number, call.tool_name, args))
    return tasks, calls


def _shifted(value: Value, by: int) -> Value:
    match value:
        case Ref():
            return replace(value, task_id=value.task_id + by)
        case Template(parts=parts):
            return Template(tuple(_shifted(part, by) for part in parts))
        case _:
            return value


def _question(questions: Sequence[str], rng: Random) -> str:
    joined = questions[0]
    for question in questions[1:]:
        pattern = rng.choice(_JOINED)
        pieces = {"A": joined, "a": joined.rstrip(".?"), "B": question, "b": _lowered(question)}
        joined = pattern.format(**pieces)
    return joined


def _lowered(question: str) -> str:
    """Inside a sentence a question begins small, unless with a name or a number."""
    is_word = re.match(r"[A-Z][a-z']+ ", question)
    return question[0].lower() + question[1:] if is_word else question


def _failures(tasks: Sequence[Task], calls: Sequence[Call], rng: Random) -> dict[int, str]:
    """What the failed tasks, and those that need them, leave in the place of a result."""
    sources = [task.id for task in tasks if not task.needs]
    most = max(1, len(sources) - 1) if rng.random() < 0.8 else len(sources)
    failed = rng.sample(sources, rng.randint(1, most))
    shared = rng.choice(common().fails)
    found: dict[int, str] = {}
    for task, call in zip(tasks, calls, strict=True):
        broken = [need for need in task.needs if need in found]
        if task.id in failed:
            own = rng.choice(call.fails) if call.fails and rng.random() < 0.6 else shared
            found[task.id] = f"failed: {own}"
        elif broken:
            found[task.id] = f"skipped: it needs ${broken[0]}, which gave no result"
    return found


def _answer(calls: Mapping[int, Call], failures: dict[int, str], rng: Random) -> str:
    """What is known, then what is not and why."""
    clauses = [call.says for id, call in calls.items() if call.says and id not in failures]
    sentences = _sentences(clauses, rng)
    missing = [call.deed for id, call in calls.items() if id in failures and call.deed]
    if missing:
        reasons = [text.removeprefix("failed: ") for text in failures.values()]
        reasons = list(dict.fromkeys(text for text in reasons if not text.startswith("skipped")))
        texts = {"deed": listed(missing), "reason": "; ".join(reasons)}
        sentences.append(_capital(fill(rng.choice(common().couldnt), texts)))
    return " ".join(sentences)


def _sentences(clauses: Sequence[str], rng: Random) -> list[str]:
    if not clauses:
        return []
    if any(", " in clause for clause in clauses) or (len(clauses) == 2 and rng.random() < 0.3):
        return [f"{_capital(clause).removesuffix('.')}." for clause in clauses]
    return [f"{_capital(listed(clauses)).removesuffix('.')}."]


def _capital(text: str) -> str:
    """A sentence begins large, unless with something like `web-1`."""
    first = text.split()[0]
    return text[0].upper() + text[1:] if first.isalpha() else text


def _right(calls: Iterable[Call], answer: str, *, admits: bool) -> Right:
    """The results' texts and numbers, as far as the answer tells them."""
    names: dict[str, None] = {}
    numbers: dict[float, None] = {}
    for call in calls:
        for text in call.told:
            if match := _NUMBER.match(text):
                numbers[float(match[0])] = None
            elif text in answer:
                names[text] = None
    return Right(names=tuple(names), numbers=tuple(numbers), admits=admits)
