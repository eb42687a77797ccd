"""A Stable Diffusion pipeline small enough to be trained from scratch on two cores: over pixels, without a VAE."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from fvm_core.errors import DataError
from fvm_core.generation.diffusion_model import Diffusion
from fvm_core.generation.diffusion_settings import SmallUnetSettings
from fvm_core.generation.libraries import need

END_OF_WORD = "</w>"
TRAIN_STEPS = 1000


def build_small(settings: SmallUnetSettings, prompts: Sequence[str], *, seed: int) -> Diffusion:
    """Return an untrained pipeline: a UNet2DConditionModel over pixels in [-1, 1], a CLIP text encoder and a byte-level
    CLIP tokenizer whose merges are learnt from `prompts`, and a cosine noise schedule of 1,000 steps.

    The defaults have 1.1 million parameters. `save` writes the folder that `load_diffusion` reads, as of any Stable
    Diffusion.

    Raises:
        DataError: a prompt longer than `settings.context`.
    """
    diffusers, transformers = need("diffusers"), need("transformers")
    tokenizer = byte_tokenizer(prompts, merges=settings.merges, context=settings.context)
    attending = len(settings.widths) - settings.plain
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        text_encoder = transformers.CLIPTextModel(
            transformers.CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=settings.text_width,
                intermediate_size=2 * settings.text_width,
                projection_dim=settings.text_width,
                num_hidden_layers=settings.text_layers,
                num_attention_heads=4,
                max_position_embeddings=settings.context,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        unet = diffusers.UNet2DConditionModel(
            sample_size=settings.side,
            in_channels=settings.channels,
            out_channels=settings.channels,
            down_block_types=("DownBlock2D",) * settings.plain + ("CrossAttnDownBlock2D",) * attending,
            up_block_types=("CrossAttnUpBlock2D",) * attending + ("UpBlock2D",) * settings.plain,
            block_out_channels=settings.widths,
            layers_per_block=settings.layers,
            norm_num_groups=8,
            cross_attention_dim=settings.text_width,
            attention_head_dim=settings.heads,  # the number of heads, in spite of its name (diffusers issue 2011)
        )
    scheduler = diffusers.DDPMScheduler(
        num_train_timesteps=TRAIN_STEPS, beta_schedule="squaredcos_cap_v2", clip_sample=False, steps_offset=1
    )
    diffusion = Diffusion(unet.eval(), text_encoder.eval(), tokenizer, scheduler, None)
    diffusion.tokens(list(dict.fromkeys(prompts)))
    return diffusion


def byte_tokenizer(prompts: Sequence[str], *, merges: int, context: int) -> Any:
    """Return a CLIPTokenizer that knows every byte, and at most `merges` merged pairs learnt from `prompts`.

    Raises:
        DataError: no prompt.
    """
    tokenizers, transformers = need("tokenizers"), need("transformers")
    if not prompts:
        raise DataError("`prompts` must hold at least one prompt to learn the tokenizer from, got none.")
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    symbols = [*letters, *(letter + END_OF_WORD for letter in letters)]
    ends = ["<|startoftext|>", "<|endoftext|>"]

    def build(pairs: list[tuple[str, str]]) -> Any:
        words = [*symbols, *dict.fromkeys(a + b for a, b in pairs if a + b not in symbols), *ends]
        vocabulary = {word: number for number, word in enumerate(words)}
        return transformers.CLIPTokenizer(vocab=vocabulary, merges=pairs, model_max_length=context)

    if merges == 0:
        return build([])
    backend = build([]).backend_tokenizer
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=len(symbols) + merges,
        initial_alphabet=letters,
        end_of_word_suffix=END_OF_WORD,
        show_progress=False,
    )
    backend.train_from_iterator(sorted(set(prompts)), trainer=trainer)
    found = json.loads(backend.to_str())["model"]["merges"]
    return build([(str(a), str(b)) for a, b in found[:merges]])


def save(diffusion: Diffusion, folder: Path) -> None:
    """Write the folder of a Stable Diffusion pipeline: safetensors and JSON, what `load_diffusion` reads."""
    diffusion.pipeline().save_pretrained(folder, safe_serialization=True)
