"""SAM's step beside SGD's, and the share of a step that feeding it takes, on CIFAR-10's test images (the tuning set).

    OMP_NUM_THREADS=2 python -m tests.benchmarks.tuning_speed --out tests/benchmarks/results/tuning_speed.csv

The feed is the app's own: a memory map of uint8 pixels, normalised, padded, cropped and flipped as tensors. SGD, SAM
and the feed take turns, medians of `--repeats` rounds are kept; `--images` are decoded into a temporary cache first.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from fvm_core.data.cache import PixelCache
from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.open import open_dataset
from fvm_core.models.resnet import BLOCKS, CifarResNet
from fvm_core.models.spec import ModelSpec
from fvm_core.tuning.batches import Batches, step_generator
from fvm_core.tuning.feed import Feed
from fvm_core.tuning.sam import Sam
from fvm_core.tuning.sgd import Sgd
from tests.benchmarks.scoring_speed import machine
from tests.benchmarks.scoring_works import DATA, TRAINED

BATCH = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    for name, default in (("repeats", 7), ("threads", 2), ("images", 2000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    spec = ModelSpec(**json.loads((TRAINED / "model.json").read_text())["spec"])
    data = open_dataset(DatasetSpec(kind="parquet", path=DATA / "test.parquet", image="image", label="clean_label"))
    rows = np.arange(args.images)
    with tempfile.TemporaryDirectory() as folder:
        cache = PixelCache(data, size=spec.image_size, channels=spec.in_channels, folder=folder)
        cache.read(rows)
        feed = Feed(spec, cache, rows, np.asarray(data.labels, dtype=np.int64), torch.device("cpu"), True)
        table = pd.DataFrame([measured(feed, width, args.repeats) for width in (8, 16)])
    table = table.round(4).assign(
        batch=BATCH, threads=args.threads, repeats=args.repeats, machine=machine(),
        python=platform.python_version(), torch=version("torch"), bars="sam_to_sgd <= 2.1",
    )  # fmt: skip
    print(table.T.to_string())
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(args.out, index=False)


def measured(feed: Feed, width: int, repeats: int) -> dict[str, float | str]:
    """Return the medians in milliseconds of one step of `BATCH` images and what they are to each other."""
    torch.manual_seed(0)
    model = CifarResNet(BLOCKS["cifar_resnet18"], num_classes=10, width=width).train()
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    batches = Batches(len(feed), BATCH, seed=0)
    taken: dict[str, list[float]] = {"feed": [], "sgd": [], "sam": []}
    for k in range(repeats + 1):
        begin = time.perf_counter()
        x, y = feed.batch(batches.at(k), generator=step_generator(0, k))
        taken["feed"].append(time.perf_counter() - begin)
        for name, solver in (("sgd", Sgd()), ("sam", Sam(rho=0.05))):
            begin = time.perf_counter()
            solver.step(model, optimizer, lambda x=x, y=y: F.cross_entropy(model(x), y), k=k)  # type: ignore[misc]
            taken[name].append(time.perf_counter() - begin)
    feeding, sgd, sam = (1000 * statistics.median(taken[name][1:]) for name in ("feed", "sgd", "sam"))
    return {
        "model": f"cifar_resnet18-w{width}", "feed_ms": feeding, "sgd_ms": sgd, "sam_ms": sam, "sam_to_sgd": sam / sgd,
        "feed_share_of_sgd_step": feeding / (feeding + sgd), "feed_share_of_sam_step": feeding / (feeding + sam),
    }  # fmt: skip


if __name__ == "__main__":
    main()
