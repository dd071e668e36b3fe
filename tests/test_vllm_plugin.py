"""What we mend in vLLM: that it is found, and what a regex costs."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

from serving.vllm_plugin import register


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
