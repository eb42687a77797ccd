"""`train`: the base model on the noisy labels."""

from __future__ import annotations

import argparse
import dataclasses

from fvm_core.cli.arguments import add_custom, add_set, custom, parse_set
from fvm_core.cli.foreground import run_and_print
from fvm_core.workspace import Workspace


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from fvm_core.tuning.settings import TRAIN_PRESETS

    parser = subparsers.add_parser("train", help="train the base model on the noisy labels")
    parser.add_argument("--dataset", required=True, help="name of the noisy training set")
    parser.add_argument("--validation", help="name of a clean set to measure accuracy on (not trained on)")
    parser.add_argument("--name", required=True, help="name of the new model")
    parser.add_argument("--preset", choices=sorted(TRAIN_PRESETS), default="paper", help="default: the paper's recipe")
    add_model_options(parser)
    add_set(parser, "TrainSettings, e.g. epochs=30")
    add_custom(parser)
    parser.set_defaults(handler=handle)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe a model to be built."""
    from fvm_core.models.spec import NORMALISATIONS

    parser.add_argument("--arch", help=f"default: {_told('arch')}")
    parser.add_argument("--width", type=int, help=f"channels of the first stage; default: {_told('width')}")
    parser.add_argument("--image-size", type=int, help=f"side in pixels; default: {_told('image_size')}")
    parser.add_argument("--normalisation", choices=sorted(NORMALISATIONS), help=f"default: {_told('normalisation')}")


def _told(field: str) -> str:
    from fvm_core.models.spec import BUILDS

    return ", ".join(f"{getattr(build, field)} ({preset})" for preset, build in BUILDS.items())


def handle(args: argparse.Namespace, workspace: Workspace) -> int:
    from fvm_core.data.registry import open_named
    from fvm_core.models.spec import BUILDS
    from fvm_core.tuning.settings import TRAIN_PRESETS, TrainSettings

    dataset = open_named(workspace, args.dataset)
    given = {name: getattr(args, name) for name in ("arch", "width", "image_size", "normalisation")}
    build = dataclasses.replace(BUILDS[args.preset], **{name: value for name, value in given.items() if value})
    spec = build.spec(dataset.num_classes, dataset.class_names)
    settings = TrainSettings.from_json({**TRAIN_PRESETS[args.preset].to_json(), **parse_set(args.set, TrainSettings)})
    work = {
        "dataset": args.dataset, "validation": args.validation, "model": spec.to_json(),
        "settings": settings.to_json(), "name": args.name, **custom(args),
    }  # fmt: skip
    return run_and_print(workspace, "train", work, title=f"Train {args.name}")
