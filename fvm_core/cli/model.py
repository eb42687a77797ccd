"""`model import|list`: checkpoints into the workspace. The only place where a custom architecture may be named."""

from __future__ import annotations

import argparse
from pathlib import Path

from fvm_core.cli.foreground import run_and_print
from fvm_core.workspace import Workspace


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("model", help="import a checkpoint, list the models")
    actions = parser.add_subparsers(dest="action", required=True)
    given = actions.add_parser("import", help="check a .safetensors, .pt or .pth file and give it a name")
    given.add_argument("file", type=Path)
    given.add_argument("--name", required=True)
    given.add_argument(
        "--arch", default="", help="default: told from the tensors; or custom:MODULE:CALLABLE (runs that module's code)"
    )
    given.add_argument("--classes", type=int, help="number of outputs, where the tensors do not tell")
    given.add_argument("--class-names", default="", help="comma-separated, in the order of the outputs")
    given.add_argument("--image-size", type=int)
    given.add_argument("--channels", type=int, help="1 for grey images, 3 for colour")
    given.add_argument("--width", type=int, help="channels of the first stage, where the tensors do not tell")
    given.add_argument("--normalisation", choices=("cifar10", "imagenet", "half", "none"))
    actions.add_parser("list", help="list the models")
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace, workspace: Workspace) -> int:
    from fvm_core.models.spec import NORMALISATIONS
    from fvm_core.models.store import list_models
    from fvm_core.tuning.solvers import name_with_solver

    if args.action == "list":
        for name, record in list_models(workspace).items():
            role = name_with_solver(record.role, record.settings.get("solver"))
            print(f"{name}\t{role}\t{record.spec.arch}\twidth {record.spec.width}\t{record.sha256[:12]}")
        return 0
    spec: dict[str, object] = {
        "arch": args.arch, "num_classes": args.classes, "image_size": args.image_size,
        "in_channels": args.channels, "width": args.width,
    }  # fmt: skip
    if args.class_names:
        spec["class_names"] = args.class_names.split(",")
    if args.normalisation:
        spec["mean"], spec["std"] = (list(values) for values in NORMALISATIONS[args.normalisation])
    work = {
        "upload": str(args.file.resolve()),
        "name": args.name,
        "spec": {key: value for key, value in spec.items() if value},
        "allow_custom": args.arch.startswith("custom:"),
    }
    return run_and_print(workspace, "import_model", work, title=f"Import {args.name}")
