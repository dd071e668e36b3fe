"""The `search` tool: short typed answers from the bundled fact base, facts.tsv.

A query is read as an entity and what is asked of it. The entity comes first: one of its names must
stand in the query, word for word or slightly misspelt. Every other word that matters must then fit
an attribute of that entity, so that a query is answered as asked or not at all.
"""

import csv
import re
import sqlite3
import threading
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import resources

from executor.errors import ToolError

MAX_QUERY = 500

# Words that say what kind of thing an entity is; the category's own name needn't be repeated.
CATEGORY_WORDS = {
    "aircraft": "airplane plane jet",
    "building": "tower skyscraper",
    "book": "novel",
    "country": "nation state",
    "element": "chemical metal gas",
    "film": "movie",
    "mountain": "mount mt peak",
    "ship": "vessel liner",
    "space mission": "spacecraft probe rover",
}
_IGNORED = """
    a about above an and approximate approximately are at by can current currently did do does
    exact exactly fact facts feet for from give had has have how in info information is it its
    kilometers kilometres km level m many me meters metres miles much of official on please sea
    tell than that the there this to total value was were what which with world years
"""
STOP_WORDS = frozenset(_IGNORED.split())
# Other names are proper names, and Aliens is another film than Alien.
COMMON_NOUNS = frozenset({"animal", "invention", "substance"})
_QUESTION_WORDS = frozenset({"who", "when", "where"})
_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "’": "'"}
)
# One connection serves all threads, one at a time.
_lock = threading.Lock()


@dataclass(frozen=True)
class Fact:
    """One row of facts.tsv; the unit is empty for years, dates, texts and pure numbers."""

    category: str
    entity: str
    aliases: tuple[str, ...]
    attribute: str
    value: str
    unit: str
    source: str

    @property
    def text(self) -> str:
        """The value with its unit, as `calculate` reads it."""
        return f"{self.value} {self.unit}".rstrip()


@dataclass(frozen=True)
class _Reading:
    """A query read as being about one entity; `rest` are the words beside its name."""

    entity: str
    rest: tuple[str, ...]


@cache
def facts() -> tuple[Fact, ...]:
    """All facts, in the file's order."""
    return tuple(
        Fact(category, entity, tuple(filter(None, aliases.split("|"))), *rest)
        for category, entity, aliases, *rest in _rows("facts.tsv")
    )


def _rows(file: str) -> list[list[str]]:
    text = resources.files("executor.builtin").joinpath(file).read_text(encoding="utf-8")
    return list(csv.reader(text.splitlines()[1:], delimiter="\t", quoting=csv.QUOTE_NONE))


def search(query: str) -> str:
    """Answer a question about one entity, such as "height of Mount Everest", from the fact base.

    The answer is the bare value with its unit (`8849 m`, `Paris`), or all facts in one line when
    nothing particular is asked. Raises ToolError where the fact base has no answer.
    """
    if len(query) > MAX_QUERY:
        raise ToolError(f"the query is longer than {MAX_QUERY} characters")
    words = _words(query)
    if not words:
        raise ToolError("the query has no words to look for")
    with _lock:
        readings: list[_Reading] = []
        for read in (_named, _misspelt):
            found = read(words)
            answers = _best([_asked(reading) for reading in found])
            if answers:
                return _answer(answers)
            readings += found
    raise ToolError(_nothing(query, readings))


def _words(text: str) -> tuple[str, ...]:
    plain = unicodedata.normalize("NFKD", text.casefold().translate(_LETTERS))
    without_accents = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return tuple(re.findall(r"[a-z0-9]+", re.sub(r"'s\b|'", "", without_accents)))


@cache
def _entities() -> dict[str, tuple[Fact, ...]]:
    found: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts():
        found[fact.entity].append(fact)
    return {entity: tuple(known) for entity, known in found.items()}


@cache
def _names() -> dict[str, set[str]]:
    """The entities of each name, spelled as `_words` leaves it."""
    names: dict[str, set[str]] = defaultdict(set)
    for entity, known in _entities().items():
        for name in {entity}.union(*(fact.aliases for fact in known)):
            names[" ".join(_words(name))].add(entity)
    return names


@cache
def _index() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.executescript("""
        CREATE VIRTUAL TABLE name USING fts5(words, size UNINDEXED, tokenize = porter);
        CREATE VIRTUAL TABLE attribute USING fts5(words, name UNINDEXED, tokenize = porter);
    """)
    connection.executemany(
        "INSERT INTO name VALUES (?, ?)", ((name, len(name.split())) for name in _names())
    )
    # attributes.tsv holds the words people ask with, beside an attribute's own.
    words = dict(_rows("attributes.tsv"))
    attributes = {fact.attribute for fact in facts()}
    connection.executemany(
        "INSERT INTO attribute VALUES (?, ?)",
        ((" ".join(_words(f"{name} {words.get(name, '')}")), name) for name in attributes),
    )
    return connection


def _spans(words: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """Start and end of every run of words that could be a name, longest first."""
    longest = max(len(name.split()) for name in _names())
    for size in range(min(longest, len(words)), 0, -1):
        for start in range(len(words) - size + 1):
            yield start, start + size


def _named(words: tuple[str, ...]) -> list[_Reading]:
    readings: list[_Reading] = []
    taken: list[tuple[int, int]] = []
    for start, end in _spans(words):
        # Mount Kenya is not about Kenya.
        if any(first <= start and end <= last for first, last in taken):
            continue
        entities = _called(words[start:end])
        if entities:
            taken.append((start, end))
            rest = words[:start] + words[end:]
            readings += [_Reading(entity, rest) for entity in sorted(entities)]
    return readings


def _called(words: tuple[str, ...]) -> set[str]:
    """The entities with this name, or whose name it is but for its ending, as in cheetahs."""
    name = " ".join(words)
    if name in _names():
        return _names()[name]
    rows = _index().execute(
        "SELECT words FROM name WHERE name MATCH ? AND size = ?", (f'"{name}"', len(words))
    )
    entities = {entity for (stored,) in rows for entity in _names()[stored]}
    return {each for each in entities if _entities()[each][0].category in COMMON_NOUNS}


def _misspelt(words: tuple[str, ...]) -> list[_Reading]:
    readings: dict[_Reading, None] = {}
    for start, end in _spans(words):
        # The Titanic is not a misspelt Titania.
        if _called(words[start:end]) or STOP_WORDS & {words[start], words[end - 1]}:
            continue
        for name in _close_names(" ".join(words[start:end])):
            for entity in sorted(_names()[name]):
                readings[_Reading(entity, words[:start] + words[end:])] = None
    return list(readings)


def _close_names(text: str) -> list[str]:
    if len(text) < 5:
        return []
    names = [
        name
        for name in _names()
        if name[0] == text[0]
        and abs(len(name) - len(text)) <= 2
        and text != name + "s"
        and _fixed(name) == _fixed(text)
    ]
    # Lets through a wrong letter in seven; Slovakia and Slovenia remain two countries.
    return get_close_matches(text, names, n=3, cutoff=0.84)


def _fixed(text: str) -> list[str]:
    """Words that are never taken as misspelt: Apollo 10 is not Apollo 11, nor Elizabeth I the II.

    Short words and numbers differ by a letter all the time.
    """
    return [word for word in text.split() if len(word) <= 3 or not word.isalpha()]


def _asked(reading: _Reading) -> tuple[bool, list[Fact]]:
    """The facts asked for, and whether the attribute's very name was used."""
    known = _entities()[reading.entity]
    asked = _content(reading.rest)
    exact = [fact for fact in known if asked and _content(_words(fact.attribute)) == asked]
    if exact:
        return True, exact
    kind = known[0].category
    kinds = _words(f"{kind} {kind}s {CATEGORY_WORDS.get(kind, '')}")
    asked = [word for word in asked if word not in kinds]
    if not asked:
        return False, list(known)
    fitting = _index().execute(
        "SELECT name FROM attribute WHERE attribute MATCH ?",
        (" AND ".join(f'"{word}"' for word in asked),),
    )
    attributes = {name for (name,) in fitting}
    return False, [fact for fact in known if fact.attribute in attributes]


def _content(words: tuple[str, ...]) -> list[str]:
    return [word for word in words if word not in STOP_WORDS]


def _best(answers: list[tuple[bool, list[Fact]]]) -> list[list[Fact]]:
    exact = [found for by_name, found in answers if by_name]
    return exact or [found for _, found in answers if found]


def _answer(answers: list[list[Fact]]) -> str:
    entities = sorted({found[0].entity for found in answers})
    if len(entities) > 1:
        raise ToolError(f"the name is ambiguous: {'; '.join(entities)}; ask for one of them")
    found = answers[0]
    if len(found) == 1:
        return found[0].text
    return "; ".join(f"{fact.attribute}: {fact.text}" for fact in found)


def _nothing(query: str, readings: list[_Reading]) -> str:
    if not readings:
        return f"nothing found for {' '.join(query.split())[:80]!r}: it names nothing known"
    first = readings[0]
    known = ", ".join(fact.attribute for fact in _entities()[first.entity])
    asked = " ".join(word for word in _content(first.rest) if word not in _QUESTION_WORDS)[:80]
    return f"nothing on the {asked} of {first.entity}; known of {first.entity}: {known}"
