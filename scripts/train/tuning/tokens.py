"""A chat -> token ids, and which of them are to be learned: what the assistant writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from executor.errors import UsageError
from planner_prompts.messages import Message

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Encoded:
    """`spans` are the half-open ranges of `ids` to be learned; the last one ends `ids`."""

    system: str
    ids: Ids
    spans: tuple[tuple[int, int], ...]

    @property
    def start(self) -> int:
        return self.spans[0][0]

    @property
    def learned(self) -> int:
        return sum(end - start for start, end in self.spans)

    @property
    def first(self) -> Encoded:
        """As far as what is learned first, which is the plan."""
        return replace(self, ids=self.ids[: self.spans[0][1]], spans=self.spans[:1])


class Chat:
    """The chat template of one model. Raises UsageError for one that can't be learned from."""

    def __init__(self, tokenizer: Any, model: str) -> None:
        if not tokenizer.chat_template:
            raise UsageError(
                f"the tokenizer of {model} has no chat template; take an instruct or chat model"
            )
        self._tokenizer = tokenizer
        self._model = model
        self._is_blank = lru_cache(maxsize=None)(self._find_blank)

    def encode(self, messages: Sequence[Message]) -> Encoded:
        """Every turn of the assistant is learned, with the token that ends it."""
        ids = self._ids(messages)
        spans = []
        for at, message in enumerate(messages):
            if message["role"] == "assistant":
                before = self._ids(messages[:at], asks=True)
                through = self._ids(messages[: at + 1])
                if ids[: len(before)] != before or ids[: len(through)] != through:
                    raise UsageError(
                        f"the chat template of {self._model} writes a turn differently once "
                        "others follow it; take another model"
                    )
                spans.append((len(before), self._end(through)))
        return Encoded(messages[0]["content"], ids[: spans[-1][1]], tuple(spans))

    def _ids(self, messages: Sequence[Message], *, asks: bool = False) -> Ids:
        from jinja2 import TemplateError

        try:
            text = self._tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=asks
            )
        except TemplateError as error:
            raise UsageError(
                f"the chat template of {self._model} refuses our chats ({error}); "
                "take another model"
            ) from None
        # As the engine does it: the template has written the special tokens already.
        return tuple(self._tokenizer(text, add_special_tokens=False).input_ids)

    def _end(self, ids: Ids) -> int:
        """Templates may put a line break behind the end of a turn, which nobody generates."""
        end = len(ids)
        while self._is_blank(ids[end - 1]):
            end -= 1
        return end

    def _find_blank(self, token: int) -> bool:
        return not self._tokenizer.decode([token]).strip()
