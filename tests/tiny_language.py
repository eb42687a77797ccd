"""A language model of a few thousand random weights in a folder, and tasks on it, for tests of the generation part."""

from __future__ import annotations

from pathlib import Path

import torch

from fvm_core.generation.byte_tokenizer import byte_tokenizer
from fvm_core.generation.language_model import open_task
from fvm_core.generation.language_task import LanguageTask
from fvm_core.generation.lora import lora_parameters
from fvm_core.generation.pairs import PairSet, text_pairs
from fvm_core.generation.pretrain import new_model
from fvm_core.generation.settings import LoraSettings, PretrainSettings

SHAPE = {"hidden": 16, "layers": 2, "heads": 2, "feed_forward": 24, "context": 96}
PAIRS = text_pairs(
    ["say cat", "say a dog", "add 1 2", "add 20 4", "say owl"],
    ["cat", "dog!", "3", "24", "an owl"],
    classes=["say", "say", "add", "add", "say"],
)


def write_base(folder: Path, *, seed: int = 0, **shape: int) -> Path:
    """Write a model with random weights and its tokenizer into `folder`, and return that."""
    settings = PretrainSettings(**{**SHAPE, **shape})
    tokenizer = byte_tokenizer(context=settings.context)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = new_model(settings, tokenizer)
        for parameter in model.parameters():
            parameter.data *= 3.0  # far from the flat start, so that every derivative counts
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_task(folder: Path, pairs: PairSet = PAIRS, *, seed: int = 0, targets: str = "") -> LanguageTask:
    """Return a task with a new adapter on a new base, both of LoRA's matrices random."""
    base = write_base(folder, seed=seed)
    task = open_task(base, None, pairs, lora=LoraSettings(rank=2, alpha=4.0, targets=targets, seed=seed), options={})
    generator = torch.Generator().manual_seed(seed)
    for value in lora_parameters(task.model).values():
        value.data = torch.randn(value.shape, generator=generator) * 0.3
    return task


def tiny_model(seed: int = 0) -> torch.nn.Module:
    """Return the bare random model."""
    torch.manual_seed(seed)
    return new_model(PretrainSettings(**SHAPE), byte_tokenizer(context=SHAPE["context"]))
