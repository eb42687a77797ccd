"""Where and in which number format the passes run: bf16 only where the hardware has it."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

SMALL = 50_000
CPU_FLAGS = {"avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"}


@dataclass(frozen=True)
class Precision:
    """`used` is `fp32` or `bf16`; `note` says why it differs from what was asked for, empty if it does not."""

    used: str
    device: torch.device
    note: str = ""

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context for a forward pass; weights and their gradients stay fp32."""
        if self.used == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()


def pick_device() -> torch.device:
    """Return the first CUDA device, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit_threads(parameters: int, device: torch.device) -> None:
    """Use one thread for a small model on the CPU: its tensors are so small that threads would wait for each other."""
    if device.type == "cpu" and parameters < SMALL:
        torch.set_num_threads(1)


@functools.cache
def has_bf16(device: torch.device) -> bool:
    """Say whether `device` multiplies bf16 in hardware (on a CPU without, bf16 is slower than fp32)."""
    if device.type == "cuda":
        return torch.version.hip is not None or torch.cuda.get_device_capability(device)[0] >= 8
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return any(
        CPU_FLAGS & set(line.partition(":")[2].split()) for line in text.splitlines() if line[:5] in ("flags", "Featu")
    )


def resolve_precision(requested: str, device: torch.device) -> Precision:
    """Return the precision that `device` can give: `bf16` falls back to fp32, with a note, where it has no hardware.

    >>> resolve_precision("fp32", torch.device("cpu")).used
    'fp32'
    """
    if requested == "bf16" and not has_bf16(device):
        return Precision(
            "fp32", device, f"bf16 was asked for, but this {device.type} has no bf16 hardware: fp32 is used."
        )
    return Precision(requested, device)
