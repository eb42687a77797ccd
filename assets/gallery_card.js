// One image in the grid.

const CARD_SIDE = 110;

class Card {
  constructor(item, position, data) {
    this.item = item;
    this.position = position;
    this.names = data.classes;
    this.shown = null;
    this.element = make("div", "card");
    this.element.id = `card-${position}`;
    this.element.dataset.id = item.id;
    this.element.dataset.position = position;
    this.element.setAttribute("role", "option");
    this.element.setAttribute("aria-posinset", String(position + 1));
    this.element.setAttribute("aria-setsize", String(data.total));
    const labels = make("div", "labels");
    const suggested = this.names[item.suggested] ?? "none";
    labels.append(make("span", "given", this.names[item.given]), make("span", "suggested", `→ ${suggested}`));
    labels.title = `given ${this.names[item.given]}, suggested ${suggested}`;
    const foot = make("div", "foot");
    const score = make("span", "score", shortNumber(item.score));
    score.title = `score ${item.score ?? "unknown"}`;
    this.state = make("span", "state");
    foot.append(score, this.state);
    const tick = make("span", "tick", "✓");
    tick.setAttribute("aria-hidden", "true");
    this.element.append(image(item, CARD_SIDE), tick, labels, miniBars(item, this.names, data.suspicious), foot);
  }

  // Off the page: when it is shown again, it is drawn as if for the first time.
  leave() {
    this.shown = null;
    this.current = false;
  }

  // `saving`: not on disk yet. Nothing says `saved` before the server has acknowledged it. `meant`: keys act on it.
  show({ action, label, saving }, { current, selected, meant }) {
    const shown = [action, label, saving, current, selected, meant].join();
    if (this.shown === shown) return;
    if (current && !this.current) this.element.scrollIntoView({ block: "nearest" });
    this.shown = shown;
    this.current = current;
    const { item, names, element } = this;
    const words = saving ? "saving" : action ? "saved" : "";
    const classes = ["card", action && `is-${action}`, saving && "is-saving", selected && "selected", current && "current"];
    element.className = classes.filter(Boolean).join(" ");
    element.dataset.state = words || "undecided";
    element.dataset.action = action;
    element.setAttribute("aria-selected", String(meant));
    const outcome = action === "skip" ? "skipped" : names[label];
    this.state.textContent = action ? `${ACTION_MARKS[action]} ${outcome}` : words;
    this.state.title = action ? `${ACTION_WORDS[action]}, ${words}` : "";
    const parts = [
      `${item.id}: given ${names[item.given]}`,
      item.suggested >= 0 ? `suggested ${names[item.suggested]}` : "no suggestion",
      `score ${item.score ?? "unknown"}`,
      `${ACTION_WORDS[action]}${action && action !== "skip" ? ` as ${outcome}` : ""}`,
      words,
      item.thumb ? "" : item.problem,
    ];
    element.setAttribute("aria-label", parts.filter(Boolean).join(", "));
  }
}
