// One image in the grid.

const CARD_SIDE = 110;

class Card {
  constructor(item, position, data, onPoint) {
    this.item = item;
    this.position = position;
    this.names = data.classes;
    this.shown = null;
    this.element = make("div", "card");
    this.element.id = `card-${position}`;
    this.element.dataset.id = item.id;
    this.element.setAttribute("role", "option");
    const labels = make("div", "labels");
    const suggested = this.names[item.suggested] ?? "none";
    labels.append(make("span", "given", this.names[item.given]), make("span", "suggested", `→ ${suggested}`));
    labels.title = `given ${this.names[item.given]}, suggested ${suggested}`;
    const foot = make("div", "foot");
    const score = make("span", "score", shortNumber(item.score));
    score.title = `score ${item.score ?? "unknown"}`;
    this.state = make("span", "state");
    foot.append(score, this.state);
    this.element.append(image(item, CARD_SIDE), labels, miniBars(item, this.names, data.suspicious), foot);
    this.element.addEventListener("mousedown", (event) => {
      event.preventDefault();
      onPoint(position);
    });
  }

  // `saving`: not on disk yet. Nothing says `saved` before the server has acknowledged it.
  show({ action, label, saving }, current) {
    const shown = `${action} ${label} ${saving} ${current}`;
    if (this.shown === shown) return;
    if (current && !this.shown?.endsWith("true")) this.element.scrollIntoView({ block: "nearest" });
    this.shown = shown;
    const { item, names, element } = this;
    const words = saving ? "saving" : action ? "saved" : "";
    const classes = ["card", action && `is-${action}`, saving && "is-saving", current && "current"];
    element.className = classes.filter(Boolean).join(" ");
    element.dataset.state = words || "undecided";
    element.dataset.action = action;
    element.setAttribute("aria-selected", String(current));
    const outcome = action === "skip" ? "skipped" : names[label];
    this.state.textContent = action ? `${ACTION_MARKS[action]} ${outcome}` : words;
    this.state.title = action ? `${ACTION_WORDS[action]}, ${words}` : "";
    const parts = [
      `${item.id}: given ${names[item.given]}`,
      item.suggested >= 0 ? `suggested ${names[item.suggested]}` : "no suggestion",
      `score ${item.score ?? "unknown"}`,
      `${ACTION_WORDS[action]}${action && action !== "skip" ? ` as ${outcome}` : ""}`,
      words,
    ];
    element.setAttribute("aria-label", parts.filter(Boolean).join(", "));
  }
}
