"""A LoRA-tuned diffusion model and its image-text pairs: losses that are the same whenever they are asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor, nn

from fvm_core.data.images import decode_image
from fvm_core.data.paths import FileSource
from fvm_core.errors import DataError
from fvm_core.generation.diffusion_model import Diffusion, load_diffusion
from fvm_core.generation.diffusion_settings import DiffusionSettings
from fvm_core.generation.libraries import need
from fvm_core.generation.lora import load_adapter, new_adapter
from fvm_core.generation.memory import told_when_full
from fvm_core.generation.pairs import PairSet
from fvm_core.generation.settings import LoraSettings
from fvm_core.tuning.batches import NOISE, derived_seed
from fvm_core.tuning.precision import pick_device

CACHED = 256 * 2**20
"""Bytes of latents and of embedded prompts that are kept, each."""
RANK, ALPHA, TARGETS = 2, 2.0, ("to_q", "to_k", "to_v", "to_out.0")
"""LoRA of B.3: on every attention layer."""
LATENT = 4 * 4 * 64 * 64
"""Bytes of one image's latents in stable-diffusion-v1.5; the small model's pixels take less."""


class DiffusionBatch(NamedTuple):
    """Sample-major, d draws a sample: `noisy`, `target` (b d, c, h, w), `steps` (b d,), `texts` (b d, tokens, w)."""

    noisy: Tensor
    target: Tensor
    steps: Tensor
    texts: Tensor
    size: int


def fixed_draws(
    settings: DiffusionSettings, sample: str, *, steps: int, shape: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Return the time steps (d,) in 0..steps - 1 and the noise (d, *shape) of one sample, on the CPU.

    A pure function of the settings' seed and draws and of the sample's id (not of the id when they are common). The
    time steps are stratified: one drawn from each d-th part of the range, which leaves their mean loss unbiased and
    makes it less noisy.
    """
    key = f"{settings.seed} {settings.draws} {'' if settings.common else sample}"
    generator = np.random.default_rng(int.from_bytes(hashlib.blake2b(key.encode(), digest_size=16).digest(), "little"))
    places = (np.arange(settings.draws) + generator.random(settings.draws)) * (steps / settings.draws)
    noise = generator.standard_normal((settings.draws, *shape), dtype=np.float32)
    return torch.from_numpy(places.astype(np.int64).clip(0, steps - 1)), torch.from_numpy(noise)


def read_pixels(source: FileSource, row: int, *, channels: int, side: int) -> Tensor:
    """Return one image as (channels, side, side) fp32 in [-1, 1]: the shorter side scaled, the centre cut out.

    Raises:
        DataError: the file is gone, outside its folder, or no image.
    """
    name = source.names[row].as_py()
    try:
        pixels = decode_image(source.read(row), channels=channels, size=side)
    except DataError as error:
        raise DataError(f"image `{name}` cannot be used: {error}") from error
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 127.5 - 1.0


@dataclass(frozen=True)
class DiffusionTask:
    """A `GenerationTask` of images. `model`: the peft model around `diffusion.unet`, whose layers hold the adapter.

    `only`: the one draw that counts, None for all.
    """

    diffusion: Diffusion
    model: nn.Module
    pairs: PairSet
    settings: DiffusionSettings
    only: int | None = None
    _latent: Callable[[int], Tensor] = field(init=False, repr=False, compare=False)
    _text: Callable[[str], Tensor] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.pairs.kind != "image":
            raise DataError(
                f"pairs of a diffusion model must be image-text pairs, got {self.pairs.kind!r}. Choose others."
            )
        self.diffusion.tokens(list(dict.fromkeys(self.pairs.prompts)))
        source = FileSource(self.pairs.root, pa.array(self.pairs.targets, pa.string()))
        side, channels = self.diffusion.side, self.diffusion.channels

        def latent(row: int) -> Tensor:
            return self.diffusion.encode(read_pixels(source, row, channels=channels, side=side).unsqueeze(0))[0].cpu()

        def text(prompt: str) -> Tensor:
            return self.diffusion.embed([prompt])[0]

        read = self.diffusion.text_encoder.config
        object.__setattr__(self, "_latent", lru_cache(CACHED // LATENT)(latent))
        words = 4 * int(read.hidden_size) * int(read.max_position_embeddings)
        object.__setattr__(self, "_text", lru_cache(max(CACHED // words, 1))(text))

    def with_pairs(self, pairs: PairSet) -> DiffusionTask:
        """Return a task of the same model over other pairs. Raises DataError: texts, or a prompt that is too long."""
        return DiffusionTask(self.diffusion, self.model, pairs, self.settings, self.only)

    def single_draws(self) -> list[DiffusionTask]:
        """Return `settings.draws` tasks, each with one of the draws alone: the mean of their losses is this one's."""
        return [self._with(only=draw) for draw in range(self.settings.draws)]

    def redrawn(self, step: int) -> DiffusionTask:
        """Return the same task with `settings.train_draws` other draws for one step of tuning, as B.3's training has
        it: a pure function of the settings' seed and `step`."""
        seed = derived_seed(self.settings.seed, step, purpose=NOISE)
        changed = replace(self.settings, draws=self.settings.train_draws, seed=seed, common=False)
        return self._with(settings=changed)

    def _with(self, **changes: Any) -> DiffusionTask:
        """Return a copy with other fields that goes on with the latents and texts that are kept."""
        other = copy(self)
        for name, value in changes.items():
            object.__setattr__(other, name, value)
        return other

    def batch(self, rows: Sequence[int]) -> DiffusionBatch:
        """Return the noisy latents of the pairs at `rows`, what the UNet should say to them, and their texts."""
        device, dtype = self.diffusion.device, self.diffusion.unet.dtype
        total = int(self.diffusion.scheduler.config.num_train_timesteps)
        with told_when_full("`draws` or the batch size"):
            clean = torch.stack([self._latent(int(row)) for row in rows])
            drawn = [
                fixed_draws(self.settings, self.pairs.ids[int(row)], steps=total, shape=tuple(clean.shape[1:]))
                for row in rows
            ]
            chosen = slice(None) if self.only is None else slice(self.only, self.only + 1)
            steps, noise = (torch.cat([one[part][chosen] for one in drawn]) for part in (0, 1))
            draws = len(steps) // len(clean)
            repeated = clean.float().repeat_interleave(draws, 0)
            noisy, target = laid_on(self.diffusion.scheduler, repeated, noise, steps)
            texts = torch.stack([self._text(self.pairs.prompts[int(row)]) for row in rows])
            return DiffusionBatch(
                noisy.to(device, dtype), target.to(device), steps.to(device),
                texts.to(device, dtype).repeat_interleave(draws, 0), len(clean),
            )  # fmt: skip

    def losses(self, batch: DiffusionBatch) -> Tensor:
        """Return (b,) the mean squared error of each sample's noise over its pixels and draws (B.3).

        Cost: `draws` passes of the UNet a sample, all at once.
        """
        with told_when_full("`draws` or the batch size"):
            said = self.diffusion.unet(batch.noisy, batch.steps, encoder_hidden_states=batch.texts).sample
            return (said.float() - batch.target).square().reshape(batch.size, -1).mean(1)

    def generate(self, prompt: str, *, seed: int) -> Image.Image:
        """Return the image that the model makes of `prompt` with DPM-Solver++ in `settings.steps` steps.

        Raises:
            DataError: a prompt that is empty or longer than the text encoder's context.
        """
        if not prompt.strip():
            raise DataError("`prompt` must not be empty. Type what the image should show.")
        self.diffusion.tokens([prompt])
        own = {key: value for key, value in self.diffusion.scheduler.config.items() if key in KEPT}
        own |= PIXELS if self.diffusion.vae is None else {}
        sampler = need("diffusers").DPMSolverMultistepScheduler.from_config({**own, "steps_offset": 1})
        pipeline = self.diffusion.pipeline(sampler)
        pipeline.set_progress_bar_config(disable=True)
        with told_when_full("another `dtype`, or a smaller model"):
            latents = pipeline(
                prompt,
                num_inference_steps=self.settings.steps,
                guidance_scale=self.settings.guidance,
                generator=torch.Generator().manual_seed(seed),
                output_type="latent",
            ).images
            pixels = self.diffusion.decode(latents)[0]
        array = ((pixels + 1.0) * 127.5).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)

    def describe(self) -> dict[str, Any]:
        """Return {"kind", "draws", ...}: what decides the losses beside weights and pairs."""
        return {"kind": "image", **self.settings.to_json()}


def open_task(
    base: Path, adapter: Path | None, pairs: PairSet, *, lora: LoraSettings, options: dict[str, Any]
) -> DiffusionTask:
    """Return the pipeline in `base` with the adapter (a new one shaped by `lora` if None) as a task over `pairs`.

    `options`: DiffusionSettings as JSON.

    Raises:
        CheckpointError: a part is missing or damaged, or the adapter is for another base.
        DataError: pairs of text, or a prompt longer than the text encoder's context.
        SettingsError: an option out of range, memory that runs out, or a library that is missing.
    """
    settings = DiffusionSettings.from_json(options)
    with told_when_full("the model's size (a smaller one), or set `dtype` to bf16"):
        diffusion = load_diffusion(base, device=pick_device(), dtype=settings.dtype)
    if adapter is None:
        rank, alpha, targets = lora.rank or RANK, lora.alpha or ALPHA, lora.target_names or TARGETS
        model = new_adapter(diffusion.unet, rank=rank, alpha=alpha, targets=targets, seed=lora.seed)
    else:
        model = load_adapter(diffusion.unet, adapter)
    return DiffusionTask(diffusion, model.eval(), pairs, settings)


KEPT = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type")
"""What the sampler takes over from the model's own schedule."""
PIXELS = {"thresholding": True, "sample_max_value": 1.0, "lambda_min_clipped": -5.1}
"""How pixels are kept in [-1, 1] on the way, and the start of a cosine schedule, where the signal is next to nothing,
left out: without these a small error of the noise there becomes a large one of the image."""


def laid_on(scheduler: Any, clean: Tensor, noise: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the noisy latents at `steps` and what the UNet should say to them: the noise, or its velocity."""
    noisy = scheduler.add_noise(clean, noise, steps)
    velocity = scheduler.config.prediction_type == "v_prediction"
    return noisy, scheduler.get_velocity(clean, noise, steps) if velocity else noise
