"""LoRA adapters as peft keeps them: new ones, ones from a folder that fit the base or are refused, and their folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from fvm_core.errors import CheckpointError
from fvm_core.files import read_json, write_json
from fvm_core.generation.libraries import need
from fvm_core.models.safetensors_file import check_header

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def new_adapter(model: nn.Module, *, rank: int, alpha: float, targets: Sequence[str], seed: int, task: str = "") -> Any:
    """Return `model` inside a peft model with new LoRA on every Linear layer whose name ends in one of `targets`.

    A is drawn from `seed`, B is 0: nothing changes yet. Only LoRA's parameters ask for gradients. `task`: peft's name
    of the model's task, such as CAUSAL_LM.

    Raises:
        CheckpointError: no layer of these names.
    """
    peft = need("peft")
    config = peft.LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=list(targets), lora_dropout=0.0, task_type=task or None
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            return peft.get_peft_model(model, config)
        except ValueError as error:
            raise CheckpointError(
                f"`targets` must name layers of the model, got {', '.join(targets)} ({error!s:.200}). Choose others."
            ) from error


def load_adapter(model: nn.Module, folder: Path | str) -> Any:
    """Return `model` inside a peft model with the adapter kept in `folder`, its parameters asking for gradients.

    Raises:
        CheckpointError: no adapter, not of LoRA, damaged, or made for another base: a layer that this one does not
            have, or has in another size, or tensors that do not fill the layers.
    """
    peft, folder = need("peft"), Path(folder)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise CheckpointError(f"adapter `{folder}` must hold `{name}`, which is not there. Save it with peft.")
    check_header(folder / WEIGHTS)
    kind = read_json(folder / CONFIG, what="the adapter's description")
    if not isinstance(kind, dict) or kind.get("peft_type") != "LORA":
        raise CheckpointError(f"adapter `{folder}` must be one of LoRA. Choose another, or tune one here.")
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        kept = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    try:
        config = peft.LoraConfig.from_pretrained(str(folder))
        config.inference_mode, config.lora_dropout, config.base_model_name_or_path = False, 0.0, None
        wrapped = peft.get_peft_model(model, config)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _another_base(folder, f"{error!s:.200}") from error
    wanted = {name: tuple(value.shape) for name, value in peft.get_peft_model_state_dict(wrapped).items()}
    if kept != wanted:
        name = min(set(kept.items()) ^ set(wanted.items()))[0]
        raise _another_base(
            folder, f"`{name}` is {kept.get(name, 'absent')} there and {wanted.get(name, 'absent')} here"
        )
    peft.set_peft_model_state_dict(wrapped, load_file(folder / WEIGHTS))
    return wrapped


def _another_base(folder: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"adapter `{folder}` must be for this base model, but belongs to another: {why}. Choose the base that it was "
        "tuned on."
    )


def save_adapter(model: Any, folder: Path) -> None:
    """Write adapter_config.json and adapter_model.safetensors, as peft loads them; the base's path stays out."""
    model.save_pretrained(folder, safe_serialization=True)
    described = read_json(folder / CONFIG, what="the adapter's description")
    write_json(folder / CONFIG, {**described, "base_model_name_or_path": None})
    (folder / "README.md").unlink(missing_ok=True)


def lora_parameters(model: nn.Module) -> dict[str, Tensor]:
    """Return {name: parameter} of all parameters that ask for gradients, in the model's order.

    Raises:
        CheckpointError: there is none.
    """
    found: dict[str, Tensor] = {name: value for name, value in model.named_parameters() if value.requires_grad}
    if not found:
        raise CheckpointError("the model must have an adapter: none of its parameters is to be tuned. Tune one first.")
    return found


class Adapter(nn.Module):
    """The trainable parameters of a model as a module of their own, for a state that leaves the frozen base out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        for place, value in enumerate(lora_parameters(model).values()):
            self.register_parameter(f"p{place}", value)  # type: ignore[arg-type]
