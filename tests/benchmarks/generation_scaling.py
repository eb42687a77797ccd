"""Time and peak memory of LoRA tuning and of per-sample gradients, against model size and sequence length.

    python tests/benchmarks/generation_scaling.py --hidden 192 --layers 5 --tokens 128

One setting a process: the peak is the process's own, above what it held with the model loaded.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from fvm_core.generation.byte_tokenizer import byte_tokenizer
from fvm_core.generation.language_model import open_task
from fvm_core.generation.lora_gradients import layout_of, sample_gradients
from fvm_core.generation.lora_tuning import PairLoss
from fvm_core.generation.pairs import text_pairs
from fvm_core.generation.pretrain import new_model
from fvm_core.generation.settings import LoraSettings, PretrainSettings
from fvm_core.provenance import machine


def peak() -> float:
    """Return the largest resident size so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("hidden", 192), ("layers", 5), ("tokens", 128), ("batch", 8), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(1)
    shape = {"hidden": args.hidden, "layers": args.layers, "heads": args.hidden // 32, "context": args.tokens}
    settings = PretrainSettings(feed_forward=args.hidden * 8 // 3, **shape)
    rng = np.random.default_rng(0)
    half = args.tokens // 2 - 2
    texts = ["".join(rng.choice(list("abcdefgh "), half)).strip().ljust(half, "z") for _ in range(2 * args.batch)]
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = byte_tokenizer(context=args.tokens)
        new_model(settings, tokenizer).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        pairs = text_pairs(texts[: args.batch], texts[args.batch :])
        task = open_task(Path(folder), None, pairs, lora=LoraSettings(), options={})
    layout, rows = layout_of(task.model), list(range(args.batch))
    held, clock, times = peak(), time.process_time, {}
    for name, work in (
        ("gradients", lambda: sample_gradients(task, rows, layout)),
        ("tuning", lambda: PairLoss(task, rows, args.batch)().backward()),
    ):
        work()
        start = clock()
        for _ in range(args.repeats):
            work()
        times[f"{name}_ms_a_pair"] = round(1000 * (clock() - start) / args.repeats / args.batch, 2)
    result = {
        "parameters": sum(value.numel() for value in task.model.parameters()) - layout.size,
        "lora": layout.size, "tokens": args.tokens, "batch": args.batch, **times,
        "peak_mb_above_model": round(peak() - held, 1), "held_mb": round(held, 1), "machine": machine(),
    }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main()
