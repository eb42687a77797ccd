"""Freed memory of a job's process, by the page faults that the system counts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted as Linux does it")

FAULTS = """
import resource
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work():
    bytes(bytearray(48 << 20))
work()
before = faults()
for _ in range(4):
    work()
print((faults() - before) * resource.getpagesize() >> 20)
"""
COMMAND = """
import runpy, sys
sys.argv = ["fvm_core", "--version"]
try:
    runpy.run_module("fvm_core", run_name="__main__")
except SystemExit:
    pass
"""
OWN = "from fvm_core.jobs.kept_memory import keep_freed_memory; print(keep_freed_memory())"


def printed(code: str, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.splitlines()


def test_a_command_takes_its_freed_memory_again() -> None:
    """In MiB of fresh pages for 384 MiB of memory asked for and freed."""
    assert int(printed(FAULTS)[-1]) > 300
    assert int(printed(COMMAND + FAULTS)[-1]) < 30


@pytest.mark.parametrize(
    ("name", "value"), [("MALLOC_MMAP_THRESHOLD_", "65536"), ("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=65536")]
)
def test_what_the_user_says_of_it_stays(name: str, value: str) -> None:
    assert printed(OWN) == ["True"]
    told, taken = printed(OWN + FAULTS, **{name: value})
    assert told == "False" and int(taken) > 300
