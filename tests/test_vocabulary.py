"""The vocabulary that Outlines is told: the bytes of tokens, and how a text ends."""

from __future__ import annotations

import pytest
from outlines_core import Index

from executor.builtin import TOOLBOX
from executor.types import Scalar
from planner_prompts.grammar import join_regex, plan_regex
from serving.vocabulary import END, START, Tokens, marked, repairing, with_marks

BROKEN = "\ufffd".encode()
HALF = b" " + BROKEN  # what vLLM tells of a blank and a part of a letter


class Tokenizer:
    """Token -> id, and the text that it shows for each token."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts

    def get_vocab(self) -> dict[str, int]:
        return {token: id for id, token in enumerate(self._texts)}

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return "".join(self._texts[token] for token in tokens)


@pytest.mark.parametrize(
    ("texts", "told", "right"),
    [
        ({"Ġa": " a"}, {b" a": [0]}, {b" a": [0]}),
        ({"ĠÃ": " \ufffd"}, {HALF: [0]}, {b" \xc3": [0]}),
        ({"ĠÃ": " \ufffd", "Ġé": " \ufffd"}, {HALF: [0, 1]}, {b" \xc3": [0], b" \xe9": [1]}),
        ({"Ã": "\ufffd"}, {b"\xc3": [0]}, {b"\xc3": [0]}),  # told right
        ({"ï¿½": "\ufffd"}, {BROKEN: [0]}, {BROKEN: [0]}),  # a replacement character indeed
        ({"ĠÃ": " \ufffd", "Ġ": " "}, {HALF: [0], b" ": [1]}, {b" \xc3": [0], b" ": [1]}),
        ({"▁\ufffd": " \ufffd"}, {HALF: [0]}, {HALF: [0]}),  # not in bytes
        ({"ĠÃ": " \ufffd"}, {}, {}),  # the token that ends a text is left out
    ],
)  # fmt: skip
def test_tokens_are_told_by_their_own_bytes(
    texts: dict[str, str], told: Tokens, right: Tokens
) -> None:
    def reduced(_: object) -> Tokens:
        return {each: list(ids) for each, ids in told.items()}

    once = repairing(reduced)
    assert once(Tokenizer(texts)) == right
    assert repairing(once)(Tokenizer(texts)) == right


SPARE, END_ID = 257, 256
STRING, NO_A = Scalar("string"), Scalar("string", pattern="^[^a]*$")
BYTES: Tokens = {bytes([byte]): [byte] for byte in range(256)}


def ends(regex: str, text: str) -> list[str]:
    """Where the text may end on its way; fails if it can't be written at all."""
    index = Index(marked(regex), with_marks(BYTES, END_ID, [END_ID, SPARE]))
    state = index.get_next_state(index.get_initial_state(), END_ID)
    found = []
    for at, byte in enumerate([*text.encode(), END_ID]):
        allowed = index.get_allowed_tokens(state)
        assert not {SPARE, ord(START), ord(END)} & set(allowed)
        if END_ID in allowed:
            found.append(text.encode()[:at].decode())
        assert byte in allowed, (at, chr(byte))
        state = index.get_next_state(state, byte)
    assert index.is_final_state(state)
    return found


@pytest.mark.parametrize(
    ("regex", "text", "where"),
    [
        ("a", "a", ["a"]),
        ("a|b", "b", ["b"]),
        ("a*", "aa", ["", "a", "aa"]),
        (r"0(?:\.[0-9]+)?", "0.5", ["0", "0.5"]),
        (r"[^b\x00-\x1f]*", "é😀", ["", "é", "é😀"]),
    ],
)
def test_a_text_ends_where_it_may_and_goes_on_from_there(
    regex: str, text: str, where: list[str]
) -> None:
    assert ends(regex, text) == where


def test_an_answer_may_have_any_character_and_has_one() -> None:
    text = "Answer: aé\n\tat 日本 😀."
    found = ends(join_regex(replan=True), text)
    assert (found[0], found[-1]) == ("Answer: a", text)


@pytest.mark.parametrize(
    ("regex", "text"),
    [
        (plan_regex(TOOLBOX), '1. search("é \\n $$")\n2. search("a $1 ${1.b}")\n3. join()'),
        (join_regex(replan=False, answer=STRING), 'Answer: "a $ é"'),
        (join_regex(replan=False, answer=NO_A), 'Answer: "b $ é"'),
    ],
)
def test_a_text_does_not_end_inside_of_a_string(regex: str, text: str) -> None:
    assert ends(regex, text) == [text]


def test_a_vocabulary_with_no_other_special_token_has_its_end_too() -> None:
    vocabulary = with_marks(BYTES, END_ID, [END_ID])
    assert vocabulary.get_eos_token_id() == ord(START)  # of a token that is left out
    assert vocabulary.get(END.encode()) == [END_ID]
