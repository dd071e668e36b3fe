"""Results -> a streamed answer, or the wish for another plan with its reason.

The joiner is section 3.3's of *An LLM Compiler for Parallel Function Calling* (arXiv 2312.04511);
here the choice between its two endings is held by a grammar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from executor.errors import RunError
from executor.events import AnswerText, EventLog
from planner_prompts.grammar import ANSWER, REPLAN, matches
from planner_prompts.messages import Message
from planner_prompts.render import another_answer_messages
from serving.answers import AnswerForm
from serving.model import Model, Sampling, fits


@dataclass(frozen=True, slots=True)
class Ending:
    """What the joiner wrote: an answer, or the reason for another plan."""

    text: str

    @property
    def answer(self) -> str | None:
        return self.text.removeprefix(ANSWER).strip() if self.text.startswith(ANSWER) else None

    @property
    def reason(self) -> str:
        return self.text.removeprefix(REPLAN).strip()


async def join(
    model: Model, messages: Sequence[Message], sampling: Sampling, log: EventLog
) -> Ending:
    """Lets the model end a round; an answer is told to the log as it is written."""
    text = ""
    async with model.stream(messages, sampling) as deltas:
        async for delta in deltas:
            told = max(len(text), len(ANSWER))
            text += delta.text
            if text.startswith(ANSWER) and len(text) > told:
                log.emit(AnswerText(text=text[told:]))
            if delta.finish_reason == "length" and text.startswith(ANSWER):
                note = f" [cut off after {sampling.max_tokens} tokens]"
                log.emit(AnswerText(text=note))
                text += note
    return _checked(text, sampling)


async def join_in_form(
    model: Model,
    messages: Sequence[Message],
    sampling: Sampling,
    log: EventLog,
    form: AnswerForm,
    max_rewrites: int,
) -> Ending:
    """Lets the model end a round; an answer is told to the log as soon as it is known to fit.

    One that doesn't is asked for again, with its fault named, at most `max_rewrites` times; then
    RunError is raised.
    """
    asked = messages
    for _ in range(1 + max_rewrites):
        ending, fault = await _ending_in_form(model, asked, sampling, form)
        if not fault:
            if ending.answer is not None:
                log.emit(AnswerText(text=ending.answer))
            return ending
        asked = [*messages, *another_answer_messages(ending.text, fault)]
        if not await fits(model, asked, sampling.max_tokens):
            break
    raise RunError("no_ending", f"the answer does not fit: {fault}")


async def _ending_in_form(
    model: Model, messages: Sequence[Message], sampling: Sampling, form: AnswerForm
) -> tuple[Ending, str]:
    """What the model wrote, and the fault in it, if it is an answer that has one."""
    text = ""
    async with model.stream(messages, sampling) as deltas:
        async for delta in deltas:
            text += delta.text
    if not text.startswith(ANSWER):
        return _checked(text, sampling), ""
    ending = Ending(text)
    if delta.finish_reason == "length":  # half of a number is a number, too
        return ending, f"it is cut off after {sampling.max_tokens} tokens; be brief"
    return ending, await form.fault(ending.answer or "")


def _checked(text: str, sampling: Sampling) -> Ending:
    assert sampling.regex is not None
    if not matches(sampling.regex, text):  # cut off too early, or an engine without grammars
        raise RunError("no_ending", f"the model gave no usable answer: {text!r}")
    return Ending(text)
