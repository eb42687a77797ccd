"""`tune`: a base model to a minimum (SGD: VM) or a flat minimum (SAM: FVM) of the clean validation set."""

from __future__ import annotations

import argparse

from fvm_core.cli.arguments import add_custom, add_set, custom, parse_set
from fvm_core.cli.foreground import run_and_print
from fvm_core.workspace import Workspace


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("tune", help="tune a model on the clean validation set")
    parser.add_argument("--model", required=True, help="name of the base model")
    parser.add_argument("--validation", required=True, help="name of the clean validation set")
    parser.add_argument("--dataset", help="name of the noisy training set, to watch its loss")
    parser.add_argument("--name", required=True, help="name of the tuned model")
    parser.add_argument("--solver", choices=("sgd", "sam"), default="sam", help="sgd gives VM, sam FVM (default)")
    parser.add_argument("--rho", type=float, default=0.05, help="SAM's radius; also of the measured sharpness")
    add_set(parser, "TuneSettings, e.g. steps=500")
    add_custom(parser)
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace, workspace: Workspace) -> int:
    from fvm_core.tuning.settings import TuneSettings

    chosen = {"solver": args.solver, "rho": args.rho, **parse_set(args.set, TuneSettings)}
    settings = TuneSettings(**chosen).to_json()
    work = {
        "model": args.model, "validation": args.validation, "dataset": args.dataset, "settings": settings,
        "name": args.name, **custom(args),
    }  # fmt: skip
    return run_and_print(workspace, "tune", work, title=f"Tune {args.name}")
