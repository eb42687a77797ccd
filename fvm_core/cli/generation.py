"""`generation`: influential samples in text and image generation: models, pairs, LoRA tuning, scores, the table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fvm_core.cli.arguments import add_set, parse_set
from fvm_core.cli.foreground import run_and_print
from fvm_core.workspace import Workspace


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("generation", help="influential samples in text and image generation (LoRA)")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for add in (_data, _add, _pretrain, _tune, _score, _ask, _table, _example):
        add(actions)


def _data(actions: Any) -> None:
    parser = actions.add_parser("data", help="make or import sets of pairs of prompt and target")
    parser.add_argument(
        "what", help="sentences, problems (Tables 7, 8), styles, subjects (digits), .jsonl, .parquet or folder"
    )
    parser.add_argument("--name", help="name of the set; made ones get NAME-train and NAME-val; default: WHAT or file")
    parser.add_argument(
        "--training", type=int, help="training pairs a class of a made set; default: 90; styles: 200; subjects: 3"
    )
    parser.add_argument("--validation", type=int, help="validation pairs a class; default: 10; styles: 50; subjects: 2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--wording", choices=("table", "practice"), default="table", help="default: the paper's words")
    parser.add_argument("--wrong", type=float, default=0.0, help="share of training targets made wrong on purpose")
    parser.add_argument("--text", default="", help="of an image folder's metadata.jsonl: the column of prompts")
    parser.add_argument("--classes", default="", help="its column of classes, folder, or none")
    parser.set_defaults(handler=data)


def data(args: argparse.Namespace, workspace: Workspace) -> int:
    from fvm_core.generation.pair_file import read_pair_file
    from fvm_core.generation.plant_wrong import plant_wrong
    from fvm_core.generation.sentences import sentence_pairs
    from fvm_core.generation.store import write_pairs
    from fvm_core.generation.word_problems import word_problem_pairs

    if args.what in ("styles", "subjects") or Path(args.what).is_dir():
        return image_data(args, workspace)
    makers = {"sentences": sentence_pairs, "problems": word_problem_pairs}
    if args.what in makers:
        made = makers[args.what](
            training=_given(args.training, 90),
            validation=_given(args.validation, 10),
            seed=args.seed,
            wording=args.wording,
        )
        name = args.name or args.what
        sets = {f"{name}-train": made[0], f"{name}-val": made[1]}
    else:
        name = args.name or Path(args.what).stem
        sets = {name: read_pair_file(args.what)}
    if args.wrong:
        first = next(iter(sets))
        sets[first] = plant_wrong(sets[first], rate=args.wrong, seed=args.seed)
    for one, pairs in sets.items():
        print(f"{write_pairs(workspace, one, pairs)}: {len(pairs)} pairs, {len(pairs.class_names)} classes")
    return 0


def _given(value: int | None, usual: int) -> int:
    return usual if value is None else value


def image_data(args: argparse.Namespace, workspace: Workspace) -> int:
    from fvm_core.generation.image_data import MADE, add_image_folder
    from fvm_core.generation.store import read_pairs

    if args.what in MADE:
        make, training, validation = MADE[args.what]
        sizes = {"training": _given(args.training, training), "validation": _given(args.validation, validation)}
        names = make(workspace, args.name or args.what, **sizes, wrong=args.wrong, seed=args.seed)
    else:
        name = args.name or Path(args.what).resolve().name
        names = [add_image_folder(workspace, name, args.what, text=args.text, classes=args.classes)]
    for name in names:
        pairs = read_pairs(workspace, name)
        print(f"{name}: {len(pairs)} pairs, {len(pairs.class_names)} classes")
    return 0


def _add(actions: Any) -> None:
    parser = actions.add_parser("add", help="register a local model folder (transformers or diffusers, safetensors)")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--kind", choices=("text", "image"), default="text")
    parser.add_argument("--adapter", type=Path, help="also take over a peft adapter tuned elsewhere, as NAME-lora")
    add_set(parser, "LanguageOptions or DiffusionSettings of that adapter, e.g. template='[INST] {prompt} [/INST] '")
    parser.set_defaults(handler=add)


def add(args: argparse.Namespace, workspace: Workspace) -> int:
    from fvm_core.generation.register import register_adapter, register_base

    record = register_base(workspace, args.name, args.folder, kind=args.kind)
    print(f"{record.name}: {record.kind} model in {record.path}")
    if args.adapter:
        adapter = register_adapter(
            workspace, f"{record.name}-lora", args.adapter, base=record.name, options=parse_set(args.set)
        )
        print(f"{adapter.name}: adapter of {record.name}")
    return 0


def _pretrain(actions: Any) -> None:
    parser = actions.add_parser("pretrain", help="train a small base model from scratch")
    parser.add_argument("--name", required=True, help="name of the new base model")
    parser.add_argument("--kind", choices=("text", "image"), default="text")
    parser.add_argument("--pairs", default="", help="image: name of the image-text pairs to train on")
    parser.add_argument("--validation", default="", help="image: name of pairs to measure on")
    add_set(parser, "PretrainSettings, or PretrainDiffusionSettings and SmallUnetSettings, e.g. steps=4000")
    parser.set_defaults(handler=pretrain)


def pretrain(args: argparse.Namespace, workspace: Workspace) -> int:
    from fvm_core.generation.settings import PretrainSettings

    work: dict[str, Any]
    if args.kind == "image":
        work = {"pairs": args.pairs, "validation": args.validation, "settings": parse_set(args.set)}
    else:
        work = {"settings": PretrainSettings.from_json(parse_set(args.set, PretrainSettings)).to_json()}
    work |= {"kind": args.kind, "name": args.name}
    return run_and_print(workspace, "gen_pretrain", work, title=f"Pretrain {args.name}")


def _tune(actions: Any) -> None:
    parser = actions.add_parser("tune", help="tune a LoRA adapter: lora on training pairs; vm, fvm on validation pairs")
    parser.add_argument("--role", choices=("lora", "vm", "fvm"), default="lora")
    parser.add_argument("--model", required=True, help="the base (lora) or the adapter to go on from (vm, fvm)")
    parser.add_argument("--training", default="", help="name of the set of training pairs")
    parser.add_argument("--validation", default="", help="name of the set of validation pairs")
    parser.add_argument("--name", required=True, help="name of the new adapter")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="LanguageOptions")
    add_set(parser, "LoraSettings, e.g. lr=0.003")
    parser.set_defaults(handler=tune)


def tune(args: argparse.Namespace, workspace: Workspace) -> int:
    from fvm_core.generation.settings import LoraSettings

    settings = LoraSettings.from_json({"role": args.role, **parse_set(args.set, LoraSettings)})
    work = {
        "model": args.model, "training": args.training, "validation": args.validation, "name": args.name,
        "settings": settings.to_json(), "options": parse_set(args.option),
    }  # fmt: skip
    return run_and_print(workspace, "gen_tune", work, title=f"Tune {args.name}")


def _score(actions: Any) -> None:
    parser = actions.add_parser("score", help="score all training pairs against all validation pairs")
    parser.add_argument("--model", required=True, help="a tuned adapter")
    parser.add_argument("--training", default="", help="default: the pairs it was tuned with")
    parser.add_argument("--validation", default="", help="default: the pairs it was tuned with")
    parser.add_argument("--run", default="", help="name of the scores; default: the model's")
    add_set(parser, "PairScoreSettings, e.g. methods=influence,tracin")
    parser.set_defaults(handler=score)


def score(args: argparse.Namespace, workspace: Workspace) -> int:
    from fvm_core.generation.settings import PairScoreSettings

    settings = PairScoreSettings.from_json(parse_set(args.set, PairScoreSettings))
    work = {
        "model": args.model, "training": args.training, "validation": args.validation, "run": args.run,
        "settings": settings.to_json(),
    }  # fmt: skip
    return run_and_print(workspace, "gen_score", work, title=f"Score pairs at {args.model}")


def _ask(actions: Any) -> None:
    parser = actions.add_parser("ask", help="answer a prompt and score the training pairs for that answer")
    parser.add_argument("prompt")
    parser.add_argument("--model", required=True, help="a tuned adapter")
    parser.add_argument("--target", default="", help="score this text instead of the model's own answer")
    parser.add_argument("--seed", type=int, default=0, help="of a generated image")
    add_set(parser, "PairScoreSettings")
    parser.set_defaults(handler=ask)


def ask(args: argparse.Namespace, workspace: Workspace) -> int:
    from fvm_core.generation.settings import PairScoreSettings

    settings = PairScoreSettings.from_json(parse_set(args.set, PairScoreSettings))
    work = {
        "model": args.model, "prompt": args.prompt, "target": args.target, "seed": args.seed,
        "settings": settings.to_json(),
    }  # fmt: skip
    return run_and_print(workspace, "gen_ask", work, title=f"Ask {args.model}")


def _table(actions: Any) -> None:
    parser = actions.add_parser("table", help="AUC and recall of all scores (Tables 4, 5), and of planted wrong pairs")
    parser.add_argument("--runs", help="names of runs, comma-separated; default: all")
    parser.add_argument("--csv", help="also write the table to this file")
    parser.add_argument("--wrong-csv", help="also write how planted wrong pairs are found to this file")
    parser.set_defaults(handler=table)


def table(args: argparse.Namespace, workspace: Workspace) -> int:
    from fvm_core.files import atomic_write
    from fvm_core.generation.table import influence_table, wrong_table

    runs = args.runs.split(",") if args.runs else None
    frames = (influence_table(workspace, runs), wrong_table(workspace, runs))
    for frame, path in zip(frames, (args.csv, args.wrong_csv), strict=True):
        if len(frame):
            print(frame.to_string(index=False, float_format=lambda value: f"{value:.2f}"), end="\n\n")
        if path:
            with atomic_write(path, "w", encoding="utf-8") as file:
                frame.to_csv(file, index=False, float_format="%.4f")
    return 0


def _example(actions: Any) -> None:
    parser = actions.add_parser("example", help="put the shipped small model, its pairs and scores into the workspace")
    parser.set_defaults(handler=example)


def example(args: argparse.Namespace, workspace: Workspace) -> int:
    from fvm_core.generation.example import install_example

    for line in install_example(workspace):
        print(line)
    return 0
