"""`train`: the base model on the noisy labels."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

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
    parser.add_argument("--arch", help="default: ResNet-34 for the paper's preset, else ResNet-18")
    parser.add_argument("--width", type=int, help="channels of the first stage; default 64, cpu preset 8")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--normalisation", default="cifar10", choices=("cifar10", "imagenet", "half", "none"))


def handle(args: argparse.Namespace, workspace: Workspace) -> int:
    from fvm_core.data.registry import open_named
    from fvm_core.models.spec import NORMALISATIONS, ModelSpec
    from fvm_core.tuning.settings import TRAIN_PRESETS, TrainSettings

    dataset = open_named(workspace, args.dataset)
    mean, std = NORMALISATIONS[args.normalisation]
    cpu = args.preset != "paper"
    spec = ModelSpec(
        args.arch or ("cifar_resnet18" if cpu else "cifar_resnet34"), dataset.num_classes,
        width=args.width or (8 if cpu else 64), image_size=args.image_size, mean=mean, std=std,
        class_names=dataset.class_names,
    )  # fmt: skip
    settings = dataclasses.replace(TRAIN_PRESETS[args.preset], **tuples(parse_set(args.set, TrainSettings)))
    work = {
        "dataset": args.dataset, "validation": args.validation, "model": spec.to_json(),
        "settings": settings.to_json(), "name": args.name, **custom(args),
    }  # fmt: skip
    return run_and_print(workspace, "train", work, title=f"Train {args.name}")


def tuples(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with lists as tuples, as the frozen dataclasses hold them."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
