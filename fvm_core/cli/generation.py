"""`generation`: influential samples in text and image generation: models, pairs, LoRA tuning, scores, the table."""

from __future__ import annotations

import argparse

from fvm_core.cli.arguments import add_set, parse_set
from fvm_core.cli.foreground import run_and_print
from fvm_core.workspace import Workspace


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("generation", help="influential samples in text and image generation (LoRA)")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _pretrain(actions)


def _pretrain(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("pretrain", help="train a small base model from scratch, on data drawn by a seed")
    parser.add_argument("--name", required=True, help="name of the new base model")
    add_set(parser, "PretrainSettings, e.g. steps=4000")
    parser.set_defaults(handler=pretrain)


def pretrain(args: argparse.Namespace, workspace: Workspace) -> int:
    from fvm_core.generation.settings import PretrainSettings

    settings = PretrainSettings.from_json(parse_set(args.set, PretrainSettings))
    work = {"kind": "text", "name": args.name, "settings": settings.to_json()}
    return run_and_print(workspace, "gen_pretrain", work, title=f"Pretrain {args.name}")
