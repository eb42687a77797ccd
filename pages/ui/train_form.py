"""Train a base model on the noisy labels, for a person who has no checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from fvm_core.data.dataset import DatasetSpec
from fvm_core.models.spec import ARCHITECTURES, BUILDS, NORMALISATIONS, ModelSpec
from fvm_core.tuning.settings import TRAIN_PRESETS, TrainSettings
from pages.ui.tune_form import free_name

PRESETS = {
    "paper": f"Paper: ResNet-34, {TRAIN_PRESETS['paper'].epochs} epochs (needs a GPU)",
    "cpu": f"CPU: slim ResNet-18, {TRAIN_PRESETS['cpu'].epochs} epochs",
    "digits": f"Digits: small network, {TRAIN_PRESETS['digits'].epochs} epochs",
}


def preset_for(spec: DatasetSpec | None) -> str:
    """Return the preset that fits a dataset: the small network for the digits, else the CPU's."""
    return "digits" if spec is not None and spec.kind == "digits" else "cpu"


def train_form(
    datasets: Mapping[str, DatasetSpec], taken: Collection[str], *, dataset: str | None, validation: str | None
) -> dict[str, Any] | None:
    """Draw the form. When its button is pressed, return the arguments of a `train` job, else None.

    "model" is a ModelSpec with one class and no names: the page puts in those of the opened dataset.

    Raises:
        SettingsError: a value out of range.
    """
    names = list(datasets)
    a, b, c = st.columns(3)
    chosen = a.selectbox(
        "Noisy training set", names, index=names.index(dataset) if dataset in names else 0, key="train_dataset"
    )
    held_out = b.selectbox(
        "Measure accuracy on", [None, *names], index=names.index(validation) + 1 if validation in names else 0,
        key="train_validation", format_func=lambda name: "nothing" if name is None else name,
        help="A clean set that is never trained on; only for the curve of the accuracy.",
    )  # fmt: skip
    fitting = preset_for(datasets.get(chosen))
    presets = list(PRESETS)
    preset = c.selectbox(
        "Recipe", presets, index=presets.index(fitting), format_func=PRESETS.__getitem__, key=f"train_preset_{fitting}"
    )
    base, build = TRAIN_PRESETS[preset], BUILDS[preset]
    a, b, c, d, e = st.columns([2, 1, 1, 1, 1])
    arch = a.selectbox("Architecture", ARCHITECTURES, index=ARCHITECTURES.index(build.arch), key=f"train_arch_{preset}")
    width = b.number_input(
        "Width", 1, 512, build.width, key=f"train_width_{preset}",
        help="Channels of the first stage. 64 is the full ResNet, 8 a slim one; others ignore it.",
    )  # fmt: skip
    size = c.number_input("Image side", 8, 1024, build.image_size, key=f"train_size_{preset}", help="In pixels.")
    channels = d.selectbox(
        "Colours", [3, 1], index=[3, 1].index(build.channels), key=f"train_channels_{preset}",
        format_func={3: "RGB", 1: "grey"}.__getitem__,
    )  # fmt: skip
    scaling = list(NORMALISATIONS)
    normalisation = e.selectbox(
        "Normalisation", scaling, index=scaling.index(build.normalisation), key=f"train_norm_{preset}",
        help="Mean and deviation that pixels in [0, 1] are scaled by.",
    )  # fmt: skip
    a, b, c, d, e = st.columns([1, 1, 1, 1, 2])
    epochs = a.number_input("Epochs", 1, 10000, base.epochs, key=f"train_epochs_{preset}")
    lr = b.number_input("Learning rate", 0.0, None, base.lr, step=0.01, format="%.3f", key=f"train_lr_{preset}")
    batch = c.number_input("Batch size", 1, None, base.batch_size, step=16, key=f"train_batch_{preset}")
    seed = d.number_input("Seed", 0, None, 0, key=f"train_seed_{preset}")
    name = e.text_input(
        "Name of the model", free_name(f"{chosen}-base", taken), key=f"train_name_{chosen}_{len(taken)}", max_chars=64
    )
    if not st.button("Start training", icon=":material/model_training:", key="start_training"):
        return None
    mean, std = NORMALISATIONS[normalisation]
    settings = with_epochs(replace(base, lr=lr, batch_size=int(batch), seed=int(seed)), int(epochs))
    model = ModelSpec(arch, 1, width=int(width), in_channels=channels, image_size=int(size), mean=mean, std=std)
    return {
        "dataset": chosen, "validation": held_out, "model": model.to_json(), "settings": settings.to_json(),
        "name": name,
    }  # fmt: skip


def with_epochs(settings: TrainSettings, epochs: int) -> TrainSettings:
    """Return the recipe stretched to `epochs`: learning-rate drops and kept checkpoints move in proportion.

    >>> with_epochs(TRAIN_PRESETS["paper"], 10).drop_epochs
    (5,)
    """

    def stretch(values: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted({max(1, round(value * epochs / settings.epochs)) for value in values}))

    return replace(
        settings, epochs=epochs, drop_epochs=stretch(settings.drop_epochs),
        checkpoint_epochs=stretch(settings.checkpoint_epochs),
    )  # fmt: skip
