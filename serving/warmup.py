"""What an engine is asked before the first question: a proof, and to get warm.

Servers that don't know grammars ignore them in silence, and a grammar's first use costs seconds.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence

from executor.errors import EngineError
from executor.tools import ToolBox
from planner_prompts import render
from planner_prompts.examples import Example
from planner_prompts.grammar import join_regex, plan_regex
from planner_prompts.messages import Message
from planner_prompts.profile import Profile
from serving.model import Model, Sampling
from serving.settings import Settings


def digest(toolbox: ToolBox, settings: Settings, profile: Profile) -> str:
    """Names what `warm` prepares: the grammar of a toolbox's first plans, and its prompt."""
    regex = plan_regex(toolbox, 1, settings.max_tasks, settings.backend)
    prepared = f"{profile.name}\n{regex}"
    return hashlib.sha256(prepared.encode()).hexdigest()[:16]


async def prove_grammar(model: Model) -> None:
    """Raises EngineError unless the engine writes what only a grammar makes it write."""
    word = secrets.token_hex(4)
    messages = [Message(role="user", content="Say hello.")]
    written = await reply(model, messages, Sampling(max_tokens=32, regex=f"{word}-[0-9]"))
    if not re.fullmatch(f"{word}-[0-9]", written):
        raise EngineError(
            f"the engine does not obey grammars: asked for {word}-<digit>, "
            f"it wrote {written[:80]!r}; it must be vLLM 0.12 or later"
        )


async def warm(
    model: Model, toolbox: ToolBox, examples: Sequence[Example], settings: Settings
) -> None:
    """Has the engine compile the toolbox's grammars and cache the prompt's constant part."""
    messages = render.opening(toolbox, examples, "Hello?", model.profile)
    for regex in (
        plan_regex(toolbox, 1, settings.max_tasks, settings.backend),
        join_regex(replan=True),
        join_regex(replan=False),
    ):
        await reply(model, messages, Sampling(max_tokens=1, regex=regex))


async def reply(model: Model, messages: Sequence[Message], sampling: Sampling) -> str:
    """The whole reply at once."""
    async with model.stream(messages, sampling) as deltas:
        return "".join([delta.text async for delta in deltas])
