"""How long the Review and Compare pages take with a big scores table, measured inside a real browser.

    python -m tests.benchmarks.app_at_scale --rows 1000000 50000

Makes the workspace (kept with `--folder`), starts the app with it, and times each action from key or click to the new
content in full (browser_clock.py). Rows of the CSV: median and 90 % quantile in ms, n, the processor time that server
and browser took, the load average of five minutes (both cores are busy at 2), bytes over the websocket. The
first time of an action, when nothing is in any cache, is a row of its own. Memory is the server's, from /proc.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from playwright.sync_api import Page, sync_playwright

from fvm_core.provenance import machine
from fvm_core.workspace import Workspace
from tests.benchmarks.big_workspace import build
from tests.benchmarks.browser_clock import Clock
from tests.benchmarks.scale_steps import compare_steps, review_steps

ROOT = Path(__file__).resolve().parents[2]
OUT = Path(__file__).parent / "results" / "app_at_scale.csv"
STEPS = {"Review": review_steps, "Compare": compare_steps}
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"]


def start(home: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start the app on a free port; return it once it answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    command += ["--server.headless", "true"]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"FVM_STUDIO_HOME": str(home)})
    url = f"http://127.0.0.1:{port}"
    for _ in range(1200):
        with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{url}/_stcore/health", timeout=2):
            return process, url
        time.sleep(0.05)
    raise SystemExit("the app did not start")


def processor(server: int) -> tuple[float, float]:
    """Return the ms of processor time taken so far by the server and by the browser's processes (all other children of
    this one). What else runs on the machine makes an action last longer, but takes nothing of these."""
    taken, parents = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rsplit(")", 1)[1].split()
            number = int(path.parent.name)
            parents[number], taken[number] = int(fields[1]), int(fields[11]) + int(fields[12])

    def ours(number: int) -> bool:
        while number > 1:
            number = parents.get(number, 0)
            if number == os.getpid():
                return True
        return False

    tick = 1000 / os.sysconf("SC_CLK_TCK")
    browser = sum(value for number, value in taken.items() if number != server and ours(number))
    return tick * taken.get(server, 0), tick * browser


def memory(process: subprocess.Popen[bytes], key: str) -> float:
    """Return VmRSS or VmHWM (peak) of the server in MiB."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{key}:"))) / 1024


def measure(home: Path, rows: int, repeats: int, shots: Path | None, pages: Sequence[str]) -> pd.DataFrame:
    """Return the table of one workspace."""
    begin = time.perf_counter()
    process, url = start(home)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            page = browser.new_page(viewport={"width": 1366, "height": 768})
            page.set_default_timeout(120_000)
            clock = Clock(page, processor=lambda: processor(process.pid))
            opening = time.perf_counter()
            first = clock.load("Home, in a new tab", url, holds=("FVM Studio",))
            clock.times["server start to first page"] = [1000 * (opening - begin) + first]
            memories = {"after Home": memory(process, "VmRSS")}
            for name in pages:
                STEPS[name](clock, url, repeats)
                memories[f"after {name}"] = memory(process, "VmRSS")
                keep_shot(page, shots, f"{name.lower()}-{rows}")
            memories["peak"] = memory(process, "VmHWM")
            browser.close()
    finally:
        process.terminate()
        process.wait(timeout=20)
    load = round(os.getloadavg()[1], 1)
    frame = pd.DataFrame(
        [
            {
                "rows": rows, "what": name, "median": float(np.median(times)), "p90": float(np.quantile(times, 0.9)),
                "n": len(times), "unit": "ms", "server_cpu": cpu(clock, name, 0), "browser_cpu": cpu(clock, name, 1),
                "load": load, "bytes": int(np.median(clock.sizes.get(name, [0]))),
            }
            for name, times in clock.times.items()
        ]
    )  # fmt: skip
    told = [{"rows": rows, "what": f"memory {key}", "median": value, "unit": "MiB"} for key, value in memories.items()]
    return pd.concat([frame, pd.DataFrame(told)], ignore_index=True)


def cpu(clock: Clock, name: str, which: int) -> float:
    return float(np.median([both[which] for both in clock.work.get(name, [(np.nan, np.nan)])]))


def keep_shot(page: Page, folder: Path | None, name: str) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / f"{name}.png", full_page=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 50_000])
    parser.add_argument("--folder", type=Path, nargs="*", help="a workspace of big_workspace for each of --rows")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--pages", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--shots", type=Path, help="a folder for screenshots")
    args = parser.parse_args()
    tables = []
    for number, rows in enumerate(args.rows):
        with tempfile.TemporaryDirectory() as made:
            home = args.folder[number] if args.folder else Path(made)
            if not args.folder:
                build(Workspace(home), rows)
            for left in home.glob("review.sqlite*"):
                left.unlink()
            tables.append(measure(home.resolve(), rows, args.repeats, args.shots, args.pages))
        print(tables[-1].to_string(index=False, float_format=lambda value: f"{value:.0f}"), flush=True)
    table = pd.concat(tables, ignore_index=True)
    table["machine"] = machine()
    table["versions"] = " ".join(f"{name} {version(name)}" for name in ("streamlit", "pyarrow", "pandas", "plotly"))
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    table["commit"] = head.stdout.strip() or "not in git"
    args.out.parent.mkdir(parents=True, exist_ok=True)
    table.round({"median": 1, "p90": 1}).to_csv(args.out, index=False)


if __name__ == "__main__":
    main()
