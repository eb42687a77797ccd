"""`table`: AUC, AP, relabel accuracy and time of every score file, side by side, as Markdown and CSV."""

from __future__ import annotations

import argparse

from fvm_core.workspace import Workspace


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("table", help="compare score files where the truth is known")
    parser.add_argument("--runs", help="names of runs, comma-separated; default: all")
    parser.add_argument("--csv", help="also write the table to this file")
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace, workspace: Workspace) -> int:
    from fvm_core.files import atomic_write
    from fvm_core.influence.summary import summarize

    table = summarize(workspace, runs=args.runs.split(",") if args.runs else None)
    print(table.to_string(index=False, float_format=lambda value: f"{value:.2f}"))
    if args.csv:
        with atomic_write(args.csv, "w", encoding="utf-8") as file:
            table.to_csv(file, index=False, float_format="%.4f")
    return 0
