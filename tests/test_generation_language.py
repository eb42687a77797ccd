"""Language models from folders: losses against transformers' own, and each thing that can be missing or wrong."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_language import PAIRS, SHAPE, tiny_task, write_base

from fvm_core.errors import CheckpointError, DataError, SettingsError
from fvm_core.generation.answers import exact_match
from fvm_core.generation.byte_tokenizer import byte_tokenizer
from fvm_core.generation.language_model import load_language_model, open_task
from fvm_core.generation.language_task import LanguageTask
from fvm_core.generation.lora import load_adapter, lora_parameters, new_adapter, save_adapter
from fvm_core.generation.pairs import PairSet, text_pairs
from fvm_core.generation.settings import LoraSettings


@pytest.fixture
def task(tmp_path: Path) -> LanguageTask:
    return tiny_task(tmp_path / "base")


def test_byte_tokenizer_is_loaded_by_autotokenizer_and_gives_every_text_back(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    byte_tokenizer(context=64).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    text = "caf\u00e9 \u2603 </s>\n\tx"
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert len(ids) == len(text.encode()) and min(ids) > tokenizer.eos_token_id
    assert tokenizer.decode(ids) == text and tokenizer.model_max_length == 64


def test_losses_are_transformers_own_summed_over_the_target(task: LanguageTask) -> None:
    losses = task.losses(task.batch(range(len(PAIRS))))
    for row, (prompt, target) in enumerate(zip(PAIRS.prompts, PAIRS.targets, strict=True)):
        start, end = task.encode(prompt, target)
        labels = torch.tensor([[-100] * len(start) + end])
        mean = task.model(input_ids=torch.tensor([start + end]), labels=labels).loss
        assert losses[row].item() == pytest.approx(mean.item() * len(end), rel=1e-5)


def test_a_sample_does_not_see_the_others_of_its_batch(task: LanguageTask) -> None:
    together = task.losses(task.batch([0, 1, 2, 3, 4]))
    alone = torch.cat([task.losses(task.batch([row])) for row in range(5)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_answers_do_not_depend_on_padding_and_exact_match_counts_by_class(task: LanguageTask) -> None:
    prompts = list(PAIRS.prompts)
    together = task.generate_all(prompts, longest=6)
    assert together == [task.generate(prompt, longest=6) for prompt in prompts]
    answered = replace(task, pairs=text_pairs(prompts[:3], [*together[:2], "no"], classes=["a", "b", "b"]))
    found = exact_match(answered, batch_size=2, longest=6)
    assert found.by_class == {"a": 1.0, "b": 0.5} and found.overall == pytest.approx(2 / 3)


def test_too_long_pairs_and_prompts_are_said_not_cut(task: LanguageTask) -> None:
    with pytest.raises(
        DataError, match=r"pair 1 .* must fit into the model's context of 96 tokens .* but has 102 \+ 2"
    ):
        task.with_pairs(text_pairs(["a", "b" * 100], ["x", "y"]))
    with pytest.raises(DataError, match=r"`prompt` must leave room in the model's context of 96 tokens, but has 102"):
        task.generate("b" * 100)
    with pytest.raises(DataError, match=r"`prompt` must not be empty"):
        task.generate("  ")


def test_images_are_refused(task: LanguageTask) -> None:
    image = PairSet(ids=("1",), prompts=("a",), targets=("1.png",), kind="image")
    with pytest.raises(DataError, match=r"needs pairs of text, got pairs of kind 'image'"):
        task.with_pairs(image)


def test_template_stands_around_the_prompt(tmp_path: Path) -> None:
    options = {"template": "[INST] {prompt} [/INST] "}
    task = open_task(write_base(tmp_path), None, PAIRS, lora=LoraSettings(), options=options)
    assert task.tokenizer.decode(task.encode("{x}")[0][1:]) == "[INST] {x} [/INST] "
    with pytest.raises(SettingsError, match=r"`template` must be text with \{prompt\} in it"):
        open_task(tmp_path, None, PAIRS, lora=LoraSettings(), options={"template": "no"})
    with pytest.raises(CheckpointError, match=r"`context` must be at most the model's 96 tokens, got 97"):
        open_task(tmp_path, None, PAIRS, lora=LoraSettings(), options={"context": 97})


def _without(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).unlink()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("tokenizer.json", "tokenizer_config.json"), r"must hold the model's tokenizer .* and holds none. Copy it"),
        (("config.json",), r"must be the folder of a transformers model with config.json"),
        (("model.safetensors",), r"must hold its weights as \*.safetensors, and holds none. Convert them"),
    ],
)
def test_missing_parts_are_named(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    folder = write_base(tmp_path)
    (folder / "pytorch_model.bin").write_bytes(b"could run code")
    _without(folder, *names)
    with pytest.raises(CheckpointError, match=message):
        load_language_model(folder)


def test_incomplete_or_damaged_weights_are_refused(tmp_path: Path) -> None:
    folder = write_base(tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights.pop("model.layers.1.self_attn.q_proj.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lack 1 tensors of the model, `model.layers.1.self_attn.q_proj.weight`"):
        load_language_model(folder)
    (folder / "model.safetensors").write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    with pytest.raises(CheckpointError, match=r"truncated or damaged"):
        load_language_model(folder)


def test_code_of_a_folder_is_never_run(tmp_path: Path) -> None:
    folder = write_base(tmp_path)
    (folder / "evil.py").write_text("raise SystemExit('run')\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"cannot be loaded as a causal language model"):
        load_language_model(folder)


def test_a_tokenizer_of_more_tokens_than_the_model_is_refused(tmp_path: Path) -> None:
    folder = write_base(tmp_path)
    tokenizer = byte_tokenizer(context=96)
    tokenizer.add_tokens(["<more>"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(CheckpointError, match=r"at most the model's 259 tokens, got 260"):
        load_language_model(folder)


def test_adapter_round_trip_gives_the_same_losses(task: LanguageTask, tmp_path: Path) -> None:
    save_adapter(task.model, tmp_path / "adapter")
    assert str(tmp_path) not in (tmp_path / "adapter" / "adapter_config.json").read_text()
    again = open_task(tmp_path / "base", tmp_path / "adapter", PAIRS, lora=LoraSettings(), options={})
    torch.testing.assert_close(task.losses(task.batch([0, 1])), again.losses(again.batch([0, 1])))
    assert sum(value.numel() for value in lora_parameters(again.model).values()) == 2 * 2 * 2 * 2 * SHAPE["hidden"]


def test_adapter_of_another_base_is_refused(task: LanguageTask, tmp_path: Path) -> None:
    save_adapter(task.model, tmp_path / "adapter")
    wider, _ = load_language_model(write_base(tmp_path / "wider", hidden=24))
    with pytest.raises(CheckpointError, match=r"must be for this base model, but belongs to another: .*q_proj"):
        load_adapter(wider, tmp_path / "adapter")
    shallow, _ = load_language_model(write_base(tmp_path / "shallow", layers=1))
    with pytest.raises(CheckpointError, match=r"belongs to another: `.*layers.1.* and absent here"):
        load_adapter(shallow, tmp_path / "adapter")
    named, _ = load_language_model(write_base(tmp_path / "named"))
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps({**config, "target_modules": ["wq"]}))
    with pytest.raises(CheckpointError, match=r"belongs to another: .*wq"):
        load_adapter(named, tmp_path / "adapter")


def test_folders_that_hold_no_lora_are_refused(task: LanguageTask, tmp_path: Path) -> None:
    model, _ = load_language_model(tmp_path / "base")
    with pytest.raises(CheckpointError, match=r"must hold `adapter_config.json`, which is not there"):
        load_adapter(model, tmp_path)
    save_adapter(task.model, tmp_path / "adapter")
    shutil.copytree(tmp_path / "adapter", tmp_path / "other")
    (tmp_path / "other" / "adapter_config.json").write_text('{"peft_type": "IA3"}')
    with pytest.raises(CheckpointError, match=r"must be one of LoRA"):
        load_adapter(model, tmp_path / "other")


def test_targets_that_the_model_has_not_are_refused(tmp_path: Path) -> None:
    model, _ = load_language_model(write_base(tmp_path))
    with pytest.raises(CheckpointError, match=r"`targets` must name layers of the model, got nothing_here"):
        new_adapter(model, rank=2, alpha=4.0, targets=["nothing_here"], seed=0)


def test_a_missing_library_is_asked_for_by_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SettingsError, match=r"`transformers` must be installed .* pip install -r fvm_core/generation"):
        load_language_model(tmp_path)
