"""What we mend in vLLM: the bytes of tokens that Outlines is told, and what a regex costs."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

from serving.vllm_plugin import Vocabulary, register, repairing

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
    texts: dict[str, str], told: Vocabulary, right: Vocabulary
) -> None:
    def reduced(_: object) -> Vocabulary:
        return {each: list(ids) for each, ids in told.items()}

    once = repairing(reduced)
    assert once(Tokenizer(texts)) == right
    assert repairing(once)(Tokenizer(texts)) == right


def test_vllm_finds_it() -> None:
    (ours,) = entry_points(group="vllm.general_plugins", name="headstart")
    assert ours.load() is register


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, when vLLM is imported
def test_a_regex_is_parsed_once_and_refused_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.exceptions import VLLMValidationError
    from vllm.sampling_params import SamplingParams, StructuredOutputsParams
    from vllm.v1.structured_output import backend_outlines, utils

    checked = []
    check = backend_outlines.validate_regex_is_buildable

    def counting(pattern: str) -> None:
        checked.append(pattern)
        check(pattern)

    monkeypatch.setattr(backend_outlines, "validate_regex_is_buildable", counting)
    monkeypatch.setattr(utils, "_reduced_vocabulary", utils._reduced_vocabulary)
    register()

    def request(regex: str) -> None:
        params = SamplingParams(structured_outputs=StructuredOutputsParams(regex=regex))
        backend_outlines.validate_structured_output_request_outlines(params)

    for _ in range(3):
        request("a[0-9]")
        with pytest.raises(VLLMValidationError, match="references"):
            request(r"(a)\1")
    assert checked == ["a[0-9]", r"(a)\1", r"(a)\1", r"(a)\1"]
