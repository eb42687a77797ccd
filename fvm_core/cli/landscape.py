"""`landscape`: the loss around one to three models, and on the plane through three, as the Learn page draws it."""

from __future__ import annotations

import argparse

from fvm_core.cli.arguments import add_custom, add_set, custom, parse_set
from fvm_core.cli.foreground import run_and_print
from fvm_core.learn.settings import LandscapeSettings
from fvm_core.workspace import Workspace


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("landscape", help="compute the loss around models, and on the plane through three")
    parser.add_argument("--models", required=True, help="one to three names with commas, e.g. base,vm,fvm")
    parser.add_argument("--dataset", required=True, help="name of the noisy training set")
    parser.add_argument("--validation", required=True, help="name of the clean validation set")
    add_set(parser, "the landscape, e.g. side=31 samples=512")
    add_custom(parser)
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace, workspace: Workspace) -> int:
    settings = LandscapeSettings.from_json(parse_set(args.set, LandscapeSettings)).to_json()
    work = {
        "models": args.models.split(","), "dataset": args.dataset, "validation": args.validation, "settings": settings,
        **custom(args),
    }  # fmt: skip
    return run_and_print(workspace, "landscape", work, title=f"Landscape of {args.models}")
