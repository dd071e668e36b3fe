"""The training half of scripts/train, on a model of a few thousand weights."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    PreTrainedTokenizerFast,
)

import train
from executor.errors import UsageError
from serving.conversion import merge
from serving.models import Weights
from train import __main__ as command_line
from train import data as data_half
from train.own import History
from train.samples import Round, Sample, ToolSpec, write
from train.tuning import attention, place, result, training
from train.tuning import learner as learners
from train.tuning.batches import IGNORED, MicroBatch, epoch, micro_batches
from train.tuning.card import licence
from train.tuning.checkpoint import Checkpoint
from train.tuning.learner import Learner
from train.tuning.recipe import Recipe
from train.tuning.tokens import Chat, Encoded
from train.tuning.training import Interrupted, Material, Training, stop_signals

SCRIPTS = str(Path(train.__file__).parents[1])
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
NO_LINE_BREAK = CHATML.replace("<|im_end|>\n", "<|im_end|>")
FORGETFUL = CHATML.replace("m['content']", "loop.length|string + m['content']")


def tool(name: str) -> ToolSpec:
    parameters = {
        "type": "object",
        "properties": {"query": {"type": "string"}},
        "required": ["query"],
    }
    return ToolSpec(name=name, description=f"Asks the {name}.", parameters=parameters)


def sample(tool_name: str, thing: str, *, replans: bool = False) -> Sample:
    rounds = (
        Round(
            plan=f'1. {tool_name}("height of {thing}")\n2. join()',
            results={1: "8611 m"},
            ending=f"Answer: {thing} is 8611 m tall.",
        ),
    )
    if replans:
        first = Round(
            plan=f'1. {tool_name}("{thing}")\n2. join()',
            results={1: "a mountain"},
            ending="Replan: the height is missing",
        )
        last = rounds[0].model_copy(
            update={"plan": f'2. {tool_name}("height of {thing}")\n3. join()'}
        )
        last = last.model_copy(update={"results": {2: "8611 m"}})
        rounds = (first, last)
    return Sample(
        question=f"How tall is {thing}?", tools=(tool(tool_name),), rounds=rounds, shape="lookup"
    )


THINGS = ["K2", "Mont Blanc", "Denali", "the Eiffel Tower", "Mount Everest", "Big Ben"]
SAMPLES = [
    sample(name, f"{thing} {at}", replans=at % 5 == 0)
    for at, thing in enumerate(THINGS * 3)
    for name in (["search", "ask"] if at % 3 else ["search"])
]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """So small a model only loses by more."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(usual)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama with random weights, as bfloat16 like the real ones, and its tokenizer."""
    path = tmp_path_factory.mktemp("base")
    bpe = Tokenizer(BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=400,
        special_tokens=["<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(
        [message["content"] for one in SAMPLES for message in one.transcript()], trainer
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>")
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(path)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=1024,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def tokenizer(base: Path) -> Any:
    return AutoTokenizer.from_pretrained(base)


@pytest.fixture(scope="module")
def encoded(tokenizer: Any) -> list[Encoded]:
    chat = Chat(tokenizer, "tiny")
    return [chat.encode(one.transcript()) for one in SAMPLES]


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that two ways to the same number can be compared closely."""
    monkeypatch.setattr(learners, "_cpu_is_fast", lambda: False)


# What is learned


@pytest.mark.parametrize("template", [CHATML, NO_LINE_BREAK])
@pytest.mark.parametrize("replans", [False, True])
def test_what_the_assistant_writes_is_learned_with_the_end_of_its_turn(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch, template: str, replans: bool
) -> None:
    monkeypatch.setattr(tokenizer, "chat_template", template)
    messages = sample("search", "K2", replans=replans).transcript()
    one = Chat(tokenizer, "tiny").encode(messages)
    learned = [tokenizer.decode(one.ids[start:end]) for start, end in one.spans]
    said = [message["content"] for message in messages if message["role"] == "assistant"]
    assert learned == [f"{text}<|im_end|>" for text in said]
    assert one.spans[-1][1] == len(one.ids)


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        (None, "the tokenizer of tiny has no chat template"),
        ("{{ raise_exception('no system role') }}", "refuses our chats (no system role)"),
        (FORGETFUL, "writes a turn differently"),
    ],
)
def test_a_template_that_can_t_be_learned_from_is_named(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch, template: str | None, complaint: str
) -> None:
    monkeypatch.setattr(tokenizer, "chat_template", template)
    with pytest.raises(UsageError) as error:
        Chat(tokenizer, "tiny").encode(SAMPLES[0].transcript())
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


# Batches


@st.composite
def some_encoded(draw: st.DrawFn) -> list[Encoded]:
    def one(at: int) -> Encoded:
        system = draw(st.integers(0, 3))
        head = [system] * draw(st.integers(2, 4))
        body = draw(st.lists(st.integers(4, 6), min_size=2, max_size=6))
        start = draw(st.integers(len(head), len(head) + len(body) - 1))
        ids = (*head, *body)
        return Encoded(str(system), ids, ((start, len(ids)),))

    return [one(at) for at in range(draw(st.integers(1, 40)))]


@given(some_encoded(), st.integers(1, 8), st.integers())
def test_an_epoch_has_every_sample_once(samples: list[Encoded], size: int, seed: int) -> None:
    steps = epoch(samples, size, Random(seed))
    seen = [one for step in steps for batch in step for one in batch.samples]
    assert sorted(map(id, seen)) == sorted(map(id, samples))
    assert all(sum(len(batch.samples) for batch in step) <= size for step in steps)
    assert epoch(samples, size, Random(seed)) == steps


def test_steps_are_of_more_than_one_kind() -> None:
    samples = [Encoded(system, (1, 2, 3), ((2, 3),)) for system in "ab" for _ in range(64)]
    mixed = [
        step
        for step in epoch(samples, 8, Random(0))
        if len({batch.samples[0].system for batch in step}) > 1
    ]
    assert len(mixed) > 3


@given(some_encoded())
def test_every_learned_token_is_the_target_of_the_one_before_it(samples: list[Encoded]) -> None:
    for batch in micro_batches(samples):
        row = batch.row()
        assert len(row.ids) == len(row.positions) == len(row.targets) == row.ends[-1]
        shared = row.ids[: row.ends[0]]
        for one, start, end in zip(batch.samples, row.ends, row.ends[1:], strict=False):
            assert (*shared, *row.ids[start:end]) == one.ids[:-1]
            assert row.positions[start:end] == [*range(len(shared), len(one.ids) - 1)]
            assert [*row.targets[: len(shared)], *row.targets[start:end]] == targets_of(one)


@given(some_encoded())
def test_padding_is_learned_nowhere(samples: list[Encoded]) -> None:
    for batch in micro_batches(samples):
        for one, inputs, targets in zip(batch.samples, *batch.rows(), strict=True):
            length = len(one.ids) - 1
            assert tuple(inputs[:length]) == one.ids[:-1]
            assert targets == targets_of(one) + [IGNORED] * (len(inputs) - length)


def targets_of(sample: Encoded) -> list[int]:
    learned = {at for start, end in sample.spans for at in range(start, end)}
    following = range(1, len(sample.ids))
    return [sample.ids[at] if at in learned else IGNORED for at in following]


def test_a_micro_batch_has_one_toolbox_or_samples_that_stand_alone(
    encoded: list[Encoded],
) -> None:
    alone = Encoded("other", encoded[0].ids, encoded[0].spans)
    sizes = [
        [len(batch.samples), len({one.system for one in batch.samples}), batch.shared > 20]
        for batch in micro_batches([*encoded[:5], alone])
    ]
    assert sorted(sizes, reverse=True) == [[3, 1, True], [2, 1, True], [1, 1, False]]


def test_a_step_begins_with_what_takes_longest(encoded: list[Encoded]) -> None:
    for step in epoch(encoded, 8, Random(0)):
        tokens = [batch.tokens for batch in step]
        assert tokens == sorted(tokens, reverse=True)


def test_some_samples_end_with_their_plan(encoded: list[Encoded]) -> None:
    def whole(endings: float) -> int:
        material = Material.of(encoded, Recipe(endings=endings, held_back=0.1))
        seen = [one for step in material.steps for batch in step for one in batch.samples]
        assert all(one in encoded or one in [each.first for each in encoded] for one in seen)
        return sum(one in encoded for one in seen)

    assert whole(1.0) == len(encoded) - round(0.1 * len(encoded))
    assert len({one.ids for one in encoded}) > whole(0.5) > whole(0.0)


# The attention


@pytest.mark.parametrize(
    ("heads", "groups", "ends"),
    [(1, 1, (0, 1)), (9, 3, (0, 5)), (4, 1, (7, 11)), (4, 4, (3, 4, 9)), (6, 2, (0, 2, 7, 9))],
)
def test_attention_is_that_of_torch(heads: int, groups: int, ends: tuple[int, ...]) -> None:
    def drawn(count: int) -> torch.Tensor:
        return torch.randn(1, count, ends[-1], 16, requires_grad=True)

    torch.manual_seed(0)
    inputs = [drawn(heads), drawn(groups), drawn(groups)]
    seen = torch.ones(ends[-1], ends[-1], dtype=torch.bool).tril()
    for start, end in pairwise(ends):
        seen[start:end, ends[0] : start] = False
    ours, _ = attention._attend(None, *inputs, None, 0.25, ends=ends)
    theirs = torch.nn.functional.scaled_dot_product_attention(
        *inputs, attn_mask=seen, scale=0.25, enable_gqa=True
    ).transpose(1, 2)
    torch.testing.assert_close(ours, theirs)
    wanted = torch.randn_like(ours)
    for one, other in zip(
        torch.autograd.grad(ours, inputs, wanted),
        torch.autograd.grad(theirs, inputs, wanted),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


# The loss


def test_packing_changes_neither_loss_nor_gradient(
    base: Path, encoded: list[Encoded], in_float32: None
) -> None:
    learner = Learner(base, Recipe())
    step = micro_batches(encoded)
    assert all(batch.shared for batch in step)
    learner.step(step, 1e-2)  # else one half of the adapter is zero, and so is its gradient

    def measure(batches: list[MicroBatch]) -> tuple[float, list[Any]]:
        loss = sum(learner.loss(batch) for batch in batches)
        return loss.item(), list(torch.autograd.grad(loss, learner.parameters))

    packed, packed_gradients = measure(step)
    alone, gradients = measure([MicroBatch.of([one]) for one in encoded])
    assert packed == pytest.approx(alone, rel=1e-5)
    for ours, theirs in zip(packed_gradients, gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("packs", [True, False])
def test_the_loss_of_a_batch_is_that_of_its_samples(
    base: Path,
    encoded: list[Encoded],
    in_float32: None,
    monkeypatch: pytest.MonkeyPatch,
    packs: bool,
) -> None:
    """As transformers computes it, one sample at a time: padding and batches change nothing."""
    model = AutoModelForCausalLM.from_pretrained(base, attn_implementation="eager").float()
    alone = 0.0
    for one in encoded:
        labels = torch.full((1, len(one.ids)), IGNORED)
        for start, end in one.spans:
            labels[0, start:end] = torch.tensor(one.ids[start:end])
        alone += model(torch.tensor([one.ids]), labels=labels).loss.item() * one.learned
    if not packs:
        monkeypatch.setattr(attention, "MODELS", ())
    learner = Learner(base, Recipe())  # whose adapter changes nothing yet
    assert learner.packs == packs
    together = sum(learner.loss(batch).item() for batch in micro_batches(encoded))
    assert together == pytest.approx(alone, rel=1e-4)


@pytest.mark.parametrize(
    ("config", "served"),
    [
        (LlamaConfig(), True),
        (LlamaConfig(attention_dropout=0.1), False),
        (MistralConfig(sliding_window=8), False),
    ],
)
def test_rows_are_packed_where_attention_is_plain(config: Any, served: bool) -> None:
    assert attention.serves(config) == served


# The schedule


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 2e-3 / 3), (2, 2e-3), (3, 2e-3), (51, 1.016e-3), (100, 0.0)]
)
def test_the_rate_warms_up_and_falls_to_nothing(step: int, rate: float) -> None:
    assert Recipe().rate(step, 100) == pytest.approx(rate, rel=1e-2)


class Clockwork:
    """A learner that needs a second for each step, by a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0

    def step(self, step: Any, rate: float) -> float:
        self.now += 1.0
        return 1.0

    def mean_loss(self, steps: Any) -> float:
        return 1.0

    def state(self) -> dict[str, Any]:
        return {}


def run_clockwork(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, steps: int, deadline: float | None
) -> tuple[Any, list[str], list[float]]:
    learner, said, saves = Clockwork(), list[str](), list[float]()
    monkeypatch.setattr(training.time, "monotonic", lambda: learner.now)
    monkeypatch.setattr(Checkpoint, "save", lambda *_: saves.append(learner.now))
    step = [MicroBatch.of([Encoded("", (1,) * 100, ((50, 100),))])]
    work = Training(
        learner=learner,  # type: ignore[arg-type]
        material=Material([step] * steps, [step]),
        recipe=Recipe(),
        checkpoint=Checkpoint(tmp_path / "checkpoint", ""),
        say=said.append,
        deadline=deadline,
    )
    return work.run(None, lambda: False), said, saves


@pytest.mark.parametrize(
    ("deadline", "allowed", "done"),
    [(None, 500, 500), (1000.0, 500, 500), (100.0, 68, 69), (10.0, 4, 4)],
)
def test_a_deadline_leaves_out_what_does_not_fit(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    deadline: float | None,
    allowed: int,
    done: int,
) -> None:
    progress, said, _ = run_clockwork(monkeypatch, tmp_path, 500, deadline)
    assert progress.step == progress.total == done
    told = [line for line in said if line.startswith("the time allows")]
    assert told == ([] if deadline is None else [f"the time allows {allowed} of 500 steps"])


def test_a_slow_start_costs_no_steps_that_there_is_time_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def slow_at_first(self: Clockwork, *_: Any) -> float:
        self.now += 5.0 if self.now < 20 else 1.0
        return 1.0

    monkeypatch.setattr(Clockwork, "step", slow_at_first)
    progress, said, _ = run_clockwork(monkeypatch, tmp_path, 500, 100.0)
    (told,) = [line for line in said if line.startswith("the time allows")]
    assert told == "the time allows 12 of 500 steps"
    assert 40 < progress.step == progress.total <= 54


def test_it_tells_saves_and_validates_now_and_then(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    progress, said, saves = run_clockwork(monkeypatch, tmp_path, 400, None)
    assert [step for step, _ in progress.validations] == [0, 100, 200, 300, 400]
    assert "step 60 of 400, loss 1.0000, 100 tokens/s, 6 min left" in said
    assert len([line for line in said if line.endswith("left")]) == 400 // 20
    assert saves == [180.0, 360.0, 400.0]


def test_a_loss_that_is_no_number_ends_the_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Clockwork, "step", lambda *_: math.nan)
    with pytest.raises(UsageError, match="diverged at step 1: its loss is nan"):
        run_clockwork(monkeypatch, tmp_path, 10, None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_for_the_end_once(number: signal.Signals) -> None:
    usual = signal.getsignal(number)
    with stop_signals() as stopping:
        assert not stopping()
        os.kill(os.getpid(), number)
        assert stopping()
        assert signal.getsignal(number) == usual
    assert signal.getsignal(number) == usual


# Resuming


def run_tiny(
    base: Path, encoded: list[Encoded], checkpoint: Checkpoint, stop_after: int | None = None
) -> list[Any]:
    """The weights of the adapter at the end. A checkpoint is gone on from if there is one."""
    recipe = Recipe(epochs=2, batch=8, learning_rate=1e-2)
    learner = Learner(base, recipe)
    asked = iter(range(1, 1000))
    work = Training(
        learner=learner,
        material=Material.of(encoded, recipe),
        recipe=recipe,
        checkpoint=checkpoint,
        say=lambda _: None,
    )
    work.run(checkpoint.load(), lambda: next(asked) == stop_after)
    return [parameter.detach().clone() for parameter in learner.parameters]


def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(
    base: Path, encoded: list[Encoded], tmp_path: Path
) -> None:
    whole = run_tiny(base, encoded, Checkpoint(tmp_path / "whole", "same"))
    parts = Checkpoint(tmp_path / "parts", "same")
    for stop_after in (1, 2):
        with pytest.raises(Interrupted, match="stopped after step"):
            run_tiny(base, encoded, parts, stop_after)
    for ours, theirs in zip(run_tiny(base, encoded, parts), whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_checkpoint_is_replaced_whole_and_kept_to_its_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint"
    checkpoint = Checkpoint(path, "one")
    assert checkpoint.load() is None
    checkpoint.save({"step": 1})
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: pytest.fail("the power is gone"))
        with pytest.raises(pytest.fail.Exception):
            checkpoint.save({"step": 2})
    assert checkpoint.load() == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(UsageError, match="other data or settings"):
        Checkpoint(path, "another").load()
    path.write_bytes(b"torn")
    with pytest.raises(UsageError, match="can't read the checkpoint"):
        checkpoint.load()
    checkpoint.remove()
    assert checkpoint.load() is None


# The command


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "samples.jsonl"
    write(SAMPLES, path)
    return path


Train = Callable[..., int]


@pytest.fixture
def train_tiny(base: Path, data: Path, tmp_path: Path) -> Train:
    def run(*flags: str) -> int:
        out = str(tmp_path / "out")
        return command_line.main(["--data", str(data), "--model", str(base), "--out", out, *flags])

    return run


def test_a_training_leaves_a_model_that_can_be_served(
    base: Path, data: Path, tmp_path: Path, train_tiny: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_tiny() == 0
    out = tmp_path / "out"
    mark = json.loads((out / "planner.json").read_text())
    assert (mark["profile"], mark["base"], mark["tools"]) == ("tuned", base.name, ["search"])
    assert not (out / "checkpoint").exists()
    assert not list(out.glob(".*"))
    adapter = load_file(out / "adapter" / "adapter_model.safetensors")
    assert {weight.dtype for weight in adapter.values()} == {torch.bfloat16}
    assert not (out / "adapter" / "README.md").exists()
    served = AutoModelForCausalLM.from_pretrained(out)
    assert served.dtype == torch.bfloat16
    assert AutoTokenizer.from_pretrained(out).chat_template == CHATML
    untuned = AutoModelForCausalLM.from_pretrained(base).state_dict()
    merged = merge(AutoModelForCausalLM.from_pretrained(base), out / "adapter").state_dict()
    weights = served.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in merged.items())
    assert not all(torch.equal(weight, weights[name]) for name, weight in untuned.items())
    card = (out / "README.md").read_text()
    assert card.startswith(f"---\nbase_model: {base.name}\n---\n# ")
    for text in ["| lookup | 30 |", "| seed | 0 |", mark["data"]]:
        assert text in card

    assert train_tiny() == 2
    assert "holds a tuned planner; --restart replaces it" in capsys.readouterr().err
    assert train_tiny("--restart") == 0


def test_a_stopped_command_goes_on_and_gives_the_same(
    tmp_path: Path,
    train_tiny: Train,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert train_tiny() == 0
    whole = load_file(out / "model.safetensors")
    shutil.rmtree(out)
    step = Learner.step

    def step_and_stop(self: Learner, *args: Any) -> float:
        os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", step_and_stop)
        assert train_tiny("--restart") == 130
    stopped = "stopped after step 1 of 3; the same command without --restart goes on from there"
    assert stopped in capsys.readouterr().err
    assert sorted(item.name for item in out.iterdir()) == ["checkpoint"]
    assert train_tiny("--seed", "1") == 2
    assert "other data or settings" in capsys.readouterr().err
    assert sorted(item.name for item in out.iterdir()) == ["checkpoint"]
    assert train_tiny() == 0
    for name, weight in load_file(out / "model.safetensors").items():
        torch.testing.assert_close(weight, whole[name])


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--data", "none.jsonl"], "can't read none.jsonl"),
        (["--data", "x.jsonl", "--tools", "y.py"], "--tools makes data, --data reads them"),
        (["--data", "x.jsonl", "--count", "50"], "--count makes data, --data reads them"),
        (["--data", "x.jsonl", "--data-only"], "--data-only makes data, --data reads them"),
        (["--examples", "x.yaml"], "--examples goes with the tools of --tools"),
        (["--history", "x.jsonl"], "--history goes with the tools of --tools"),
        (["--tools", "none.py"], "there is no tools file none.py"),
        (["--data", "DATA", "--model", "nowhere/at/all"], "--model is 'nowhere/at/all'"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path,
    data: Path,
    base: Path,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    complaint: str,
) -> None:
    out = str(tmp_path / "out")
    flags = [str(data) if flag == "DATA" else flag for flag in flags]
    assert command_line.main(["--model", str(base), "--out", out, *flags]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("train_planner.sh: ")
    assert complaint in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    "flags", [["--epochs", "0"], ["--count", "x"], ["--minutes", "nan"], ["--epoch", "2"], []]
)
def test_argparse_refuses(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        command_line.main([*flags, *(["--out", "x"] if flags else [])])
    assert stop.value.code == 2
    assert "train_planner.sh: error: " in capsys.readouterr().err


def test_the_base_is_not_overwritten(
    base: Path, data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    copy = shutil.copytree(base, tmp_path / "copy")
    (copy / "planner.json").write_text('{"profile": "tuned"}')
    flags = ["--data", str(data), "--model", str(copy), "--out", str(copy), "--restart"]
    assert command_line.main(flags) == 2
    assert "is the model to be tuned" in capsys.readouterr().err


def test_a_directory_that_is_not_ours_is_left_alone(
    tmp_path: Path, train_tiny: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with place.held(out, restart=False):
        assert train_tiny() == 2
        assert "another training writes to" in capsys.readouterr().err
    (out / "config.json").write_text("{}")
    assert train_tiny("--restart") == 2
    assert "holds a model that is none of ours" in capsys.readouterr().err
    assert list(out.iterdir()) == [out / "config.json"]
    (tmp_path / "file").touch()
    assert command_line.main(["--out", str(tmp_path / "file" / "out")]) == 2
    assert "can't write to --out" in capsys.readouterr().err


def test_what_a_killed_training_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".writing-xyz"
    left.mkdir()
    with place.held(tmp_path, restart=False):
        assert not left.exists()


ROW = sample("search", "K2").model_dump_json(exclude_defaults=True)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("\n", " holds no samples"),
        (f"{ROW}\noops\n", ", line 2: Invalid JSON"),
        ("{}", ", line 1: question: Field required"),
        (ROW.replace("search(", "find("), ", line 1: its plan: line 1"),
        (ROW.replace('{"1":"8611 m"}', "{}"), ", line 1: it needs one result for each"),
        (ROW.replace("Answer: ", ""), ", line 1: the ending must begin with 'Answer: '"),
    ],
)
def test_a_bad_row_is_named_by_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, fault: str
) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text(text)
    assert command_line.main(["--data", str(path), "--out", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"train_planner.sh: {path}{fault}")
    assert shown.count("\n") == 1


def test_tools_with_nothing_to_learn_from_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tools = tmp_path / "bare.py"
    tools.write_text("from executor.tools import tool\n\n@tool\ndef bare() -> int:\n    return 1\n")
    assert command_line.main(["--tools", str(tools), "--out", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("train_planner.sh: nothing to learn from: bare; give tools docstrings")
    assert shown.count("\n") == 1


def test_a_base_without_a_chat_template_is_named(
    base: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare, out = shutil.copytree(base, tmp_path / "bare"), tmp_path / "out"
    (bare / "chat_template.jinja").unlink(missing_ok=True)
    config = json.loads((bare / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (bare / "tokenizer_config.json").write_text(json.dumps(config))
    flags = ["--data", str(data), "--model", str(bare), "--out", str(out)]
    assert command_line.main(flags) == 2
    complaint = "the tokenizer of bare has no chat template; take an instruct or chat model"
    assert capsys.readouterr().err.splitlines()[-1] == f"train_planner.sh: {complaint}"
    assert not list(out.iterdir())


@pytest.mark.parametrize("fitting", [20, 0])
def test_too_long_samples_are_told(
    train_tiny: Train,
    encoded: list[Encoded],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fitting: int,
) -> None:
    lengths = sorted(len(one.ids) for one in encoded)
    longest = lengths[fitting - 1] if fitting else lengths[0] - 1
    over = sum(length > longest for length in lengths)
    monkeypatch.setattr(command_line, "Recipe", partial(Recipe, longest=longest))
    assert train_tiny() == (0 if fitting else 2)
    told = {
        20: f"{over} of {len(lengths)} samples have over {longest} tokens: left out",
        0: f"0 of {len(lengths)} samples have {longest} tokens or fewer, and a training needs 2",
    }
    assert told[fitting] in capsys.readouterr().err


def test_tools_too_long_to_be_learned_are_named(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wordy = tool("search").model_copy(update={"description": "Asks around. " * 1000})
    long = [sample("search", f"K{at}").model_copy(update={"tools": (wordy,)}) for at in range(3)]
    path = tmp_path / "samples.jsonl"
    write([*long, sample("ask", "K2"), sample("ask", "Denali")], path)
    flags = ["--data", str(path), "--model", str(base), "--out", str(tmp_path / "out")]
    assert command_line.main(flags) == 2
    complaint = "no sample for search has 1024 tokens or fewer"
    assert complaint in capsys.readouterr().err.splitlines()[-1]


def test_a_full_disk_is_told_before_and_while(
    train_tiny: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", full)
        assert train_tiny() == 1
    assert "is full; make room, and the same command goes on" in capsys.readouterr().err
    usage = SimpleNamespace(free=5 << 20)
    monkeypatch.setattr(result.shutil, "disk_usage", lambda _: usage)
    assert train_tiny() == 2
    assert "has 5 MB left and the training needs 64" in capsys.readouterr().err


def test_a_gpu_whose_memory_is_too_small_is_told(
    train_tiny: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def out_of_memory(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Learner, "loss", out_of_memory)
    assert train_tiny() == 2
    assert "the GPU's memory doesn't suffice" in capsys.readouterr().err.splitlines()[-1]


# Data and card


@pytest.fixture
def makers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, Any]]]:
    """Stands in for what makes the samples, and notes what was asked of it."""
    asked: list[tuple[str, Any]] = []

    def maker(name: str) -> SimpleNamespace:
        def samples(*args: Any) -> list[Sample]:
            asked.append((name, args[-1]))
            return [sample(name, f"{at}") for at in range(args[-1])]

        return SimpleNamespace(samples=samples)

    for name in ("own", "bundled", "varied"):
        monkeypatch.setattr(data_half, name, maker(name))
    return asked


@pytest.mark.parametrize("own", [False, True])
def test_made_data_are_kept(
    makers: list[tuple[str, Any]], tmp_path: Path, tools_file: Path, own: bool
) -> None:
    out = tmp_path / "out"
    flags = ["--tools", str(tools_file)] if own else []
    assert command_line.main(["--out", str(out), "--count", "80", "--data-only", *flags]) == 0
    assert len((out / "data.jsonl").read_text().splitlines()) == 80
    asked = [("own", 56), ("bundled", 22), ("varied", 2)]
    assert makers == (asked if own else [("bundled", 72), ("varied", 8)])


def test_made_data_are_the_same_in_every_process(tmp_path: Path, tools_file: Path) -> None:
    """A stopped training makes them again, and goes on only with the same."""
    made = []
    for hash_seed in ("1", "2"):
        out = tmp_path / hash_seed
        flags = ["--out", out, "--tools", tools_file, "--count", "60", "--data-only"]
        env = {**os.environ, "PYTHONPATH": SCRIPTS, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-P", "-m", "train", *map(str, flags)]
        subprocess.run(command, env=env, check=True, capture_output=True)
        made.append((out / "data.jsonl").read_bytes())
    assert made[0] == made[1]


def test_it_is_told_how_few_questions_can_be_made_of_the_tools(
    makers: list[tuple[str, Any]],
    tmp_path: Path,
    tools_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(data_half.own, "samples", lambda *_: [sample("own", "1")])
    flags = ["--tools", str(tools_file), "--count", "80", "--data-only"]
    assert command_line.main(["--out", str(tmp_path / "out"), *flags]) == 0
    assert "my_tools.py: 1 different questions instead of 56" in capsys.readouterr().err


def test_it_is_told_how_many_runs_can_be_learned_from(
    makers: list[tuple[str, Any]],
    tmp_path: Path,
    tools_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(data_half.own, "from_history", lambda *_: History([], 3), raising=False)
    flags = ["--tools", str(tools_file), "--history", "runs.jsonl", "--count", "20"]
    assert command_line.main(["--out", str(tmp_path / "out"), "--data-only", *flags]) == 0
    assert "0 runs of runs.jsonl can be learned from, 3 can't" in capsys.readouterr().err


def test_made_data_are_trained_on(
    makers: list[tuple[str, Any]], base: Path, tmp_path: Path, tools_file: Path
) -> None:
    out = tmp_path / "out"
    flags = ["--tools", str(tools_file), "--model", str(base), "--count", "20"]
    assert command_line.main(["--out", str(out), *flags]) == 0
    assert len((out / "data.jsonl").read_text().splitlines()) == 20
    mark = json.loads((out / "planner.json").read_text())
    assert mark["tools"] == ["search", "calculate", "shout"]
    assert "20 samples made with the seed 0" in (out / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "readme", "wanted"),
    [
        ("embedded", None, "apache-2.0"),
        ("embedded-raw", None, "apache-2.0"),
        ("smollm2-135m-instruct-0.1.2", None, "apache-2.0"),
        ("other", None, ""),
        ("other", "no front matter", ""),
        ("other", "---\nlicense: mit\n---\nText", "mit"),
        ("headstart-like", "---\nlicense: mit\n---\nText", "mit"),
        ("other", "---\ntags: x\n---\nlicense: mit", ""),
    ],
)
def test_the_licence_of_the_base(
    tmp_path: Path, name: str, readme: str | None, wanted: str
) -> None:
    if readme is not None:
        (tmp_path / "README.md").write_text(readme)
    assert licence(Weights(name, tmp_path)) == wanted


def test_asking_for_help_loads_no_torch() -> None:
    code = "import sys, train.__main__; sys.exit('torch' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": SCRIPTS}
    assert subprocess.run([sys.executable, "-P", "-c", code], env=env, check=False).returncode == 0
