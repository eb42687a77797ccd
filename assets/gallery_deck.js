// The cards of the page in view and of its neighbours. Those of the next page are made, and its images decoded, while
// the browser has nothing else to do: turning to it is then a matter of showing them.

const whenIdle = window.requestIdleCallback?.bind(window) ?? ((work) => setTimeout(work, 60));

class Deck {
  constructor() {
    this.clear();
  }

  clear() {
    this.pages = new Map();
  }

  // The cards of a page, made now if they are not there. `pairs` are its [position, item].
  of(page, pairs, data) {
    if (!this.pages.has(page)) this.pages.set(page, pairs.map(([position, item]) => new Card(item, position, data)));
    return this.pages.get(page);
  }

  // `pairsOf()` is asked only when there is time; the queue may be another one by then.
  prepare(page, pairsOf, data) {
    const { pages } = this;
    if (pages.has(page)) return;
    whenIdle(() => {
      const pairs = pairsOf();
      if (pages !== this.pages || pages.has(page) || !pairs.length) return;
      const cards = this.of(page, pairs, data);
      for (const picture of cards.map((card) => card.element.querySelector("img"))) picture?.decode().catch(() => {});
    });
  }

  keepAround(page) {
    for (const other of this.pages.keys()) if (Math.abs(other - page) > 1) this.pages.delete(other);
  }
}
