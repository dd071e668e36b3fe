"""What is asked of one tool, or of two in a chain: the question, its calls, what to say of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from executor.builtin.calculator import calculate
from executor.errors import ToolError
from executor.plan import Template, Value
from executor.values import text_of
from train.varied.bank import Chain, common
from train.varied.phrasing import Drawn, Slots, draw, fill, optional_slots, slots_of, wordings
from train.varied.variants import Variant
from train.wording import listed

_ATTEMPTS = 30
_QUANTITIES = {"height", "length", "area", "population"}
_ID = re.compile(r"(\$[0-9]+)")


@dataclass(frozen=True)
class Call:
    """A task to be, with the text of its result.

    `says` is the clause that tells the result, empty if it only feeds other calls, and `told` the
    texts of the result in it; `deed` is what can't be done if the call fails, empty if another
    call's says it, and `fails` how it might fail.
    """

    tool_name: str
    args: dict[str, Value]
    result: str
    says: str = ""
    deed: str = ""
    fails: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """A question, and its calls in order; references count from the part's first call."""

    question: str
    calls: tuple[Call, ...]


def of_tool(
    variant: Variant, count: int, rng: Random, *, with_options: bool = False
) -> Part | None:
    """`count` calls side by side; None if the tool has no way to ask for that."""
    tool = variant.tool
    asks = [ask for ask in tool.asks if count == 1 or "each" in slots_of(ask)]
    if with_options:
        asks = [a for a in asks if optional_slots(_expanded(a, tool.each)) & variant.optional]
    if not asks:
        return None
    ask = rng.choice(asks)
    options = sorted(optional_slots(_expanded(ask, tool.each)) & variant.optional)
    chosen = rng.sample(options, rng.randint(1, len(options))) if with_options else []
    items = _items(variant, tool.each, chosen, count, rng)
    if items is None:
        return None
    says = rng.choice(tool.says)
    calls = []
    for slots in items:
        result = variant.result(slots, rng)
        texts = _with_each(tool.each, slots)
        given = _result_texts(result)
        calls.append(
            Call(
                variant.spec.name,
                variant.arguments(slots),
                variant.result_text(result),
                says=fill(says, texts | given),
                deed=_deed(tool.deed, tool.noun, texts),
                fails=tuple(fill(text, texts) for text in tool.fails),
                told=_told(says, given) or _told(tool.each, texts),
            )
        )
    return Part(_question(ask, tool.each, items), tuple(calls))


def of_chain(first: Variant, then: Variant, chain: Chain, count: int, rng: Random) -> Part | None:
    """All the first calls, then those that use their results."""
    asks = [ask for ask in chain.asks if count == 1 or "each" in slots_of(ask)]
    if not asks:
        return None
    items = _items(first, chain.each, (), count, rng)
    if items is None:
        return None
    shared: dict[str, Drawn] = {}
    says = rng.choice(chain.says)
    heads, tails = [], []
    for task_id, slots in enumerate(items, 1):
        found = first.result(slots, rng)
        name = first.spec.name
        fails = tuple(fill(text, wordings(slots)) for text in first.tool.fails)
        heads.append(Call(name, first.arguments(slots), first.result_text(found), fails=fails))
        # What the second call needs besides is asked once for all of them.
        shared = shared or then.draw((), rng)
        slots |= {slot: drawn for slot, drawn in shared.items() if slot not in chain.feeds}
        fed = {slot: _fed(path, first, task_id, found) for slot, path in chain.feeds.items()}
        result = then.result({**slots, **{slot: value for slot, (_, value) in fed.items()}}, rng)
        args = then.arguments(slots | {s: Drawn("", ref) for s, (ref, _) in fed.items()})
        texts = _with_each(chain.each, slots)
        given = _result_texts(result, found)
        clause = fill(says, texts | given)
        deed = _deed(chain.deed, chain.noun, texts)
        text = then.result_text(result)
        tails.append(Call(then.spec.name, args, text, clause, deed, told=_told(says, given)))
    return Part(_question(rng.choice(asks), chain.each, items), (*heads, *tails))


def of_combination(variant: Variant, calculator: Variant, rng: Random) -> Part | None:
    """Several results of a tool, put together by arithmetic."""
    combination = rng.choice(common().combinations)
    count = rng.choice(combination.counts)
    tool = variant.tool
    items = _items(variant, tool.each, (), count, rng)
    if items is None or not _comparable(items):
        return None
    results = [variant.result(slots, rng) for slots in items]
    found = [_picked(tool.sums, result) for result in results]
    if combination.unit and not found[0].endswith(f" {combination.unit}"):
        return None
    factor = draw(combination.factor, {}, rng) if combination.factor else Drawn("", "")
    ids = [f"${task_id}" for task_id in range(1, count + 1)]
    written = combination.expression.replace("{+}", " + ".join(ids)).replace("{,}", ", ".join(ids))
    written = written.replace("{factor}", str(factor.value))
    try:
        by_id = dict(zip(ids, found, strict=True))
        total = text_of(calculate(_ID.sub(lambda match: by_id[match[0]], written)))
    except ToolError:  # a ratio to nothing
        return None
    texts = {"result": total, "factor": factor.wording}
    texts["noun"] = _question(tool.measure or tool.noun, tool.each, items)
    [name] = calculator.params.values()
    expression = Template(
        tuple(
            variant.reference(int(piece[1:]), tool.sums) if _ID.fullmatch(piece) else piece
            for piece in _ID.split(written)
            if piece
        )
    )
    calls = [
        Call(
            variant.spec.name,
            variant.arguments(slots),
            variant.result_text(result),
            deed=_deed(tool.deed, tool.noun, _with_each(tool.each, slots)),
        )
        for slots, result in zip(items, results, strict=True)
    ]
    says = fill(rng.choice(combination.says), texts)
    last = Call(calculator.spec.name, {name: expression}, total, says, told=(total,))
    return Part(fill(rng.choice(combination.asks), texts), (*calls, last))


def _comparable(items: Sequence[dict[str, Drawn]]) -> bool:
    """Facts can be put together if they are quantities of one kind."""
    attributes = {slots["attribute"].value for slots in items if "attribute" in slots}
    return not attributes or (len(attributes) == 1 and attributes <= _QUANTITIES)


def _expanded(ask: str, each: str) -> str:
    return ask.replace("{each}", each)


def _items(
    variant: Variant, each: str, options: Sequence[str], count: int, rng: Random
) -> list[dict[str, Drawn]] | None:
    """Slots for each thing that is asked for; what `each` doesn't name is the same for all."""
    shared = variant.draw(options, rng)
    items = {fill(each, wordings(shared)): shared}
    for _ in range(_ATTEMPTS):
        if len(items) == count:
            return list(items.values())
        drawn = variant.draw(options, rng)
        own = {slot: drawn[slot] for slot in slots_of(each) & drawn.keys()}
        if variant.tool.rows:
            own = drawn
        items.setdefault(fill(each, wordings(own)), {**shared, **own})
    return list(items.values()) if len(items) == count else None


def _question(ask: str, each: str, items: Sequence[dict[str, Drawn]]) -> str:
    texts = wordings(items[0])
    texts["each"] = listed([fill(each, wordings(slots)) for slots in items])
    return fill(ask, texts, many=len(items) > 1)


def _with_each(each: str, slots: Slots) -> dict[str, str]:
    texts = wordings(slots)
    return {**texts, "each": fill(each, texts)}


def _deed(deed: str, noun: str, texts: dict[str, str]) -> str:
    return fill(deed.replace("{noun}", noun), texts)


def _result_texts(result: Any, found: Any = None) -> dict[str, str]:
    """What a clause may tell: `result`, `result.field`, and of a chain's first call `found`."""
    texts: dict[str, str] = {}
    for name, value in (("result", result), ("found", found)):
        texts[name] = text_of(value)
        if isinstance(value, dict):
            texts |= {f"{name}.{field}": text_of(item) for field, item in value.items()}
    return texts


def _told(says: str, given: dict[str, str]) -> tuple[str, ...]:
    return tuple(text for name, text in given.items() if name in slots_of(says))


def _fed(path: str, first: Variant, task_id: int, found: Any) -> tuple[Value, Drawn]:
    """The argument that uses the first result, and what it will be."""
    text = _picked(path, found)
    _, _, field = path.partition(".")
    return first.reference(task_id, path), Drawn(text, found[field] if field else found)


def _picked(path: str, result: Any) -> str:
    """What `$` or `$.field` stands for, as text."""
    _, _, field = path.partition(".")
    return text_of(result[field] if field else result)
