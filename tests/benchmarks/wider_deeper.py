"""Does the plain loss still beat the influence score when the network is wider, deeper, or in bf16?

    python -m tests.benchmarks.wider_deeper ../shared/data/cifar10n --folder DIR --out F.csv [--nets resnet18:16 ...]

Each net `ARCH:WIDTH[:bf16]` is trained on the same rows of CIFAR-10N `worse` by the `cpu` preset's recipe, tuned by SAM
on the same clean images, and base and tuned model score the same training rows; the scores are in fp32. What DIR has
is not made again. `bf16` trains and tunes as autocast does: on a CPU without bf16 the very rounding is imitated
(operands and results of every layer rounded to bf16, sums in fp32), and the script says how far the logits of the base
are from those of real autocast and of fp32.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fvm_core.cli.mainjob import register_folder
from fvm_core.data.registry import add_dataset, open_named
from fvm_core.data.subset import write_ids
from fvm_core.experiments.presets import PRESETS
from fvm_core.influence.metrics import auc_ap
from fvm_core.influence.score import run as score
from fvm_core.influence.store import read_scores
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.models.checkpoint import load_model
from fvm_core.models.spec import Build
from fvm_core.provenance import machine
from fvm_core.tuning.evaluate import evaluate
from fvm_core.tuning.feed import Feed, open_feed
from fvm_core.tuning.train import run as train
from fvm_core.tuning.tune import run as tune
from fvm_core.workspace import Workspace

METHODS = ("influence", "typical_influence", "posterior", "loss", "margin", "el2n", "logit_margin")
Work = Callable[[MemoryContext, dict[str, Any], Workspace], Mapping[str, Any]]


class Rounded(TorchFunctionMode):
    """Every layer takes and gives bf16 numbers, as under autocast; products are summed in fp32, weights stay fp32."""

    layers = (F.conv2d, F.linear, F.batch_norm)
    sums = (Tensor.add, Tensor.__add__, torch.add, F.adaptive_avg_pool2d, torch.flatten, Tensor.mean)

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (F.conv2d, F.linear):
            args = tuple(rounded(item) if isinstance(item, Tensor) else item for item in args)
            return rounded(func(*args, **kwargs))
        result = func(*args, **kwargs)
        inner = func in self.sums and isinstance(result, Tensor) and result.requires_grad and result.dim() > 1
        return rounded(result) if func is F.batch_norm or inner else result


def rounded(value: Tensor) -> Tensor:
    """Return the nearest bf16 numbers as fp32; its gradient is rounded on the way back."""
    return value.to(torch.bfloat16).to(torch.float32)


def apart(model: nn.Module, x: Tensor) -> tuple[float, float]:
    """Return how far imitated bf16 logits are from real autocast's, and real ones from fp32's (root mean square)."""
    exact = model(x).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        real = model(x).detach().float()
    with Rounded():  # it knows the network's sums by their gradients
        imitated = model(x).detach()
    return float((imitated - real).pow(2).mean().sqrt()), float((real - exact).pow(2).mean().sqrt())


def make(workspace: Workspace, data: Path, *, rows: int, clean: int) -> tuple[str, str, str]:
    """Register `rows` of the noisy and `clean` of the clean images, drawn by seed 0, and the other clean images; return
    the three names."""
    names = []
    for name, count in zip(register_folder(workspace, data, "worse"), (rows, clean), strict=True):
        whole = open_named(workspace, name)
        chosen = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))[:count].sort().values.numpy()
        ids = workspace.root / f"{name}-{count}.txt"
        write_ids(ids, whole.ids[chosen].tolist())
        names.append(add_dataset(workspace, f"{name}-{count}", replace(whole.spec, include=str(ids))))
    other = add_dataset(workspace, f"{name}-other", replace(whole.spec, exclude=str(ids)))
    return names[0], names[1], other


def once(work: Work, args: dict[str, Any], workspace: Workspace, made: Path, mode: AbstractContextManager[Any]) -> None:
    """Do the work unless what it makes is there."""
    if not made.exists():
        begin = time.perf_counter()
        with mode:
            work(MemoryContext(), args, workspace)
        print(f"{made.relative_to(workspace.root)}: {time.perf_counter() - begin:.0f} s", flush=True)


def measure(workspace: Workspace, net: str, noisy: str, clean: str, other: str, *, limit: int) -> list[dict[str, Any]]:
    """Train, tune and score one net; return a row for each model and method."""
    arch, width, *precision = net.split(":")
    preset, key = PRESETS["cpu"], net.replace(":", "-")
    spec = Build(f"cifar_{arch}", int(width), 32, 3, "cifar10").spec(10, open_named(workspace, noisy).class_names)

    def mode() -> AbstractContextManager[Any]:
        return Rounded() if precision else nullcontext()

    args = {"dataset": noisy, "validation": clean, "model": spec.to_json(), "settings": preset.train.to_json()}
    once(train, {"name": f"{key}-base", **args}, workspace, workspace.models / f"{key}-base/model.json", mode())
    settings = preset.tuning("sam", seed=0, classes=10).to_json()
    args = {"model": f"{key}-base", "dataset": None, "validation": clean, "settings": settings}
    once(tune, {"name": f"{key}-fvm", **args}, workspace, workspace.models / f"{key}-fvm/model.json", mode())
    found = []
    feed: Feed = open_feed(
        open_named(workspace, other), spec, workspace, MemoryContext(), what="clean set", device=torch.device("cpu"),
        channels_last=False,
    )  # fmt: skip
    for role in ("base", "fvm"):
        name = f"{key}-{role}"
        files = {method: workspace.scores / name / f"{method}.parquet" for method in METHODS}
        missing = [method for method, path in files.items() if not path.exists()]
        args = {
            "model": name, "dataset": noisy, "validation": clean, "run": name, "methods": missing,
            "settings": {"limit": limit, "relabel": "none", "batch_size": 32, "damping": 1e-8},
        }  # fmt: skip
        if missing:
            once(score, args, workspace, files[missing[-1]], nullcontext())
        model, _ = load_model(workspace, name)
        right = evaluate(model, feed.batch, np.arange(len(feed)))[1]
        for method in METHODS:
            frame = read_scores(files[method]).frame
            wrong = (frame["label"] != frame["clean_label"]).to_numpy()
            auc, ap = auc_ap(frame["suspicion"].to_numpy(), wrong)
            found.append(
                {
                    "net": net, "parameters": sum(p.numel() for p in model.parameters()), "model": role,
                    "clean accuracy": 100 * right, "method": method, "auc": 100 * auc, "ap": 100 * ap,
                    "samples": len(frame),
                }
            )  # fmt: skip
        if precision and role == "base":
            gaps = apart(model.eval(), feed.batch(np.arange(32))[0])
            print("bf16 imitated against real, real against fp32:", *(f"{value:.2g}" for value in gaps), flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--folder", type=Path, required=True, help="workspace, made if it is not there")
    parser.add_argument("--nets", nargs="+", default=["resnet18:8", "resnet18:8:bf16", "resnet18:16", "resnet34:8"])
    parser.add_argument("--rows", type=int, default=12_500)
    parser.add_argument("--clean", type=int, default=3_000)
    parser.add_argument("--limit", type=int, default=3_000, help="training rows that are scored")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(arguments)
    args.folder.mkdir(parents=True, exist_ok=True)
    workspace = Workspace(args.folder.resolve())
    noisy, clean, other = make(workspace, args.data.resolve(), rows=args.rows, clean=args.clean)
    rows: list[dict[str, Any]] = []
    for net in args.nets:
        rows += measure(workspace, net, noisy, clean, other, limit=args.limit)
        table = pd.DataFrame(rows).assign(training_rows=args.rows, machine=machine()).round(2)
        table.to_csv(args.out, index=False)
        print(table[table.net == net].drop(columns=["machine"]).to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
