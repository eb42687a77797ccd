"""`explain`: which clean and training images speak for and against a label of one image (Eq. 20)."""

from __future__ import annotations

import argparse

from fvm_core.cli.arguments import add_custom, add_set, custom, parse_set
from fvm_core.cli.foreground import run_and_print
from fvm_core.influence.explain_settings import SETS, ExplainSettings
from fvm_core.workspace import Workspace


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("explain", help="tell which images speak for and against a label of one image")
    parser.add_argument("--model", required=True, help="name of a tuned model")
    parser.add_argument("--dataset", required=True, help="name of the noisy training set")
    parser.add_argument("--validation", required=True, help="name of the clean validation set (Fisher)")
    parser.add_argument("--id", required=True, help="id of the image")
    parser.add_argument("--of", choices=SETS, default="training", help="the set that holds it; default: %(default)s")
    parser.add_argument("--label", help="name or number of the class that is asked about; default: its given label")
    parser.add_argument("--checkpoint", type=int, metavar="EPOCH", help="take the weights kept after this epoch")
    add_set(parser, "the explanation, e.g. limit=null second=gauss-newton")
    add_custom(parser)
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace, workspace: Workspace) -> int:
    settings = parse_set(args.set, ExplainSettings)
    work = {
        "model": args.model, "dataset": args.dataset, "validation": args.validation, "of": args.of, "id": args.id,
        "label": args.label, "checkpoint": args.checkpoint,
        "settings": ExplainSettings.from_json(settings).to_json(), **custom(args),
    }  # fmt: skip
    return run_and_print(workspace, "explain", work, title=f"Explain {args.id} with {args.model}")
