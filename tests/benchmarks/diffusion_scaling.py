"""Time and peak memory of one sample's LoRA gradient in a UNet of stable-diffusion-v1.5's shape, with random weights.

    python tests/benchmarks/diffusion_scaling.py --width 320 --side 16

`--width` 320 and `--side` 64 (latents of 512 x 512 pixels) are stable-diffusion-v1.5 itself. One setting a process: the
peak is the process's own, above what it held with the model loaded.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fvm_core.generation.diffusion_task import ALPHA, RANK, TARGETS
from fvm_core.generation.libraries import need
from fvm_core.generation.lora import new_adapter
from fvm_core.generation.lora_gradients import layout_of, sample_gradients
from fvm_core.provenance import machine

TOKENS, TEXT = 77, 768


@dataclass
class Stub:
    """What `sample_gradients` asks for, on random latents and texts."""

    unet: Any
    model: Any
    side: int
    draws: int

    def batch(self, rows: list[int]) -> tuple[Tensor, ...]:
        count = len(rows) * self.draws
        shape = (count, 4, self.side, self.side)
        return torch.randn(shape), torch.randn(shape), torch.randint(1000, (count,)), torch.randn(count, TOKENS, TEXT)

    def losses(self, batch: tuple[Tensor, ...]) -> Tensor:
        noisy, noise, steps, texts = batch
        said = self.unet(noisy, steps, encoder_hidden_states=texts).sample
        return (said - noise).square().reshape(len(noisy) // self.draws, -1).mean(1)


def peak() -> float:
    """Return the largest resident size so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("width", 80), ("side", 16), ("draws", 1), ("repeats", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(1)
    unet = need("diffusers").UNet2DConditionModel(
        sample_size=args.side,
        block_out_channels=tuple(args.width * factor for factor in (1, 2, 4, 4)),
        cross_attention_dim=TEXT,
        norm_num_groups=min(32, args.width // 4),
    )
    unet.requires_grad_(False)
    model = new_adapter(unet, rank=RANK, alpha=ALPHA, targets=TARGETS, seed=0).eval()
    task, layout = Stub(unet, model, args.side, args.draws), layout_of(model)
    held, start = peak(), time.process_time()
    for _ in range(args.repeats):
        sample_gradients(task, [0], layout)  # type: ignore[arg-type]
    seconds = (time.process_time() - start) / args.repeats
    result = {
        "parameters": sum(value.numel() for value in model.parameters()) - layout.size, "lora": layout.size,
        "side": args.side, "draws": args.draws, "seconds_a_pair": round(seconds, 2),
        "peak_mb_above_model": round(peak() - held, 1), "held_mb": round(held, 1), "machine": machine(),
    }  # fmt: skip
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
