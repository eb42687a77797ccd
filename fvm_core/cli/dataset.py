"""`dataset add|list|remove`: names for datasets in the workspace."""

from __future__ import annotations

import argparse
from pathlib import Path

from fvm_core.cli.arguments import parse_set
from fvm_core.cli.foreground import run_and_print
from fvm_core.data.dataset import KINDS, DatasetSpec
from fvm_core.data.options import PATHS
from fvm_core.workspace import Workspace


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("dataset", help="add, list or remove datasets of the workspace")
    actions = parser.add_subparsers(dest="action", required=True)
    add = actions.add_parser("add", help="check a dataset by opening it and give it a name")
    add.add_argument("name")
    add.add_argument("kind", choices=KINDS)
    add.add_argument("path", nargs="?", default="", help="file or folder")
    for option, text in (
        ("image", "column or array of the images"),
        ("label", "column or array of the given labels; for CIFAR-N the noise setting"),
        ("clean-label", "column or array of the true labels, if known"),
        ("corrections", "corrected labels exported by the Review page"),
        ("include", "file of sample ids, one a line: open only these"),
        ("exclude", "file of sample ids, one a line: leave these out"),
    ):
        add.add_argument(f"--{option}", default="", help=text)
    add.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="an option of the kind")
    actions.add_parser("list", help="list the datasets")
    remove = actions.add_parser("remove", help="forget a dataset (its files stay)")
    remove.add_argument("name")
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace, workspace: Workspace) -> int:
    from fvm_core.data.download_job import wants_download, without_wish
    from fvm_core.data.registry import add_dataset, list_datasets, open_named, remove_dataset

    if args.action == "list":
        for name, spec in list_datasets(workspace).items():
            print(f"{name}\t{spec.kind}\t{spec.label}\t{spec.path}")
    elif args.action == "remove":
        remove_dataset(workspace, args.name)
    else:
        absolute = {
            key: str(Path(value).resolve()) if value else ""
            for key, value in vars(args).items()
            if key in ("path", "corrections", "include", "exclude")
        }
        options = parse_set(args.option)
        options |= {
            key: str(Path(options[key]).expanduser().resolve())
            for key in PATHS
            if isinstance(options.get(key), str) and options[key]
        }
        spec = DatasetSpec(
            kind=args.kind, image=args.image, label=args.label, clean_label=args.clean_label,
            options=options, **absolute,
        )  # fmt: skip
        if wants_download(spec):
            title = f"Download the images of {args.name}"
            work = {"name": args.name, "spec": without_wish(spec).to_json()}
            return run_and_print(workspace, "download", work, title=title)
        name = add_dataset(workspace, args.name, without_wish(spec))
        dataset = open_named(workspace, name)
        print(f"{name}: {len(dataset)} samples, {dataset.num_classes} classes")
        for note in dataset.notes:
            print(f"note: {note}")
    return 0
