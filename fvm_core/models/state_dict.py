"""From what a file holds to one flat mapping of finite tensors under plain names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from fvm_core.errors import CheckpointError

WRAPPERS = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params", "module",
    "model_ema", "state_dict_ema", "ema_state_dict", "ema",
)  # fmt: skip
"""Keys under which training programs (Lightning, timm, DeepSpeed, examples) keep the weights, the first found wins."""

PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
"""What DataParallel, torch.compile and Lightning put before every name; may be nested in any order."""

BESIDE = ("n_averaged", "criterion", "loss", "metric", "train_", "val_", "valid_", "test_")
"""Starts of names that Lightning modules and weight averaging keep beside a prefixed model; left out."""


def unwrap(value: Any, *, what: str) -> dict[str, Tensor]:
    """Return the state dict inside a loaded object: itself, or nested up to three levels deep in a checkpoint.

    Raises:
        CheckpointError: none is there; the message says what was found.
    """
    for _ in range(4):
        if not isinstance(value, Mapping):
            raise CheckpointError(
                f"`{what}` holds a {type(value).__name__}, not a model's state dict (names with tensors). "
                "Save `model.state_dict()`."
            )
        if value and all(isinstance(key, str) and isinstance(item, Tensor) for key, item in value.items()):
            return dict(value)
        inner = _inner(value)
        if inner is None:
            break
        value = inner
    found = ", ".join(f"{show(key)} ({type(item).__name__})" for key, item in list(value.items())[:8]) or "nothing"
    more = f" and {len(value) - 8} more" if len(value) > 8 else ""
    raise CheckpointError(
        f"`{what}` holds no model's state dict; it holds {found}{more}. Save `model.state_dict()`, alone or under the "
        "key `state_dict`."
    )


def _inner(value: Mapping[Any, Any]) -> Mapping[Any, Any] | None:
    for key in WRAPPERS:
        if isinstance(value.get(key), Mapping) and value[key]:
            return value[key]
    candidates = [item for item in value.values() if isinstance(item, Mapping) and item]
    candidates = [item for item in candidates if all(isinstance(entry, Tensor) for entry in item.values())]
    return candidates[0] if len(candidates) == 1 else None


def strip_prefixes(names: Iterable[str]) -> dict[str, str]:
    """Return {name: plain name}: wrappers' prefixes taken off where all names share them, `_orig_mod` anywhere.

    Names that belong beside the model (BESIDE) are left out when all others share a prefix.

    >>> strip_prefixes(["model._orig_mod.module.fc.weight", "model._orig_mod.module.fc.bias", "criterion.weight"])
    {'model._orig_mod.module.fc.weight': 'fc.weight', 'model._orig_mod.module.fc.bias': 'fc.bias'}
    """
    plain = {name: ".".join(part for part in name.split(".") if part != "_orig_mod") for name in names}
    while True:
        own = {name: short for name, short in plain.items() if not short.startswith(BESIDE)}
        prefix = next((item for item in PREFIXES if own and all(s.startswith(item) for s in own.values())), None)
        if prefix is None:
            break
        plain = {name: short[len(prefix) :] for name, short in own.items()}
    if len(set(plain.values())) < len(plain) or "" in plain.values():
        return {name: name for name in names}
    return plain


def check_tensors(state: Mapping[str, Tensor], *, max_bytes: int, what: str) -> None:
    """Check that every tensor is plain (dense, on the CPU, backed by its own numbers), within the limit and finite.

    Raises:
        CheckpointError: names the tensors.
    """
    total, bad = 0, []
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_complex():
            raise CheckpointError(
                f"`{what}`: {show(name)} is a {tensor.dtype} tensor ({tensor.layout}, {tensor.device.type}, quantized: "
                f"{tensor.is_quantized}); plain dense tensors of real numbers are needed. Save the unquantized weights."
            )
        size = tensor.numel() * tensor.element_size()
        total += size
        if size > tensor.untyped_storage().nbytes() or total > max_bytes:
            raise CheckpointError(
                f"`{what}`: {show(name)} of shape {tuple(tensor.shape)} claims {size:,} bytes: more than the file "
                f"holds, or with the others more than the limit of {max_bytes:,}. Do not use this file."
            )
        if not _finite(tensor):
            bad.append(name)
    if bad:
        raise CheckpointError(
            f"`{what}` has NaN or infinite weights in {shorten(bad)}: the training diverged or the file is damaged. "
            "Use an earlier checkpoint."
        )


def _finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    low, high = torch.aminmax(tensor.float() if tensor.element_size() == 1 else tensor.detach())
    return bool(torch.isfinite(low) and torch.isfinite(high))


def show(name: object) -> str:
    """Return a foreign name fit for a message: printable, at most 80 characters."""
    text = name if isinstance(name, str) else f"a {type(name).__name__} key"
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= 80 else f"{text[:77]}..."


def shorten(names: Iterable[str], *, limit: int = 6) -> str:
    """Return the first `limit` names and how many more there are.

    >>> shorten(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    shown = [show(name) for name in names]
    rest = len(shown) - limit
    return ", ".join(shown[:limit]) + (f" and {rest} more" if rest > 0 else "")
