"""GGUF -> safetensors, with an adapter merged in if one is given. Imports torch.

python -m serving.conversion FILE.gguf DIRECTORY [ADAPTER]
"""

import shutil
import sys
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedModel

from planner_prompts import profile


def convert(source: Path, target: Path, adapter: Path | None = None) -> None:
    """Writes the weights of a GGUF file as bfloat16, with configuration and tokenizer.

    With an adapter, what was tuned goes with it: its planner.json says how to address the model.
    """
    model = AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,  # also before a merge: adapters are trained on what is served
    )
    if adapter is not None:
        model = merge(model, adapter)
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(target)
    if adapter is not None:
        shutil.copyfile(adapter / profile.FILE, target / profile.FILE)


def merge(base: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    """The base with a LoRA adapter's products added to its weights, in float32; as bfloat16."""
    tuned = PeftModel.from_pretrained(base.float(), adapter)
    return tuned.merge_and_unload().to(torch.bfloat16)


if __name__ == "__main__":
    convert(*map(Path, sys.argv[1:]))
