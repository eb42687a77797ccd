"""Triton's kernels: vmap's numbers in its interpreter, and machine code for two kinds of GPU, without one."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from fvm_core.influence.fused import usable

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
ROOT = Path(__file__).resolve().parents[1]


def test_kernels_in_the_interpreter() -> None:
    # In a process of its own: Triton reads the variable when it is imported first.
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "tests/fused_cases.py"],
        cwd=ROOT, env={**os.environ, "TRITON_INTERPRET": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "passed" in done.stdout, done.stdout


def test_a_cpu_takes_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    conv, a = nn.Conv2d(4, 6, 3), torch.randn(2, 4, 5, 5)
    assert not usable(conv, a, conv(a))


@pytest.mark.parametrize(
    ("kernel", "kind", "capability"),
    [
        ("weighted_squares", "fp32", 80), ("summed_squares", "bf16", 80),
        ("weighted_squares", "bf16", 90), ("summed_squares", "fp32", 90),
    ],
)  # fmt: skip
def test_kernels_compile_to_machine_code(
    kernel: str, kind: str, capability: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from fvm_core.influence import fused_kernels
    from fvm_core.influence.fused import COLUMNS, FILTERS, POSITIONS

    function = getattr(fused_kernels, kernel)
    tensors = {"a": f"*{kind}", "g": f"*{kind}", "weight": "*fp32", "out": "*fp32"}
    sides = {"FILTERS": FILTERS, "COLUMNS": COLUMNS, "POSITIONS": POSITIONS, "PRECISION": "ieee"}
    signature = {name: tensors.get(name, "constexpr" if name in sides else "i32") for name in function.arg_names}
    source = ASTSource(fn=function, signature=signature, constexprs=sides)
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32))
    assert made.asm["cubin"][:4] == b"\x7fELF" and made.metadata.shared <= 48 * 1024
    assert ".local .align" not in made.asm["ptx"], "sums spill to memory"
