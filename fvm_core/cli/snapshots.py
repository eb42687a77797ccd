"""`snapshots`: a sample of the training set under every weights file that a tuning kept (Fig. 3a and 3b)."""

from __future__ import annotations

import argparse

from fvm_core.cli.arguments import add_custom, add_set, custom, parse_set
from fvm_core.cli.foreground import run_and_print
from fvm_core.influence.settings import ScoreSettings
from fvm_core.workspace import Workspace


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("snapshots", help="score a sample under every snapshot of a tuned model")
    parser.add_argument("--model", required=True, help="name of a tuned model")
    parser.add_argument("--dataset", required=True, help="name of the noisy training set")
    parser.add_argument("--validation", required=True, help="name of the clean validation set (Fisher, g_val)")
    parser.add_argument("--sample", type=int, default=2000, help="training samples scored at each snapshot")
    parser.add_argument("--run", help="name of the folder of score files; default: the model's name")
    add_set(parser, "the scoring, e.g. damping=1e-8")
    add_custom(parser)
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace, workspace: Workspace) -> int:
    settings = parse_set(args.set)
    ScoreSettings.from_json({**settings, "limit": args.sample})
    work = {
        "model": args.model, "dataset": args.dataset, "validation": args.validation, "sample": args.sample,
        "run": args.run or args.model, "settings": settings, **custom(args),
    }  # fmt: skip
    return run_and_print(workspace, "snapshots", work, title=f"Snapshots of {args.model}")
