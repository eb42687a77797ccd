from pathlib import Path

import pytest
import torch
from tiny_diffusion import image_pairs, tiny_pixels

from fvm_core.errors import SettingsError
from fvm_core.generation.diffusion_settings import PretrainDiffusionSettings
from fvm_core.generation.pretrain_diffusion import DiffusionTraining
from fvm_core.jobs.context import JobStopped
from fvm_core.jobs.memory_context import MemoryContext


def training(tmp_path: Path, context: MemoryContext, **changes: object) -> DiffusionTraining:
    settings = PretrainDiffusionSettings(**{"steps": 6, "batch_size": 4, "warmup": 2, "save_every": 3, **changes})  # type: ignore[arg-type]
    pairs = image_pairs(tmp_path)
    return DiffusionTraining(context, tiny_pixels(), pairs, pairs, settings)


def weights(work: DiffusionTraining) -> dict[str, torch.Tensor]:
    return {**work.diffusion.unet.state_dict(), **work.diffusion.text_encoder.state_dict()}


def test_training_learns_what_noise_is(tmp_path: Path) -> None:
    context = MemoryContext()
    work = training(tmp_path, context, steps=80, batch_size=16, lr=1e-2, measure_every=80)
    start = {key: value.clone() for key, value in weights(work).items()}
    end = work.run()["val_loss"]
    measured = [row["val_loss"] for row in context.metrics if "val_loss" in row]
    assert len(measured) == 2 and measured[1] == end
    assert end < 0.85 < 0.95 < measured[0]  # a model that says 0 has a loss of 1
    words = next(key for key in start if key.endswith("token_embedding.weight"))
    assert not torch.equal(weights(work)[words], start[words])
    assert not work.diffusion.unet.training and not any(p.requires_grad for p in work.diffusion.unet.parameters())


def test_a_stopped_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = training(tmp_path, MemoryContext())
    whole.run()
    context = MemoryContext(stop_at=5)
    with pytest.raises(JobStopped):
        training(tmp_path, context).run()
    context.stop_at = None
    resumed = training(tmp_path, context)
    resumed.run()
    assert all(torch.equal(weights(resumed)[key], value) for key, value in weights(whole).items())


def test_rates_rise_and_fall(tmp_path: Path) -> None:
    work = training(tmp_path, MemoryContext(), steps=100, warmup=10, lr=1.0)
    rates = [work.rate(k) for k in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == pytest.approx(rates[9], abs=0.01)
    assert rates[99] < 0.001 and sorted(rates[10:], reverse=True) == rates[10:]


def test_settings_out_of_range_are_named() -> None:
    with pytest.raises(SettingsError, match=r"`drop_prompt` must be in \[0, 1\), got 1.0"):
        PretrainDiffusionSettings(drop_prompt=1.0)
