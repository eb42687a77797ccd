"""`mainjob`: the whole paper-shaped run on CIFAR-10N in one command; the README's figures come from here."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from fvm_core.cli.arguments import add_set, parse_set
from fvm_core.cli.foreground import run_and_print
from fvm_core.data.dataset import DatasetSpec
from fvm_core.files import slug
from fvm_core.workspace import Workspace

COLUMNS = {"aggre": "aggre_label", "random1": "random_label1", "worse": "worse_label"}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("mainjob", help="train, tune VM and FVM, score everything on CIFAR-10N (Parquet)")
    parser.add_argument("--data", required=True, help="folder with train.parquet and test.parquet of CIFAR-10N")
    parser.add_argument("--noise", choices=sorted(COLUMNS), default="worse")
    parser.add_argument("--preset", choices=("cpu", "paper"), default="cpu")
    parser.add_argument("--prefix", help="start of the names of the models and runs; default: cifar10n-NOISE")
    parser.add_argument("--width", type=int, help="channels of the first stage; default: the preset's")
    parser.add_argument("--snapshot-sample", type=int, default=2000, help="training samples scored at each snapshot")
    add_set(parser, "TrainSettings, e.g. epochs=6")
    parser.set_defaults(handler=handle)


def register_folder(workspace: Workspace, folder: Path, noise: str) -> tuple[str, str]:
    """Add CIFAR-10N's `train.parquet` with one column of noisy labels, and `test.parquet`; return both names.

    Raises:
        DataError: a file is missing or not of that kind, or another dataset has one of the names.
    """
    from fvm_core.data.registry import add_dataset

    training = DatasetSpec(
        kind="parquet", path=str(folder / "train.parquet"), image="image", label=COLUMNS[noise],
        clean_label="clean_label",
    )  # fmt: skip
    validation = DatasetSpec(kind="parquet", path=str(folder / "test.parquet"), image="image", label="clean_label")
    names = f"cifar10n-{noise}", "cifar10-test"
    add_dataset(workspace, names[0], training)
    add_dataset(workspace, names[1], validation)
    return names


def handle(args: argparse.Namespace, workspace: Workspace) -> int:
    from fvm_core.data.registry import open_named
    from fvm_core.models.spec import BUILDS
    from fvm_core.tuning.settings import TRAIN_PRESETS, TrainSettings

    noisy, clean = register_folder(workspace, Path(args.data).resolve(), args.noise)
    prefix = slug(args.prefix) if args.prefix else noisy
    names = open_named(workspace, noisy).class_names
    build = BUILDS[args.preset]
    spec = dataclasses.replace(build, width=args.width or build.width).spec(10, names)
    train = TrainSettings.from_json({**TRAIN_PRESETS[args.preset].to_json(), **parse_set(args.set, TrainSettings)})
    work = {
        "prefix": prefix, "dataset": noisy, "validation": clean, "model": spec.to_json(),
        "train": train.to_json(), "rho": 0.05, "tune": {"precision": train.precision},
        "score": {"relabel": "shortlist"}, "snapshot_sample": args.snapshot_sample,
    }  # fmt: skip
    return run_and_print(workspace, "pipeline", work, title=f"CIFAR-10N {args.noise}, {args.preset}")
