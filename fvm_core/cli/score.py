"""`score`: every training sample under one model, by one or more methods."""

from __future__ import annotations

import argparse

from fvm_core.cli.arguments import add_custom, add_set, custom, parse_set
from fvm_core.cli.foreground import run_and_print
from fvm_core.influence.methods import DEFAULT_METHODS, METHODS
from fvm_core.influence.settings import ScoreSettings
from fvm_core.workspace import Workspace


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("score", help="score the training samples under a model")
    parser.add_argument("--model", required=True)
    parser.add_argument("--dataset", required=True, help="name of the noisy training set")
    parser.add_argument("--validation", required=True, help="name of the clean validation set (Fisher, g_val)")
    parser.add_argument("--checkpoint", type=int, metavar="EPOCH", help="score the weights kept after this epoch")
    parser.add_argument("--run", help="name of the folder of score files; default: MODEL, or MODEL-epoch-004")
    parser.add_argument(
        "--methods", default=",".join(DEFAULT_METHODS), help=f"some of {', '.join(METHODS)}; default: %(default)s"
    )
    parser.add_argument("--relabel", choices=("all", "shortlist", "none"), default="shortlist")
    add_set(parser, "the scoring, e.g. damping=1e-8")
    add_custom(parser)
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace, workspace: Workspace) -> int:
    from fvm_core.influence.store import default_run

    settings = {"relabel": args.relabel, **parse_set(args.set)}
    ScoreSettings.from_json(settings)
    work = {
        "model": args.model, "dataset": args.dataset, "validation": args.validation,
        "methods": args.methods.split(","), "run": args.run or default_run(args.model, args.checkpoint),
        "settings": settings, **custom(args),
    }  # fmt: skip
    title = f"Score with {args.model}"
    if args.checkpoint is not None:
        work["checkpoint"] = args.checkpoint
        title += f", epoch {args.checkpoint}"
    return run_and_print(workspace, "score", work, title=title)
