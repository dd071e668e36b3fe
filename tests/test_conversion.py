"""The merge of an adapter, on a model of a few thousand weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file

from serving import conversion

RANK, ALPHA = 2, 4


@pytest.fixture
def base() -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    return transformers.LlamaForCausalLM(config).to(torch.bfloat16)


@pytest.fixture
def adapter(base: Any, tmp_path: Path) -> Path:
    """Random products on all linear layers."""
    config = peft.LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules="all-linear", init_lora_weights=False
    )
    model = peft.get_peft_model(base, config, autocast_adapter_dtype=False)
    model.save_pretrained(tmp_path / "adapter")
    model.unload()
    (tmp_path / "adapter" / "planner.json").write_text('{"profile": "tuned"}')
    return tmp_path / "adapter"


def test_a_merged_weight_is_the_base_plus_the_product(
    base: Any, adapter: Path, tmp_path: Path
) -> None:
    before = {name: weight.clone() for name, weight in base.state_dict().items()}
    factors = load_file(adapter / "adapter_model.safetensors")
    assert {factor.dtype for factor in factors.values()} == {torch.bfloat16}

    conversion.merge(base, adapter).save_pretrained(tmp_path / "merged")

    merged = load_file(tmp_path / "merged" / "model.safetensors")
    changed = set()
    for name, weight in merged.items():
        expected = before[name].float()
        layer = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{layer}.lora_A.weight" in factors:
            a, b = (factors[f"{layer}.lora_{each}.weight"].float() for each in "AB")
            expected += ALPHA / RANK * (b @ a)
            changed.add(name)
        assert torch.equal(weight, expected.to(torch.bfloat16)), name
    assert len(changed) == len(factors) / 2 == 2 * 7  # layers by projections
    assert set(merged) == set(before) - {"lm_head.weight"}  # which is the embedding, once


def test_what_is_written_is_a_model_with_its_profile(
    base: Any, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tokenizer:
        def save_pretrained(self, target: Path) -> None:
            (target / "tokenizer.json").write_text("{}")

    loaders = {"AutoModelForCausalLM": base, "AutoTokenizer": Tokenizer()}
    for name, loaded in loaders.items():
        loader = type(name, (), {"from_pretrained": staticmethod(lambda *_, it=loaded, **__: it)})
        monkeypatch.setattr(conversion, name, loader)
    source = tmp_path / "model.gguf"
    conversion.convert(source, tmp_path / "tuned", adapter)
    conversion.convert(source, tmp_path / "raw")

    model_files = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"}
    assert {file.name for file in (tmp_path / "raw").iterdir()} == model_files
    assert {file.name for file in (tmp_path / "tuned").iterdir()} == model_files | {"planner.json"}
    assert json.loads((tmp_path / "tuned" / "config.json").read_text())["dtype"] == "bfloat16"
