// The image in focus: large, with its facts, a button for each key and the bars of all classes.

const BIG_SIDE = 240;
const MOST_BARS = 30;
const BUTTONS = [
  ["accept", "Accept"], ["keep", "Keep"], ["pick", "Pick"], ["skip", "Skip"], ["undo", "Undo"], ["zoom", "Zoom"], ["explain", "Explain"],
];
const FOR_MANY = ["accept", "keep", "pick", "skip"];

// Labels by support, the best first.
function bySupport(item, count) {
  const length = (label) => item.bars?.lengths[label] ?? 0;
  return Array.from({ length: count }, (_, label) => label).sort((a, b) => length(b) - length(a) || a - b);
}

class Detail {
  // `onDo(action, event)` for a button, `onPick(item, label)` for a bar. The buttons stay the same elements, so that
  // the focus can stay on one of them.
  constructor(bindings, onDo, onPick) {
    Object.assign(this, { bindings, onPick, shown: null });
    this.element = make("aside", "detail");
    this.element.setAttribute("aria-label", "The image in focus");
    this.top = make("div", "top");
    this.rest = make("div", "rest");
    this.row = make("div", "buttons");
    this.buttons = BUTTONS.map(([action]) => {
      const button = make("button", `action do-${action}`);
      button.type = "button";
      button.addEventListener("click", (event) => onDo(action, event));
      this.row.append(button);
      return button;
    });
    this.element.append(this.top, this.row, this.rest);
  }

  // `many`: how many images are selected.
  show(item, state, data, ended, many) {
    this.showButtons(item, many);
    const shown = item ? `${data.queue} ${item.id} ${Object.values(state)}` : `none ${ended}`;
    if (this.shown === shown) return;
    this.shown = shown;
    this.row.hidden = !item && !ended;
    if (!item) {
      this.top.replaceChildren(make("div", "empty", ended ? "End of the queue." : ""));
      this.rest.replaceChildren();
      return;
    }
    const frame = make("div", "frame");
    frame.append(image(item, BIG_SIDE));
    this.top.replaceChildren(frame, this.facts(item, state, data.classes));
    this.rest.replaceChildren(this.bars(item, data), make("p", "caption", data.caption));
  }

  showButtons(item, many) {
    const caps = BUTTONS.map(([action]) => this.bindings.cap(action));
    const shown = `${caps} ${many} ${Boolean(item)} ${item?.suggested >= 0}`;
    if (this.drawn === shown) return;
    this.drawn = shown;
    BUTTONS.forEach(([action, word], at) => {
      const button = this.buttons[at];
      const words = many && FOR_MANY.includes(action) ? `${word} ${many}` : word;
      button.replaceChildren(keycap(caps[at]), make("span", "", words));
      const idle = action !== "undo" && !item && !(many && FOR_MANY.includes(action));
      // Not `disabled`: that would take the focus away from a person who sits on it.
      button.setAttribute("aria-disabled", String(idle || (action === "accept" && !many && item.suggested < 0)));
    });
  }

  facts(item, state, names) {
    const words = make("div", "words");
    const title = make("div", "title", item.id);
    title.title = item.id;
    const list = make("dl", "facts");
    const fact = (word, value, kind) => list.append(make("dt", "", word), make("dd", kind, value));
    fact("Given", names[item.given], "given");
    fact("Suggested", names[item.suggested] ?? "none", "suggested");
    fact("Score", shortNumber(item.score), "");
    list.lastChild.title = String(item.score);
    const outcome = state.action && state.action !== "skip" ? `: ${names[state.label]}` : "";
    const saved = state.saving ? " (saving)" : state.action ? " (saved)" : "";
    fact("State", `${ACTION_WORDS[state.action]}${outcome}${saved}`, "");
    words.append(title, list);
    return words;
  }

  bars(item, data) {
    const names = data.classes;
    const labels = data.keys ? names.map((_, label) => label) : bySupport(item, names.length);
    const keyed = data.keys ? Object.entries(data.keys) : labels.slice(0, 10).map((label, at) => [(at + 1) % 10, label]);
    const keyOf = new Map(keyed.map(([key, label]) => [label, String(key)]));
    const drawn = data.keys ? labels : labels.filter((label, at) => at < MOST_BARS || barKind(item, label) !== "other");
    const list = make("div", "bars");
    list.setAttribute("role", "group");
    list.setAttribute("aria-label", "Support for each class");
    list.style.setProperty("--names", `${Math.min(Math.max(...names.map((name) => name.length)), 11) + 0.5}ch`);
    list.append(...drawn.map((label) => this.bar(item, label, data, keyOf.get(label) ?? "")));
    const left = labels.length - drawn.length;
    if (left) list.append(make("p", "caption", `${left.toLocaleString("en")} more classes: ${this.bindings.cap("pick")} finds them.`));
    return list;
  }

  bar(item, label, { classes, suspicious }, key) {
    const row = make("button", `bar ${barKind(item, label)}`);
    row.type = "button";
    row.tabIndex = -1;
    const bound = item.bars && !item.bars.exact[label];
    const note = bound ? " (a bound, proved not to win)" : "";
    row.title = `${classes[label]}: ${valueWords(item, label, suspicious, true)}${note}`;
    row.setAttribute("aria-label", `${row.title}. Pick ${classes[label]}`);
    const track = make("span", "track");
    const fill = make("span", bound ? "fill bound" : "fill");
    fill.style.width = `${100 * (item.bars?.lengths[label] ?? 0)}%`;
    track.append(fill);
    const value = item.bars ? valueWords(item, label, suspicious, false) : "";
    row.append(keycap(key), make("span", "class", classes[label]), track, make("span", "value", value));
    row.addEventListener("click", () => this.onPick(item, label));
    return row;
  }
}
