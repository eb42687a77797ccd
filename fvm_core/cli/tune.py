"""`tune`: a base model to a minimum (SGD: VM) or a flat minimum (SAM and its kin: FVM) of the clean validation set."""

from __future__ import annotations

import argparse
from typing import Any

from fvm_core.cli.arguments import add_custom, add_set, custom, parse_set
from fvm_core.cli.foreground import run_and_print
from fvm_core.errors import SettingsError
from fvm_core.tuning.settings import SOLVERS, TuneSettings
from fvm_core.tuning.solvers import SETTING_HELP, SOLVER_INFO, default_radius
from fvm_core.workspace import Workspace


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    what = " ".join(f"{name}: {info.sentence}" for name, info in SOLVER_INFO.items())
    parser = subparsers.add_parser(
        "tune", help="tune a model on the clean validation set", epilog=f"Solvers. {what} SGD gives VM, the others FVM."
    )
    parser.add_argument("--model", required=True, help="name of the base model")
    parser.add_argument("--validation", required=True, help="name of the clean validation set")
    parser.add_argument("--dataset", help="name of the noisy training set, to watch its loss")
    parser.add_argument("--name", required=True, help="name of the tuned model")
    parser.add_argument("--solver", choices=SOLVERS, default="sam", help="sgd gives VM, the others FVM; default: sam")
    defaults = TuneSettings()
    for name, text in SETTING_HELP.items():
        default = getattr(defaults, name)
        tail = _radii() if name == "rho" else f" Default: {default}." if default is not None else ""
        kind = int if isinstance(default, int) else float
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help=text + tail)
    add_set(parser, "TuneSettings, e.g. steps=500")
    add_custom(parser)
    parser.set_defaults(handler=handle)


def _radii() -> str:
    radii = ", ".join(f"{info.radius} for {name}" for name, info in SOLVER_INFO.items() if info.reach == "rho")
    return f" Default: {radii}."


def handle(args: argparse.Namespace, workspace: Workspace) -> int:
    given = {name: getattr(args, name) for name in SETTING_HELP if getattr(args, name) is not None}
    chosen = {"solver": args.solver, **given, **parse_set(args.set, TuneSettings)}
    chosen.setdefault("rho", default_radius(chosen["solver"]))
    _check_belongs(given, chosen["solver"])
    settings = TuneSettings(**chosen).to_json()
    work = {
        "model": args.model, "validation": args.validation, "dataset": args.dataset, "settings": settings,
        "name": args.name, **custom(args),
    }  # fmt: skip
    return run_and_print(workspace, "tune", work, title=f"Tune {args.name}")


def _check_belongs(given: dict[str, Any], solver: str) -> None:
    """Refuse an option that would do nothing. Raises SettingsError naming it and the solver that it belongs to."""
    for owner, info in SOLVER_INFO.items():
        for name in info.own:
            if name in given and owner != solver:
                raise SettingsError(
                    f"`{name}` must go with `--solver {owner}`, got `--solver {solver}`. Leave one of them out."
                )
