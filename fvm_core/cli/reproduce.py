"""`reproduce`: the paper's tables and figures on your datasets, drawn beside the published figures."""

from __future__ import annotations

import argparse
from pathlib import Path

from fvm_core.cli.arguments import add_custom, parse_set
from fvm_core.workspace import Workspace

PRESETS = ("cpu", "paper", "digits")
NOISES = ("aggre", "random1", "worse")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "reproduce", help="run the paper's tables and figures beside the published ones",
        description="Runs the cells of tables 1, 2, 3, 6, 10, 11, 12, 13 and figures 1, 2, 3; what is there is kept.",
    )  # fmt: skip
    parser.add_argument("what", nargs="+", help="table1 table2 ... figure3, or all")
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="NAME",
        help="noisy datasets of the workspace with known clean labels; or the folder with CIFAR-10N's train.parquet",
    )  # fmt: skip
    parser.add_argument(
        "--noise", nargs="+", choices=NOISES, default=["worse"], help="label columns of CIFAR-10N's folder"
    )
    parser.add_argument("--validation", help="clean dataset of the workspace; default: CIFAR-10N's test.parquet")
    parser.add_argument("--model", help="an existing base model: seeds then vary tuning and scoring only")
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument(
        "--seeds-elsewhere", type=int, metavar="N",
        help="how many of the seeds datasets beside the main one (worse, else the first) get; default: the preset's",
    )  # fmt: skip
    parser.add_argument("--name", default="", help="folder of the results below experiments/; default: the preset")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE",
        help="a setting of the preset, e.g. tune.steps=100, train.epochs=3, score.limit=500, subset=5000",
    )  # fmt: skip
    parser.add_argument("--plan", action="store_true", help="only say what would be done and how long it should take")
    parser.add_argument("--draw", action="store_true", help="only draw what is there")
    add_custom(parser)
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace, workspace: Workspace) -> int:
    """Return 0 when done (1 if cells failed), 3 when it was stopped.

    Raises:
        FVMError: a name or setting cannot be used.
    """
    from fvm_core.errors import SettingsError
    from fvm_core.experiments.grid import Grid

    folder = Path(args.data[0]).expanduser()
    data, validation = tuple(args.data), args.validation
    if len(data) == 1 and (folder / "train.parquet").is_file():
        from fvm_core.cli.mainjob import register_folder

        pairs = [register_folder(workspace, folder.resolve(), noise) for noise in args.noise]
        data, validation = tuple(noisy for noisy, _ in pairs), validation or pairs[0][1]
    if not validation:
        raise SettingsError("`--validation` must name a clean dataset of the workspace when `--data` names datasets.")
    grid = Grid(
        what=tuple(args.what), data=data, validation=validation, model=args.model, preset=args.preset,
        changes=parse_set(args.set), seeds=tuple(args.seeds), seeds_elsewhere=args.seeds_elsewhere, name=args.name,
        allow_custom=args.allow_custom,
    )  # fmt: skip
    if args.plan:
        return show_plan(grid, workspace)
    if not args.draw:
        from fvm_core.experiments.plan import make_plan
        from fvm_core.jobs.launch import run_job

        make_plan(grid, workspace)
        status = run_job(workspace, "reproduce", grid.to_json(), title=f"Reproduce {' '.join(grid.what)}: {grid.title}")
        if status.state != "done":
            print(f"{status.state}; go on with: python -m fvm_core job {workspace.jobs / status.id}")
            return 3
        failed = (status.result or {}).get("failed", {})
        draw(grid, workspace)
        return 1 if failed else 0
    return draw(grid, workspace)


def draw(grid, workspace: Workspace) -> int:  # type: ignore[no-untyped-def]
    """Print the tables and figures of the experiment that are there."""
    from fvm_core.errors import DataError
    from fvm_core.experiments.render import markdown, write_texts
    from fvm_core.experiments.results import read_results
    from fvm_core.experiments.store import experiment_folder

    folder = experiment_folder(workspace, grid.title)
    results = {key: result for key, result in read_results(folder).items() if key in grid.wanted(workspace)}
    if not results:
        raise DataError(f"there is no result of {' '.join(grid.what)} in `{folder}` yet. Run it without --draw first.")
    write_texts(folder)
    for result in results.values():
        print(markdown(result))
    print(f"Written: {folder}/*.parquet, tables.md, tables.csv")
    return 0


def show_plan(grid, workspace: Workspace) -> int:  # type: ignore[no-untyped-def]
    """Print the expected minutes of each table and figure, without those that an earlier one has made."""
    from fvm_core.experiments.plan import make_plan, minutes_of
    from fvm_core.experiments.store import open_store

    plan, store = make_plan(grid, workspace), open_store(workspace)
    rows = minutes_of(plan, store)
    for key, cells, parts, minutes in rows:
        print(f"{key:8} {cells:4} cells  {parts:4} parts to do  {minutes:7.1f} min")
    print(f"{'all':8} {sum(r[1] for r in rows):4} cells  {sum(r[2] for r in rows):4} parts to do  "
          f"{sum(r[3] for r in rows):7.1f} min")  # fmt: skip
    return 0
