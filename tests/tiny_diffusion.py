"""Diffusion models of a few thousand parameters, and image-text folders, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from fvm_core.generation.diffusion_model import Diffusion
from fvm_core.generation.diffusion_settings import SmallUnetSettings
from fvm_core.generation.diffusion_task import TARGETS
from fvm_core.generation.image_folder_pairs import open_image_pairs
from fvm_core.generation.lora import new_adapter
from fvm_core.generation.pairs import PairSet
from fvm_core.generation.small_unet import build_small

PROMPTS = ("a red cross", "a blue line", "a red line", "a blue cross")


def image_folder(root: Path, *, count: int = 4, side: int = 8, channels: int = 1) -> Path:
    """Write `count` random images with a metadata.jsonl of the columns text and class."""
    root.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(count):
        shape = (side, side) if channels == 1 else (side, side, 3)
        pixels = np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{number}.png")
        prompt = PROMPTS[number % 4]
        lines.append({"file_name": f"{number}.png", "text": prompt, "class": prompt.split()[1]})
    (root / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return root


def image_pairs(root: Path, *, count: int = 4, side: int = 8, channels: int = 1) -> PairSet:
    return open_image_pairs(image_folder(root, count=count, side=side, channels=channels))


def tiny_pixels(*, seed: int = 0, width: int = 8, context: int = 16) -> Diffusion:
    """A model over 8 x 8 grey pixels, as `build_small` makes it."""
    settings = SmallUnetSettings(
        side=8, widths=(width, 2 * width), heads=1, text_width=width, text_layers=1, context=context, merges=16
    )
    return build_small(settings, PROMPTS, seed=seed)


def add_lora(model: Diffusion, *, rank: int = 2, alpha: float = 2.0, seed: int = 0) -> Any:
    """Put new LoRA on every attention layer and return the peft model in eval mode."""
    return new_adapter(model.unet, rank=rank, alpha=alpha, targets=TARGETS, seed=seed).eval()


def tiny_stable_diffusion(folder: Path, *, prediction: str = "epsilon") -> Path:
    """Save a Stable Diffusion pipeline with random weights by diffusers alone: VAE, CLIP, UNet, PNDM, as SD 1.5 has."""
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=24)
    text = CLIPTextConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=24, projection_dim=16, bos_token_id=52, eos_token_id=53, pad_token_id=53,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, cross_attention_dim=16,
        attention_head_dim=2, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4, norm_num_groups=4, sample_size=16,
    )  # fmt: skip
    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1,
        set_alpha_to_one=False, prediction_type=prediction,
    )  # fmt: skip
    StableDiffusionPipeline(
        vae=vae, text_encoder=CLIPTextModel(text), tokenizer=tokenizer, unet=unet, scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder
