"""Pretraining from scratch: what is practised, what is kept, and that a stopped run ends where a straight one does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fvm_core.errors import DataError, SettingsError
from fvm_core.generation import example
from fvm_core.generation.byte_tokenizer import byte_tokenizer
from fvm_core.generation.language_model import load_language_model
from fvm_core.generation.language_task import IGNORED, LanguageTask
from fvm_core.generation.pretrain import GROUPED, new_model, practice_batch, rate, reserved_pairs, run
from fvm_core.generation.sentences import PRACTICE_WORDING
from fvm_core.generation.settings import PretrainSettings
from fvm_core.generation.store import generation_folder, list_pairs, list_records
from fvm_core.jobs.context import JobStopped
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.workspace import Workspace

TINY = PretrainSettings(
    hidden=16, layers=1, heads=2, feed_forward=16, steps=4, batch_size=3, eval_every=0, eval_pairs=1, save_every=1
)


@pytest.fixture
def task() -> LanguageTask:
    tokenizer = byte_tokenizer(context=TINY.context)
    return LanguageTask(new_model(TINY, tokenizer), tokenizer, reserved_pairs(TINY), TINY.context)


def test_the_default_model_has_a_few_million_parameters() -> None:
    settings = PretrainSettings()
    model = new_model(settings, byte_tokenizer(context=settings.context))
    assert 2_000_000 < sum(value.numel() for value in model.parameters()) < 4_000_000


def test_practice_is_a_function_of_the_step_and_in_its_own_wording(task: LanguageTask) -> None:
    first, again, other = (practice_batch(TINY, task, step) for step in (1, 1, 2))
    assert torch.equal(first.ids, again.ids)
    assert first.ids.shape != other.ids.shape or not torch.equal(first.ids, other.ids)
    texts = set()
    for step in range(GROUPED):
        batch = practice_batch(TINY, task, step)
        for ids, labels in zip(batch.ids, batch.labels, strict=True):
            prompt = task.tokenizer.decode(ids[labels == IGNORED], skip_special_tokens=True).rstrip("\n")
            texts.add(prompt)
            if ": " in prompt:
                assert prompt.split(": ")[0] in PRACTICE_WORDING.values()
    assert len(texts) == GROUPED * TINY.batch_size  # every pair of the group comes once


def test_the_measuring_pairs_are_of_both_kinds_or_of_one(task: LanguageTask) -> None:
    assert len(task.pairs) == 20 and len(task.pairs.class_names) == 20
    assert len(reserved_pairs(PretrainSettings(problems=0.0, eval_pairs=2))) == 20
    assert "Total savings" in reserved_pairs(PretrainSettings(problems=1.0, eval_pairs=1)).class_names


def test_the_rate_rises_and_falls() -> None:
    settings = PretrainSettings(steps=100, warmup=10, lr=1.0)
    assert rate(0, settings) == pytest.approx(0.1) and rate(9, settings) == pytest.approx(1.0)
    assert rate(10, settings) == pytest.approx(1.0) and rate(55, settings) == pytest.approx(0.525)
    assert rate(100, settings) == pytest.approx(0.05)


def test_a_stopped_run_ends_at_the_weights_of_a_straight_one(workspace: Workspace, tmp_path: Path) -> None:
    run(MemoryContext(folder=tmp_path / "a"), {"name": "straight", "settings": TINY.to_json()}, workspace)
    context = MemoryContext(folder=tmp_path / "b", stop_at=3)
    args = {"name": "stopped", "settings": TINY.to_json()}
    with pytest.raises(JobStopped):
        run(context, args, workspace)
    context.stop_at = None
    result = run(context, args, workspace)
    weights = [
        load_file(generation_folder(workspace, "models", name, "model.safetensors")) for name in ("straight", "stopped")
    ]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert all(value.dtype == torch.float16 for value in weights[0].values())
    assert set(result["metrics"]) == {"by_class", "exact_match_sentences", "exact_match_problems", "parameters"}
    model, tokenizer = load_language_model(generation_folder(workspace, "models", "stopped"))
    assert model.dtype == torch.float32 and len(tokenizer) == 259


def test_a_loss_that_diverges_is_said(workspace: Workspace, tmp_path: Path) -> None:
    settings = {**TINY.to_json(), "lr": 1e30, "warmup": 0}
    with pytest.raises(SettingsError, match=r"training diverged. Try a lower `lr` than 1e\+30"):
        run(MemoryContext(folder=tmp_path / "a"), {"name": "wild", "settings": settings}, workspace)


def test_the_example_is_installed_once(workspace: Workspace) -> None:
    lines = example.install_example(workspace)
    assert lines and all(line.endswith(": new") for line in lines)
    records = list_records(workspace)
    assert {record.role for record in records.values()} == {"base", "lora", "vm", "fvm"}
    assert set(list_pairs(workspace)) >= {record.training["name"] for record in records.values() if record.training}
    assert all(line.endswith(": was there") for line in example.install_example(workspace))


def test_an_installation_without_the_example_says_so(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example, "SHIPPED", tmp_path)
    with pytest.raises(DataError, match=r"the example must lie in .*, but is not there"):
        example.install_example(workspace)
