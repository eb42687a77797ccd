"""How long a page of the review gallery takes, from the key to the last of its images on the screen.

    python -m tests.benchmarks.gallery_speed --home WORKSPACE

WORKSPACE (a copy: a review is written to it) has scored images; CIFAR-10N's 50,000 were used. The clock is the
browser's: from the time stamp of the key event until all images are decoded and two frames have been painted since.
"calm": a person looks for a second at each page. "hurried": the next key comes as soon as a page stands. Rows of the
CSV: each turn's milliseconds in `ms`, whether the page had come before the key (`ahead`), and the median of each pace;
`load` is what else ran (the load average before the start).
"""

from __future__ import annotations

import argparse
import os
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from playwright.sync_api import Page, sync_playwright

from fvm_core.provenance import machine
from tests.benchmarks.app_at_scale import ARGUMENTS, CHROMIUM, start

OUT = Path(__file__).parent / "results" / "gallery_speed.csv"
PACES = {"calm": 1000, "hurried": 0}
CLOCK = """(grid, size) => void (window.turned = new Promise((resolve, reject) => {
  const shown = () => grid.querySelector(".card")?.dataset.position;
  const before = shown();
  const late = setTimeout(() => reject(new Error("no new page in 30 s")), 30000);
  window.addEventListener("keydown", ({ timeStamp }) => {
    let ahead = true;
    const look = async () => {
      if (!grid.querySelector(".card")) ahead = false;
      const pictures = [...grid.querySelectorAll("img")];
      const here = shown() !== undefined && shown() !== before && pictures.length === size;
      if (!here || !pictures.every((one) => one.complete && one.naturalWidth > 0)) return requestAnimationFrame(look);
      await Promise.all(pictures.map((one) => one.decode()));
      requestAnimationFrame(() => requestAnimationFrame(() => {
        clearTimeout(late);
        resolve({ ms: performance.now() - timeStamp, ahead });
      }));
    };
    look();
  }, { capture: true, once: true });
}))"""


def open_gallery(page: Page, url: str, size: int) -> None:
    """Open the review with `size` images a page and leave the keys in the grid."""
    page.goto(f"{url}/review")
    page.wait_for_selector('.card, button:has-text("Start the review")')
    begin = page.get_by_role("button", name="Start the review")
    if begin.count():
        begin.click()
        page.wait_for_selector(".card")
    page.get_by_role("button", name="More").click()
    page.get_by_role("combobox", name="Images a page").click()
    page.get_by_role("option", name=str(size), exact=True).click()
    page.keyboard.press("Escape")
    page.locator(".card").nth(size - 1).wait_for()
    page.get_by_role("listbox", name="Images in order of suspicion").focus()
    page.wait_for_timeout(4000)


def turn(page: Page, size: int) -> dict[str, object]:
    """Press Page Down and return the milliseconds, and whether the images had been fetched before."""
    grid = page.get_by_role("listbox", name="Images in order of suspicion")
    grid.evaluate(CLOCK, size)
    page.keyboard.press("PageDown")
    return dict(page.evaluate("window.turned"))


def measure(home: Path, *, size: int, turns: int, shot: Path | None) -> pd.DataFrame:
    """Return one row a turn."""
    process, url = start(home)
    rows = []
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            page = browser.new_page(viewport={"width": 1366, "height": 768})
            page.set_default_timeout(120_000)
            open_gallery(page, url, size)
            for pace, wait in PACES.items():
                for number in range(1, turns + 1):
                    page.wait_for_timeout(wait)
                    rows.append({"pace": pace, "images": size, "turn": str(number)} | turn(page, size))
                page.wait_for_timeout(2000)
            if shot is not None:
                page.screenshot(path=shot)
            browser.close()
    finally:
        process.terminate()
        process.wait(timeout=20)
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--size", type=int, default=60, choices=(24, 36, 48, 60))
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--shot", type=Path, help="keep a screenshot here")
    args = parser.parse_args()
    load = os.getloadavg()[0]
    table = measure(args.home.resolve(), size=args.size, turns=args.turns, shot=args.shot)
    for pace in PACES:
        times = table.loc[(table["pace"] == pace) & (table["turn"] != "median"), "ms"].to_numpy(np.float64)
        middle, late = np.quantile(times, [0.5, 0.9])
        print(f"{pace}: median {middle:.0f} ms, 90 % {late:.0f} ms, most {times.max():.0f} ms")
        table.loc[len(table)] = {
            "pace": pace,
            "images": args.size,
            "turn": "median",
            "ms": float(middle),
            "ahead": None,
        }
    table["machine"] = machine()
    table["load"] = round(load, 1)
    table["versions"] = f"streamlit {version('streamlit')} playwright {version('playwright')}"
    args.out.parent.mkdir(parents=True, exist_ok=True)
    table.round({"ms": 1}).to_csv(args.out, index=False)


if __name__ == "__main__":
    main()
