"""`flag`: the terms of the sum behind one image's score, for the given and for every other label."""

from __future__ import annotations

import argparse

from fvm_core.cli.arguments import add_custom, add_set, custom, parse_set
from fvm_core.cli.foreground import run_and_print
from fvm_core.learn.settings import FlagSettings
from fvm_core.workspace import Workspace


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("flag", help="write the terms behind one image's score, layer by layer")
    parser.add_argument("--model", required=True, help="name of a tuned model")
    parser.add_argument("--dataset", required=True, help="name of the noisy training set")
    parser.add_argument("--validation", required=True, help="name of the clean validation set (Fisher)")
    parser.add_argument("--id", required=True, help="id of the training image")
    parser.add_argument("--checkpoint", type=int, metavar="EPOCH", help="take the weights kept after this epoch")
    add_set(parser, "the terms, e.g. damping=1e-8 top=10")
    add_custom(parser)
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace, workspace: Workspace) -> int:
    settings = FlagSettings.from_json(parse_set(args.set, FlagSettings)).to_json()
    work = {
        "model": args.model, "dataset": args.dataset, "validation": args.validation, "id": args.id,
        "checkpoint": args.checkpoint, "settings": settings, **custom(args),
    }  # fmt: skip
    return run_and_print(workspace, "flag", work, title=f"Terms of {args.id} under {args.model}")
