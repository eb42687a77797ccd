"""What a score costs beside a training step, torch.func.vmap and kronfluence, in one run: time and peak memory.

    python -m tests.benchmarks.scoring_speed --kronfluence FOLDER --wide FOLDER --out scoring_speed.csv
    python -m tests.benchmarks.scoring_speed --keep-memory --kronfluence FOLDER --wide FOLDER --out kept.csv

tests/benchmarks/requirements.txt tells how to get kronfluence's folder; `--wide` is that of a ResNet-18 of width 16 in
a workspace with CIFAR-10N (12 minutes on two cores). Without them the rest is measured.

    python -m fvm_core train --dataset cifar10n-worse --validation cifar10-test --preset cpu --width 16 --name w16-base
    python -m fvm_core tune --model w16-base --validation cifar10-test --solver sam --name w16-fvm

Each case runs in a process of its own; the works take turns, `--repeats` rounds, and the median is kept. A training
step is forward and backward in training mode, channels last, as the app trains (contiguous beside it). Where the
processor multiplies bf16, a step under autocast and scores and Fisher in bf16 are timed too. Peak memory is the peak of
a fresh process for each work, less what the process held with model and images before it. With `--keep-memory` all
works run with the settings of glibc that the app's jobs have: freed memory is kept for the next batch. Work that
takes much memory, vmap above all, gains most by it; so vmap and kronfluence are then timed as they come, too, in a
process of their own with glibc's settings (`alone`). With one thread the clock is the processor's, which other work on
the machine disturbs less: with two it is the wall's. The shortlist is handed four batches at once, as the app does it
(two with 100 labels). Models that are not tuned ones are trained for some steps first: what a shortlist can leave out
depends on the model. Milliseconds and MiB are of this machine; the bars of the project are the ratio columns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from fvm_core.jobs.kept_memory import keep_freed_memory

BARS = {
    "score_to_train": "<= 1.5", "score_to_train_bf16": "<= 1.5", "vmap_to_score": ">= 2",
    "kronfluence_to_score": ">= 3", "fisher_to_score": "<= 1", "shortlist_to_score": "<= 4 (k10), <= 12 (k100)",
    "fisher_to_score_bf16": "<= 1", "score_to_train_memory": "<= 1.5", "score_to_train_memory_bf16": "<= 1.5",
}  # fmt: skip
REMEMBERED = ("train", "train_bf16", "score", "score_bf16", "fisher", "all", "shortlist", "vmap", "kronfluence")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kronfluence", type=Path, help="folder that kronfluence is installed in")
    parser.add_argument("--wide", type=Path, help="folder of a tuned ResNet-18 of width 16")
    parser.add_argument("--keep-memory", action="store_true", help="glibc's settings of the app's jobs, for all works")
    parser.add_argument("--case", type=int, help="one case only")
    parser.add_argument("--child", help="internal: time, or the work whose memory is measured")
    args = parser.parse_args()
    if args.kronfluence:
        sys.path.append(str(args.kronfluence))  # behind `tests`, which is imported by now: it has one of its own
    if args.child:
        if args.keep_memory and not keep_freed_memory():
            parser.error("`--keep-memory` needs glibc, and none of its settings in the environment.")
        print(json.dumps({"time": timed, "alone": rivals_alone}.get(args.child, remembered)(args)))
        return
    from tests.benchmarks.scoring_works import cases

    rows = []
    for index, case in enumerate(cases(args.wide)):
        if args.case is None or args.case == index:
            row = {"case": case.name, **child(args, index, "time")}
            if args.keep_memory:
                row |= child(args, index, "alone", keep_memory=False)
            for work in REMEMBERED:
                if f"{work}_ms" in row:
                    row |= child(args, index, work)
            rows.append(row | ratios(row))
            print(json.dumps(rows[-1], indent=1), flush=True)
    table = pd.DataFrame(rows).round(3).assign(
        threads=args.threads, repeats=args.repeats, memory_kept=args.keep_memory,
        clock="processor" if args.threads == 1 else "wall", machine=machine(), python=platform.python_version(),
        torch=version("torch"), kronfluence=version("kronfluence") if args.kronfluence else "not measured",
        bars=json.dumps(BARS),
    )  # fmt: skip
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(args.out, index=False)


def child(args: argparse.Namespace, index: int, work: str, *, keep_memory: bool | None = None) -> dict[str, float]:
    """Run one case or work in a fresh process and return what it printed last. `keep_memory`: another than `args`."""
    command = [sys.executable, "-m", "tests.benchmarks.scoring_speed", "--child", work, "--case", str(index)]
    command += ["--repeats", str(args.repeats), "--threads", str(args.threads)]
    for name in ("kronfluence", "wide"):
        command += [f"--{name}", str(getattr(args, name))] if getattr(args, name) else []
    command += ["--keep-memory"] if (args.keep_memory if keep_memory is None else keep_memory) else []
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def timed(args: argparse.Namespace) -> dict[str, float]:
    """Return {work_ms: median milliseconds a sample} and how exact the results are."""
    import torch

    from fvm_core.influence.per_sample import SquaredGradients
    from tests.benchmarks.scoring_works import cases, exactness, make_bench, weights_of, works_of

    torch.set_num_threads(args.threads)
    case = cases(args.wide)[args.case]
    bench = make_bench(case, validation=1000 if case.trained else 50)
    works = works_of(bench, weights_of(bench, SquaredGradients(bench.model, bench.x[:5])), rival=bool(args.kronfluence))
    last = {name: work() for name, (work, _) in works.items()}
    found = {f"{name}_ms": value for name, value in medians(args, works).items()}
    ours, theirs = last["score"][0], last["vmap"].double()  # type: ignore[index,attr-defined]
    # Scores span many magnitudes; one that is 0 in fp32 has no relative difference.
    some = theirs > 0
    found["largest_difference_from_vmap"] = float(((ours - theirs).abs() / theirs)[some].max())
    found["zero_scores"] = float((~some).sum())
    if "all" in last:
        found |= exactness(last["all"], last["shortlist"])  # type: ignore[arg-type]
    return found


def rivals_alone(args: argparse.Namespace) -> dict[str, float]:
    """Return {work_alone_ms: median milliseconds a sample} of vmap and kronfluence, which nothing else runs beside."""
    import torch

    from fvm_core.influence.per_sample import SquaredGradients
    from tests.benchmarks.scoring_works import cases, make_bench, weights_of, works_of

    torch.set_num_threads(args.threads)
    bench = make_bench(cases(args.wide)[args.case], validation=50)
    weights = weights_of(bench, SquaredGradients(bench.model, bench.x[:5]))
    works = works_of(bench, weights, ("vmap", "kronfluence"), rival=bool(args.kronfluence))
    for work, _ in works.values():
        work()
    return {f"{name}_alone_ms": value for name, value in medians(args, works).items()}


def medians(args: argparse.Namespace, works: Mapping[str, tuple[Callable[[], object], int]]) -> dict[str, float]:
    """Let the works take turns; return the median milliseconds a sample of each."""
    clock = time.process_time if args.threads == 1 else time.perf_counter
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(args.repeats):
        for name, (work, count) in works.items():
            begin = clock()
            work()
            taken[name].append((clock() - begin) / count * 1000)
    return {name: statistics.median(values) for name, values in taken.items()}


def remembered(args: argparse.Namespace) -> dict[str, float]:
    """Return {work_mib: peak memory of this process, less what it held before}."""
    import torch

    from tests.benchmarks.scoring_works import cases, make_bench, works_of

    torch.set_num_threads(args.threads)
    # Untrained: what the training of a head for 100 classes leaves behind would count, and memory is the same.
    case = replace(cases(args.wide)[args.case], trained=None, steps=0)
    bench = make_bench(case, validation=50)
    held = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    work, _ = works_of(bench, None, (args.child,))[args.child]
    for _ in range(1 if args.child in ("all", "shortlist") else 3):  # these go through several batches anyway
        work()
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {f"{args.child}_mib": int(line.split()[1]) / 1024 - held, "held_mib": held}


def ratios(row: dict[str, float]) -> dict[str, float]:
    """Return the ratios that the bars are about."""
    found = {
        "score_to_train": row["score_ms"] / row["train_ms"],
        "score_to_train_contiguous": row["score_ms"] / row["train_contiguous_ms"],
        "vmap_to_score": row["vmap_ms"] / row["score_ms"],
        "fisher_to_score": row["fisher_ms"] / row["score_ms"],
        "score_to_train_memory": row["score_mib"] / row["train_mib"],
        "fisher_to_train_memory": row["fisher_mib"] / row["train_mib"],
    }
    if "train_bf16_ms" in row:
        found["score_to_train_bf16"] = row["score_bf16_ms"] / row["train_bf16_ms"]
        found["fisher_to_score_bf16"] = row["fisher_bf16_ms"] / row["score_bf16_ms"]
        found["score_to_train_memory_bf16"] = row["score_bf16_mib"] / row["train_bf16_mib"]
    if "kronfluence_ms" in row:
        found["kronfluence_to_score"] = row["kronfluence_ms"] / row["score_ms"]
    for name in ("vmap_alone", "kronfluence_alone"):
        if f"{name}_ms" in row:
            found[f"{name}_to_score"] = row[f"{name}_ms"] / row["score_ms"]
    for name in ("all", "shortlist"):
        if f"{name}_ms" in row:
            found[f"{name}_to_score"] = row[f"{name}_ms"] / row["score_ms"]
            found[f"{name}_to_train_memory"] = row[f"{name}_mib"] / row["train_mib"]
    return found


def machine() -> str:
    """Return the processor's name and what it can do that matters here."""
    text = Path("/proc/cpuinfo").read_text()
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    name, family = (
        next(v.strip() for k, v in fields.items() if k.strip() == key) for key in ("model name", "cpu family")
    )
    flags = next(value.split() for key, value in fields.items() if key.strip() == "flags")
    kinds = " ".join(flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags)
    return f"{name} (family {family}), {os.cpu_count()} cores, {kinds}"


if __name__ == "__main__":
    main()
