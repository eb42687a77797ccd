"""What a million and a hundred million images cost on 1, 8 and 64 workers: arithmetic from measured figures.

    python -m tests.benchmarks.cost_of_scale measure --workspace COPY --model cifar10n-worse-fvm \
        --dataset cifar10n-worse --validation cifar10-test --out tests/benchmarks/results/two_workers.csv
    python -m tests.benchmarks.cost_of_scale table --workers tests/benchmarks/results/two_workers.csv \
        --rates tests/benchmarks/results/scoring_speed_kept.csv --case cifar_resnet18-w8-b64-k10-trained

`measure` runs the app's own `score` in one process and in two under torchrun, each with `--threads` threads, over few
and over many rows; the difference is what the rows cost, without start and Fisher. Processor seconds stand beside the
clock's, for other work on the machine disturbs them less. It also times worker 0's merge, and the decoding of the
data set's images into an empty cache with one worker's threads, and weighs the file.
`table` prints Markdown. A rate can be given by hand instead (--score-rate, --fisher-rate, --tune-rate, in samples a
second of one worker, with --worker to name machine and model); a GPU's is then marked as not measured here.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from fvm_core.data.dataset import LabeledImages

IMAGES, WORKERS = (10**6, 10**8), (1, 8, 64)
VALIDATION, STEPS, BATCH = 10_000, 1_000, 128
SIDE, CHANNELS = 32, 3


@dataclass(frozen=True)
class Rates:
    """Samples a second of one worker in the Fisher, in scoring and in tuning (SAM); `words` say of what, and whether
    they were measured. `peak` is the working memory of one worker in MiB, None if unknown."""

    fisher: float
    score: float
    tune: float
    words: str
    peak: float | None = None


def hours(rates: Rates, *, n: int, workers: int, efficiency: float, merge: float, decode: float) -> dict[str, float]:
    """Return the hours of each stage. Tuning is one worker's: its batches of 128 are too small to share well."""
    speed = workers * (efficiency if workers > 1 else 1.0)
    return {
        "decode": n / (speed * decode) / 3600,
        "tune": STEPS * BATCH / rates.tune / 3600,
        "Fisher": VALIDATION / (speed * rates.fisher) / 3600,
        "score": n / (speed * rates.score) / 3600,
        "merge": n / merge / 3600,
    }


def gigabytes(n: int, *, row_on_disk: float, row_in_memory: float) -> dict[str, float]:
    """Return GB: decoded pixels, the score file (its parts take as much again until the job is deleted), and what each
    worker holds of the data set's table."""
    return {
        "pixels": n * SIDE * SIDE * CHANNELS / 1e9,
        "scores": 2 * n * row_on_disk / 1e9,
        "table in each worker": n * row_in_memory / 1e9,
    }


def table(rates: Rates, measured: pd.Series, *, clock: str) -> str:
    """Return the page of arithmetic as Markdown, efficiency by the clock (`wall`) or by `processor` seconds."""
    efficiency = float(measured["efficiency" if clock == "wall" else "efficiency_cpu"])
    lines = [
        f"Rates of one worker: Fisher {rates.fisher:,.0f}, score with shortlist {rates.score:,.0f}, SAM "
        f"{rates.tune:,.0f} samples/s ({rates.words}).",
        f"Measured with the app's `score` ({measured['machine']}; {measured['model']}; load average "
        f"{measured['load']:.1f}): two workers against one by the clock {measured['efficiency']:.2f}, in processor "
        f"seconds {measured['efficiency_cpu']:.2f}; e = {efficiency:.2f} ({clock}). Merge "
        f"{measured['merge_rows_per_s']:,.0f} rows/s; decoding {measured['decode_per_s']:,.0f} images/s of one worker; "
        f"{measured['row_bytes']:.0f} bytes a row on disk, {measured['memory_bytes']:.0f} in memory.",
        "",
        f"hours = n / (w e decoding) + {STEPS * BATCH:,} / SAM + {VALIDATION:,} / (w e Fisher) + n / (w e score) + "
        f"n / merge, all / 3600; e = 1 for w = 1. GB = n ({SIDE} x {SIDE} x {CHANNELS} + 2 x bytes a row).",
        "",
        "| images | workers | decode | tune | Fisher | score | merge | hours | worker hours | GB on disk | GB of ids |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for n in IMAGES:
        sizes = gigabytes(n, row_on_disk=measured["row_bytes"], row_in_memory=measured["memory_bytes"])
        for workers in WORKERS:
            found = hours(
                rates, n=n, workers=workers, efficiency=efficiency, merge=measured["merge_rows_per_s"],
                decode=measured["decode_per_s"],
            )  # fmt: skip
            total = sum(found.values())
            cells = [
                f"{value:,.2g}" if value < 10 else f"{value:,.0f}"
                for value in (*found.values(), total, total * workers)
            ]
            disk = sizes["pixels"] + sizes["scores"]
            lines.append(
                f"| {n:,} | {workers} | {' | '.join(cells)} | {disk:,.3g} | {sizes['table in each worker']:.2g} |"
            )
    peak = (
        "" if rates.peak is None else f"a worker's working memory is {rates.peak:,.0f} MiB whatever n is (measured); "
    )
    lines += [
        "",
        f"Assumptions: {VALIDATION:,} validation images, {STEPS:,} steps of {BATCH}, images of {SIDE} x {SIDE}; {peak}"
        "e of two processes on one machine holds for 8 and 64 on several (not measured; rows need no exchange, so it "
        "depends on the disk); each worker holds the GB of ids and labels in memory; every worker reads the pixels as "
        "fast as it scores; every image is decoded once.",
    ]
    return "\n".join(lines)


def from_csv(path: Path, case: str) -> Rates:
    """Return the rates of a case of scoring_speed.py's CSV, by the clock."""
    rows = pd.read_csv(path)
    row = rows[rows["clock"] == "wall"].set_index("case").loc[case]
    words = f"measured: {case}, {row['machine']}, {row['threads']} threads as one worker; SAM as two training steps"
    return Rates(
        1e3 / row["fisher_ms"], 1e3 / row["shortlist_ms"], 1e3 / row["train_ms"] / 2, words, row.get("shortlist_mib")
    )


def measure(args: argparse.Namespace) -> pd.DataFrame:
    """Return one row of figures of the app's `score`, in one process and in two."""
    from fvm_core.data.registry import open_named
    from fvm_core.influence.store import read_provenance
    from fvm_core.provenance import machine
    from fvm_core.workspace import Workspace

    workspace, rounds = Workspace(args.workspace.resolve()), []
    for number in range(args.rounds):
        for workers in (1, 2):
            for limit in args.rows:
                rounds.append({"workers": workers, "rows": limit, **scored(args, workers, limit, f"t{number}")})
                print(rounds[-1], flush=True)
    best = pd.DataFrame(rounds).groupby(["workers", "rows"]).min()
    few, many = args.rows
    spent = {w: best.loc[(w, many)] - best.loc[(w, few)] for w in (1, 2)}
    parts = sorted(workspace.scores.glob("*/influence.parquet"))
    dataset = open_named(workspace, args.dataset)
    held = sum(column.nbytes for column in (dataset.ids, dataset.labels, dataset.rows)) / len(dataset) + 4 * 8
    origin = read_provenance(parts[-1])["model"]["spec"]
    return pd.DataFrame(
        [
            {
                "efficiency": spent[1]["wall"] / (2 * spent[2]["wall"]),
                "efficiency_cpu": spent[1]["cpu"] / spent[2]["cpu"],
                "wall_one": spent[1]["wall"], "wall_two": spent[2]["wall"],
                "cpu_one": spent[1]["cpu"], "cpu_two": spent[2]["cpu"], "rows": many - few, "threads": args.threads,
                "decode_per_s": decoded(dataset, origin, args.decoded), "merge_rows_per_s": merged(parts[-1]),
                "row_bytes": largest(parts), "memory_bytes": held,
                "model": f"{origin['arch']} of width {origin['width']}", "machine": machine(),
                "load": os.getloadavg()[1],
            }
        ]
    ).round(4)  # fmt: skip


def scored(args: argparse.Namespace, workers: int, limit: int, name: str) -> dict[str, float]:
    """Score `limit` rows and return the seconds of the clock and of the processors."""
    command = [
        "fvm_core", "score", "--model", args.model, "--dataset", args.dataset, "--validation", args.validation,
        "--methods", "influence", "--run", f"{name}-{workers}-{limit}", "--set", f"limit={limit}",
    ]  # fmt: skip
    launcher = ["-m"] if workers == 1 else ["-m", "torch.distributed.run", "--nproc-per-node", str(workers), "-m", "--"]
    environment = {
        **os.environ, "FVM_STUDIO_HOME": str(args.workspace.resolve()), "OMP_NUM_THREADS": str(args.threads),
    }  # fmt: skip
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *launcher, *command], env=environment, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"wall": wall, "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


def merged(path: Path) -> float:
    """Return the rows a second of worker 0's merge: of a score file's rows, many times over, from 64 parts."""
    import tempfile

    import pyarrow as pa
    import pyarrow.parquet as pq

    from fvm_core.influence.parts import find_parts, merge, part_path, write_part
    from fvm_core.influence.store import SCHEMA

    rows = pq.read_table(path).cast(SCHEMA)
    part = pa.concat_tables([rows] * (8192 // len(rows) + 1))[:8192]
    with tempfile.TemporaryDirectory() as folder:
        for number in range(64):
            write_part(part_path(Path(folder), "influence", 8192 * number), part, plan="", seconds=0.0)
        parts, begin = find_parts(Path(folder), "influence", plan=""), time.perf_counter()
        merge(parts, Path(folder) / "whole.parquet", SCHEMA)
        return 64 * 8192 / (time.perf_counter() - begin)


def decoded(dataset: LabeledImages, spec: Mapping[str, Any], count: int) -> float:
    """Return the images a second that `count` of the data set take into an empty cache."""
    import tempfile

    import numpy as np

    from fvm_core.data.cache import PixelCache
    from fvm_core.data.subset import take

    some = take(dataset, np.arange(min(count, len(dataset))))
    with tempfile.TemporaryDirectory() as folder:
        cache = PixelCache(some, size=spec["image_size"], channels=spec["in_channels"], folder=folder)
        begin = time.perf_counter()
        cache.fill()
        return len(some) / (time.perf_counter() - begin)


def largest(paths: Sequence[Path]) -> float:
    """Return the bytes a row of the score file with the most rows."""
    import pyarrow.parquet as pq

    rows, size = max((pq.read_metadata(path).num_rows, path.stat().st_size) for path in paths)
    return size / rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    one = commands.add_parser("measure")
    for name in ("model", "dataset", "validation"):
        one.add_argument(f"--{name}", required=True)
    one.add_argument("--workspace", type=Path, required=True, help="a copy: score files and jobs are written there")
    one.add_argument("--rows", type=int, nargs=2, default=(512, 6656), metavar=("FEW", "MANY"))
    one.add_argument("--decoded", type=int, default=20_000, help="images that are decoded for their speed")
    one.add_argument("--rounds", type=int, default=2)
    one.add_argument("--threads", type=int, default=1)
    one.add_argument("--out", type=Path)
    two = commands.add_parser("table")
    two.add_argument("--workers", type=Path, required=True, help="CSV of `measure`")
    two.add_argument("--rates", type=Path, help="CSV of scoring_speed.py")
    two.add_argument("--case", help="a case of it")
    for name in ("fisher", "score", "tune"):
        two.add_argument(f"--{name}-rate", type=float)
    two.add_argument("--worker", default="", help="what the rates given by hand are of, and whether measured")
    two.add_argument("--clock", choices=("wall", "processor"), default="wall", help="which efficiency counts")
    args = parser.parse_args()
    if args.command == "measure":
        found = measure(args)
        print(found.T.to_string())
        if args.out:
            args.out.parent.mkdir(parents=True, exist_ok=True)
            found.to_csv(args.out, index=False)
        return
    if args.rates:
        rates = from_csv(args.rates, args.case)
    elif args.fisher_rate and args.score_rate and args.tune_rate:
        rates = Rates(
            args.fisher_rate, args.score_rate, args.tune_rate, args.worker or "given by hand, NOT MEASURED here"
        )
    else:
        parser.error("give --rates and --case, or all of --fisher-rate, --score-rate and --tune-rate")
    print(table(rates, pd.read_csv(args.workers).iloc[0], clock=args.clock))


if __name__ == "__main__":
    main()
