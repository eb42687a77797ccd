"""The command line: one module of this package for each command, imported only when it is asked for."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path

import fvm_core.cli
from fvm_core import __version__
from fvm_core.distributed.environment import check_command
from fvm_core.errors import FVMError
from fvm_core.workspace import Workspace, current_workspace

HELPERS = ("main", "arguments", "foreground")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 0 done, 2 a message on stderr tells what to change, 130 after Ctrl-C.

    Each module of `fvm_core.cli` but the HELPERS gives a command of its name (`_` becomes `-`) by
    `add_parser(subparsers)`, which sets the default `handler`: a function of (args, workspace) that returns the code.
    """
    args = _parser(list(sys.argv[1:] if argv is None else argv))
    try:
        workspace = Workspace(args.workspace.expanduser().resolve()) if args.workspace else current_workspace()
        check_command(args.handler.__module__.rpartition(".")[2])
        return int(args.handler(args, workspace) or 0)
    except FVMError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser(argv: list[str]) -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--workspace",
        type=Path,
        metavar="FOLDER",
        help="where datasets, models, jobs, scores and reviews live (default: $FVM_STUDIO_HOME or ~/.fvm-studio)",
    )
    known, rest = common.parse_known_args(argv)
    parser = argparse.ArgumentParser(
        prog="python -m fvm_core",
        description="FVM Studio without the app: train, tune, score, compare, export reviews, jobs.",
        parents=[common],
    )
    parser.add_argument("--version", action="version", version=f"FVM Studio {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    names = [module.name for module in pkgutil.iter_modules(fvm_core.cli.__path__) if module.name not in HELPERS]
    asked = rest[0].replace("-", "_") if rest else ""
    for name in [asked] if asked in names else names:
        importlib.import_module(f"fvm_core.cli.{name}").add_parser(subparsers)
    args = parser.parse_args(rest)
    args.workspace = known.workspace
    return args
