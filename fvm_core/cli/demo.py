"""`demo`: the built-in digits demo without the browser; `--train` makes its checkpoint anew."""

from __future__ import annotations

import argparse
import shutil

from fvm_core.cli.foreground import run_and_print
from fvm_core.workspace import Workspace


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("demo", help="run the built-in digits demo")
    parser.add_argument("--train", action="store_true", help="train the base checkpoint and put it into assets/demo")
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace, workspace: Workspace) -> int:
    from fvm_core.demo import BASE

    code = run_and_print(workspace, "demo", {"train": args.train}, title="Digits demo")
    if code == 0 and args.train:
        shutil.rmtree(BASE, ignore_errors=True)
        shutil.copytree(workspace.models / "digits-base", BASE)
        print(f"checkpoint written to {BASE}")
    return code
