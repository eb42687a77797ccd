"""What training and tuning set up alike: the model's place, the optimizer, and what is recorded about both."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from fvm_core.errors import SettingsError
from fvm_core.provenance import machine, version
from fvm_core.tuning.batches import Batches
from fvm_core.tuning.precision import Precision, fit_threads
from fvm_core.tuning.settings import TrainSettings, TuneSettings


def place(model: nn.Module, device: torch.device) -> tuple[nn.Module, bool]:
    """Return `model` in train mode on `device`, in channels-last order if it has 2-D convolutions, and whether so."""
    convolutional = any(isinstance(module, nn.Conv2d) for module in model.modules())
    fit_threads(sum(parameter.numel() for parameter in model.parameters()), device)
    model = model.to(device).train()
    return (model.to(memory_format=torch.channels_last) if convolutional else model), convolutional


def environment(precision: Precision) -> dict[str, Any]:
    """Return what beside the settings decides the weights: the precision actually used, threads, versions."""
    return {
        "precision_used": precision.used,
        "precision_note": precision.note,
        "device": str(precision.device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": machine(),
        "version": version(),
    }


def make_optimizer(model: nn.Module, settings: TrainSettings | TuneSettings) -> torch.optim.SGD:
    """Return SGD with momentum and weight decay over all parameters."""
    return torch.optim.SGD(
        model.parameters(), lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
    )


def check_batches(batches: Batches, model: nn.Module, what: str, *, draws: int = 1) -> None:
    """Refuse batches of one sample for a model with BatchNorm, whose statistics they cannot give.

    With `draws` > 1 (LPF) each of so many equal shares of a batch is a batch of its own.

    Raises:
        SettingsError: naming `batch_size`, or `lpf_draws`.
    """
    normed = any(isinstance(item, nn.modules.batchnorm._BatchNorm) for item in model.modules())
    if batches.smallest < 2 and normed:
        raise SettingsError(
            f"`batch_size` must be >= 2 for a model with BatchNorm, got batches of one: {batches.batch_size} for the "
            f"{batches.n} samples of the {what}. Raise `batch_size`."
        )
    least, why = (2, " for BatchNorm") if normed else (1, "")
    if batches.smallest // draws < least:
        raise SettingsError(
            f"`lpf_draws` must leave each draw >= {least} samples{why}, got {draws} draws for batches of "
            f"{batches.smallest}. Lower `lpf_draws` or raise `batch_size`."
        )
