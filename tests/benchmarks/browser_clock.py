"""A stop watch inside the browser: from a person's key or click to the frame in which the new content stands still."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Error, Page, WebSocket

# What is on the page, in short: texts, ids of cards, curves; and whether all of it is there. Walks into shadow roots.
SCRIPT = """
const hosts = (main) => [...main.querySelectorAll('[data-testid="stBidiComponentIsolated"]')]
  .flatMap((element) => [element, ...element.querySelectorAll('*')]).filter((element) => element.shadowRoot);
// Looking costs a few ms, so it is done only after something changed.
let dirty = true, last = null;
const watch = new MutationObserver(() => { dirty = true; });
const watchAll = { subtree: true, childList: true, attributes: true, characterData: true };
const watched = new WeakSet();
const fvmSee = () => {
  if (!dirty && last?.ready) return last;
  const main = document.querySelector('[data-testid="stMain"]');
  for (const root of [document, ...(main ? hosts(main).map((host) => host.shadowRoot) : [])])
    if (!watched.has(root)) { watched.add(root); watch.observe(root, watchAll); }
  dirty = false;
  return last = fvmLook();
};
window.fvmLook = () => {
  const main = document.querySelector('[data-testid="stMain"]');
  if (!main) return null;
  const parts = [], state = document.querySelector('[data-testid="stApp"]')?.dataset.testScriptState;
  let ready = true;
  const walk = (root) => {
    for (const image of root.querySelectorAll('img')) if (!image.complete) ready = false;
    for (const path of root.querySelectorAll('.js-plotly-plot path.js-line, .js-plotly-plot .hm image'))
      parts.push((path.getAttribute('d') ?? path.getAttribute('xlink:href') ?? '').slice(0, 200));
    for (const chart of root.querySelectorAll('[data-testid="stPlotlyChart"]'))
      if (!chart.querySelector('.main-svg')) ready = false;
    if (root.querySelector('[data-testid="stSkeleton"]')) ready = false;
    for (const element of root === main ? hosts(main) : []) {
      parts.push(element.shadowRoot.textContent);
      for (const card of element.shadowRoot.querySelectorAll('.card')) parts.push(card.dataset.id + card.className);
      walk(element.shadowRoot);
    }
  };
  walk(main);
  for (const card of main.querySelectorAll('.card')) parts.push(card.dataset.id + card.className);
  parts.push(main.textContent);
  // Parts that run alone and are drawn as finished meanwhile (pages/ui/theme.py) are no reason to wait.
  const stale = [...main.querySelectorAll('[data-stale="true"]')].some((e) => !e.closest('[class*="st-key-live"]'));
  return { sign: parts.join('|'), ready: ready && !stale, idle: state === 'notRunning' };
};
window.fvmArm = ({ fromLoad, idle, still, holds, lacks }) => {
  const before = fromLoad ? '' : (fvmLook()?.sign ?? '');
  let start = fromLoad ? 0 : null, seen = null, since = 0, frames = 0;
  const on = (event) => { if (start === null) start = event.timeStamp; };
  for (const kind of ['pointerdown', 'keydown']) window.addEventListener(kind, on, { capture: true, once: true });
  window.fvmDone = new Promise((resolve, reject) => {
    const limit = performance.now() + 60000;
    const frame = () => {
      const now = performance.now();
      if (now > limit) return reject(new Error('nothing new after a minute'));
      const look = start === null ? null : fvmSee();
      const good = look && look.ready && (look.idle || !idle) && look.sign !== before
        && holds.every((words) => look.sign.includes(words)) && !lacks.some((words) => look.sign.includes(words));
      if (!good) { seen = null; frames = 0; }
      else if (look.sign !== seen) { seen = look.sign; since = now; frames = 1; }
      else if (++frames >= still) return resolve(since - start);
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
};
"""


@dataclass
class Clock:
    """Times actions on `page` in ms and counts the bytes that came over its websocket; `processor()` returns the ms of
    processor time that server and browser have taken so far."""

    page: Page
    received: int = 0
    times: dict[str, list[float]] = field(default_factory=dict)
    sizes: dict[str, list[int]] = field(default_factory=dict)
    work: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    processor: Callable[[], tuple[float, float]] = lambda: (0.0, 0.0)

    def __post_init__(self) -> None:
        self.page.add_init_script(SCRIPT)
        self.page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        def count(payload: bytes | str) -> None:
            self.received += len(payload)

        socket.on("framereceived", count)

    def measure(
        self, name: str, action: Callable[[], object], *, holds: tuple[str, ...] = (), lacks: tuple[str, ...] = (),
        idle: bool = True, keep: bool = True,
    ) -> float:  # fmt: skip
        """Do `action` (one key or click) and return the ms until the page shows something else, complete, with `holds`
        and without `lacks` among its words, that stays for eight frames; with `idle`, also not before the script's end.
        """
        self.page.evaluate("fvmArm", self._wanted(False, idle, holds, lacks))
        before, spent = self.received, self.processor()
        action()
        return self._note(name, before, spent, keep)

    def load(self, name: str, url: str, *, holds: tuple[str, ...] = (), lacks: tuple[str, ...] = ()) -> float:
        """Open `url` as in a new tab and return the ms from navigation to the page complete as above."""
        before, spent = self.received, self.processor()
        self.page.goto(url, wait_until="commit")
        self.page.wait_for_function("() => Boolean(window.fvmArm)")
        self.page.evaluate("fvmArm", self._wanted(True, True, holds, lacks))
        return self._note(name, before, spent, True)

    def _wanted(self, load: bool, idle: bool, holds: tuple[str, ...], lacks: tuple[str, ...]) -> dict[str, object]:
        return {"fromLoad": load, "idle": idle, "still": 8, "holds": list(holds), "lacks": list(lacks)}

    def _note(self, name: str, before: int, spent: tuple[float, float], keep: bool) -> float:
        try:
            taken = float(self.page.evaluate("window.fvmDone"))
        except Error as error:
            shot = Path(tempfile.gettempdir()) / "app_at_scale_failed.png"
            self.page.screenshot(path=shot, full_page=True)
            raise SystemExit(f"`{name}` did not come to rest ({error}); see {shot}") from error
        server, browser = (now - then for now, then in zip(self.processor(), spent, strict=True))
        self.page.wait_for_timeout(250)
        if keep:
            self.times.setdefault(name, []).append(taken)
            self.work.setdefault(name, []).append((server, browser))
            self.sizes.setdefault(name, []).append(self.received - before)
        return taken
