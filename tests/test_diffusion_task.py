import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_diffusion import PROMPTS, add_lora, image_folder, image_pairs, tiny_pixels, tiny_stable_diffusion

from fvm_core.errors import DataError, SettingsError
from fvm_core.generation.diffusion_model import load_diffusion
from fvm_core.generation.diffusion_settings import DiffusionSettings, SmallUnetSettings
from fvm_core.generation.diffusion_task import DiffusionTask, fixed_draws
from fvm_core.generation.image_folder_pairs import open_image_pairs
from fvm_core.generation.pairs import text_pairs


def moved(model: torch.nn.Module) -> torch.nn.Module:
    """Give LoRA's parameters values that are not 0."""
    with torch.no_grad():
        for number, parameter in enumerate(p for p in model.parameters() if p.requires_grad):
            parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(number))
    return model


@pytest.fixture
def task(tmp_path: Path) -> DiffusionTask:
    model = tiny_pixels()
    return DiffusionTask(model, moved(add_lora(model)), image_pairs(tmp_path), DiffusionSettings(draws=3, steps=4))


def test_loss_is_the_error_of_the_noise_by_the_schedules_own_formula(task: DiffusionTask) -> None:
    def kept(step: int) -> float:
        """Product of 1 - beta up to `step` of the cosine schedule (Nichol & Dhariwal 2021)."""
        bar = [math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(1001)]
        return math.prod(1 - min(1 - bar[t + 1] / bar[t], 0.999) for t in range(step + 1))

    got = task.losses(task.batch([2, 0]))
    for loss, row in zip(got, (2, 0), strict=True):
        pixels = np.asarray(Image.open(Path(task.pairs.root) / task.pairs.targets[row]), dtype=np.float64) / 127.5 - 1
        clean = torch.from_numpy(pixels).float()[None, None]
        steps, noise = fixed_draws(task.settings, task.pairs.ids[row], steps=1000, shape=(1, 8, 8))
        errors = []
        for step, drawn in zip(steps.tolist(), noise, strict=True):
            share = kept(step)
            noisy = math.sqrt(share) * clean + math.sqrt(1 - share) * drawn
            text = task.diffusion.embed([PROMPTS[row]])
            said = task.diffusion.unet(noisy, torch.tensor([step]), encoder_hidden_states=text).sample
            errors.append(((said - drawn) ** 2).mean().item())
        assert loss.item() == pytest.approx(np.mean(errors), rel=1e-4)


def test_velocity_is_asked_for_where_the_schedule_says_so(tmp_path: Path) -> None:
    model = load_diffusion(tiny_stable_diffusion(tmp_path / "v", prediction="v_prediction"))
    pairs = image_pairs(tmp_path / "images", side=16, channels=3)
    task = DiffusionTask(model, add_lora(model), pairs, DiffusionSettings(draws=2))
    batch = task.batch([1])
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    share = torch.cumprod(1 - betas, 0)[batch.steps].float().reshape(2, 1, 1, 1)
    _, noise = fixed_draws(task.settings, pairs.ids[1], steps=1000, shape=(4, 8, 8))
    clean = (batch.noisy - (1 - share).sqrt() * noise) / share.sqrt()
    assert torch.allclose(batch.target, share.sqrt() * noise - (1 - share).sqrt() * clean, atol=1e-4)


def test_losses_do_not_depend_on_the_batch_nor_on_when_they_are_asked(task: DiffusionTask) -> None:
    together = task.losses(task.batch([0, 1, 2, 3]))
    torch.manual_seed(7)
    alone = torch.cat([task.losses(task.batch([row])) for row in (3, 2, 1, 0)])
    assert torch.allclose(together, alone.flip(0), rtol=1e-5)
    fewer = task.with_pairs(task.pairs.take([2, 0]))
    assert torch.allclose(fewer.losses(fewer.batch([0, 1])), together[[2, 0]], rtol=1e-5)


def test_a_samples_gradient_is_its_own(task: DiffusionTask) -> None:
    """Linear layers see their rows sample by sample: gradients by hooks are reshaped to (b, -1, features)."""
    seen: dict[str, torch.Tensor] = {}
    layers = {name: layer for name, layer in task.model.named_modules() if name.endswith("attn2.to_k.lora_A.default")}
    name, layer = next(iter(layers.items()))
    layer.register_forward_hook(lambda _m, inputs, _o: seen.__setitem__(name, inputs[0].detach()))
    task.losses(task.batch([0, 1]))
    both = seen[name].reshape(2, -1, seen[name].shape[-1])
    task.losses(task.batch([1]))
    assert torch.allclose(both[1], seen[name].reshape(-1, seen[name].shape[-1]), atol=1e-6)


def test_draws_are_of_seed_and_sample_and_each_in_its_own_part_of_time() -> None:
    settings = DiffusionSettings(draws=8)
    steps, noise = fixed_draws(settings, "a", steps=1000, shape=(1, 4, 4))
    assert (steps // 125).tolist() == list(range(8)) and noise.shape == (8, 1, 4, 4)
    again = fixed_draws(settings, "a", steps=1000, shape=(1, 4, 4))
    assert torch.equal(steps, again[0]) and torch.equal(noise, again[1])
    for other in (fixed_draws(settings, "b", steps=1000, shape=(1, 4, 4)),
                  fixed_draws(replace(settings, seed=1), "a", steps=1000, shape=(1, 4, 4))):  # fmt: skip
        assert not torch.equal(noise, other[1]) and not torch.equal(steps, other[0])
    common = replace(settings, common=True)
    assert torch.equal(
        fixed_draws(common, "a", steps=1000, shape=(2,))[1], fixed_draws(common, "b", steps=1000, shape=(2,))[1]
    )
    found = torch.cat([fixed_draws(settings, str(n), steps=1000, shape=(1,))[0] for n in range(500)])
    assert found.min() >= 0 and found.max() <= 999
    assert abs(found.float().mean() - 499.5) < 3  # 4,000 stratified draws: 0.6 standard deviations of the mean


def test_each_step_of_tuning_draws_anew(task: DiffusionTask) -> None:
    first, again, other = (task.redrawn(step).batch([0]) for step in (3, 3, 4))
    assert len(first.noisy) == 1 and torch.equal(first.target, again.target)
    assert not torch.equal(first.target, other.target)
    wide = replace(task, settings=replace(task.settings, train_draws=5)).redrawn(3)
    assert len(wide.batch([0]).noisy) == 5 and len(task.batch([0]).noisy) == 3


def test_more_draws_bring_the_loss_closer_to_its_mean(task: DiffusionTask) -> None:
    def spread(draws: int) -> float:
        each = []
        for seed in range(12):
            other = replace(task, settings=DiffusionSettings(draws=draws, seed=seed))
            each.append(other.losses(other.batch([0])).item())
        return float(np.std(each))

    assert spread(32) < spread(2) / 1.5


def test_the_same_seed_draws_the_same_image(tmp_path: Path) -> None:
    small = tiny_pixels()
    settings = DiffusionSettings(steps=3)
    first = DiffusionTask(small, add_lora(small), image_pairs(tmp_path / "grey"), settings)
    picture = first.generate("a red cross", seed=1)
    assert (picture.size, picture.mode) == ((8, 8), "L")
    assert picture.tobytes() == first.generate("a red cross", seed=1).tobytes()
    assert picture.tobytes() != first.generate("a red cross", seed=2).tobytes()
    stable = load_diffusion(tiny_stable_diffusion(tmp_path / "sd"))
    pairs = image_pairs(tmp_path / "colour", side=16, channels=3)
    picture = DiffusionTask(stable, add_lora(stable), pairs, settings).generate("a red cross", seed=1)
    assert (picture.size, picture.mode) == ((16, 16), "RGB")


def test_the_adapter_changes_what_is_drawn(task: DiffusionTask) -> None:
    with_adapter = task.generate("a red cross", seed=0).tobytes()
    with task.model.disable_adapter():  # type: ignore[operator]
        assert task.generate("a red cross", seed=0).tobytes() != with_adapter


def test_bad_prompts_and_pairs_are_named(task: DiffusionTask, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="`prompt` must not be empty"):
        task.generate("  ", seed=0)
    with pytest.raises(DataError, match=r"prompt must be at most 16 tokens long .* Shorten it; it is not cut"):
        task.generate("zebra " * 20, seed=0)
    with pytest.raises(DataError, match="must be image-text pairs, got 'text'"):
        task.with_pairs(text_pairs(["a"], ["b"]))
    long = replace(task.pairs, prompts=("zebra " * 20, *task.pairs.prompts[1:]))
    with pytest.raises(DataError, match=r"prompt must be at most 16 tokens long"):
        task.with_pairs(long)


def test_an_image_that_went_bad_since_is_named(tmp_path: Path) -> None:
    model = tiny_pixels()
    pairs = open_image_pairs(image_folder(tmp_path))
    task = DiffusionTask(model, add_lora(model), pairs, DiffusionSettings(draws=1))
    (tmp_path / "2.png").write_bytes(b"no image")
    assert task.losses(task.batch([0, 1])).shape == (2,)
    with pytest.raises(DataError, match=r"image `2.png` cannot be used: image cannot be decoded"):
        task.batch([2])


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(),
                                   RuntimeError("DefaultCPUAllocator: can't allocate memory")])  # fmt: skip
def test_memory_that_runs_out_names_the_setting(task: DiffusionTask, monkeypatch: pytest.MonkeyPatch,
                                                error: Exception) -> None:  # fmt: skip
    batch = task.batch([0])

    def full(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(task.diffusion.unet, "forward", full)
    with pytest.raises(SettingsError, match=r"memory must hold the model and one batch, but ran out. Lower `draws` or"):
        task.losses(batch)


def test_other_errors_inside_the_model_pass_through(task: DiffusionTask, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("shapes differ")

    batch = task.batch([0])
    monkeypatch.setattr(task.diffusion.unet, "forward", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        task.losses(batch)


def test_settings_out_of_range_are_named() -> None:
    with pytest.raises(SettingsError, match=r"`draws` must be from 1 to 1000, got 0"):
        DiffusionSettings(draws=0)
    with pytest.raises(SettingsError, match=r"`side` must be a multiple of 2 from 8 to 512, got 9"):
        SmallUnetSettings(side=9)
    with pytest.raises(SettingsError, match=r"`widths` must be multiples of 8 x `heads`, got \(12,\)"):
        SmallUnetSettings(widths=(12,))
    assert SmallUnetSettings.from_json(SmallUnetSettings(widths=(32, 32)).to_json()).widths == (32, 32)
