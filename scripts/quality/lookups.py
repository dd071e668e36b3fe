"""A `search` that knows a file's values and nothing else, for questions beyond the fact base."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Annotated

import pydantic

from executor.errors import ToolError

Text = Annotated[str, pydantic.Field(min_length=1)]
_EMPTY = frozenset({"a", "an", "at", "by", "in", "of", "the", "to"})


class Lookup(pydantic.BaseModel):
    """One value of one entity, and the words with which people ask for it."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    entity: Text
    aliases: tuple[Text, ...] = ()
    attribute: Text
    words: tuple[Text, ...] = ()
    value: Text

    @property
    def names(self) -> tuple[str, ...]:
        return self.entity, *self.aliases

    def fit(self, query: frozenset[str]) -> tuple[int, int] | None:
        """How many words of its name and of its attribute a query has; None if it asks for else.

        All words of one name and one word of the attribute must be there.
        """
        names = [words for words in map(words_of, self.names) if words <= query]
        asked = words_of(" ".join([self.attribute, *self.words])) & query
        return (max(map(len, names)), len(asked)) if names and asked else None


def find(lookups: Sequence[Lookup], query: str) -> str:
    """The value that fits a query best. Raises ToolError if none does, or several do alike."""
    words = words_of(query)
    fits = [(fit, each.value) for each in lookups if (fit := each.fit(words)) is not None]
    best = max((fit for fit, _ in fits), default=None)
    values = {value for fit, value in fits if fit == best}
    if not values:
        raise ToolError(f"nothing found for {' '.join(query.split())[:80]!r}")
    if len(values) > 1:
        raise ToolError(f"{' '.join(query.split())[:80]!r} may mean {', '.join(sorted(values))}")
    return values.pop()


def words_of(text: str) -> frozenset[str]:
    """The words that matter: without case, accents, and the s of a plural or of an owner."""
    plain = unicodedata.normalize("NFKD", re.sub(r"['’]s\b", "", text.casefold()))
    letters = "".join(each for each in plain if not unicodedata.combining(each))
    words = re.findall(r"[^\W_]+", letters)
    return frozenset(re.sub(r"(?<=\w\w[^\Ws])s$", "", word) for word in words) - _EMPTY
