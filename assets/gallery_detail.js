// The image in focus: large, with its facts, a button for each key and the bars of all classes.

const BIG_SIDE = 240;
const BUTTONS = [["a", "Accept"], ["k", "Keep"], ["p", "Pick"], ["s", "Skip"], ["u", "Undo"], ["e", "Explain"]];

// Labels by support, the best first.
function bySupport(item, count) {
  const length = (label) => item.bars?.lengths[label] ?? 0;
  return Array.from({ length: count }, (_, label) => label).sort((a, b) => length(b) - length(a) || a - b);
}

class Detail {
  // `onPress(key)` for a button, `onPick(item, label)` for a bar.
  constructor(onPress, onPick) {
    Object.assign(this, { onPress, onPick, shown: null });
    this.element = make("aside", "detail");
    this.element.setAttribute("aria-label", "The image in focus");
    this.pickerPlace = make("div", "pickerplace");
    this.content = make("div", "content");
    this.element.append(this.pickerPlace, this.content);
  }

  show(item, state, data, ended) {
    const shown = item ? `${data.queue} ${item.id} ${Object.values(state)}` : `none ${ended}`;
    if (this.shown === shown) return;
    this.shown = shown;
    if (!item) {
      this.content.replaceChildren(make("div", "empty", ended ? "End of the queue." : ""));
      return;
    }
    const top = make("div", "top");
    const frame = make("div", "frame");
    frame.append(image(item, BIG_SIDE));
    top.append(frame, this.facts(item, state, data.classes));
    this.content.replaceChildren(top, this.buttons(item), this.bars(item, data), make("p", "caption", data.caption));
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

  buttons(item) {
    const row = make("div", "buttons");
    for (const [key, word] of BUTTONS) {
      const button = make("button", `action do-${word.toLowerCase()}`);
      button.type = "button";
      button.append(keycap(key.toUpperCase()), make("span", "", word));
      button.disabled = key === "a" && item.suggested < 0;
      button.addEventListener("click", () => this.onPress(key));
      row.append(button);
    }
    return row;
  }

  bars(item, data) {
    const names = data.classes;
    const labels = data.keys ? names.map((_, label) => label) : bySupport(item, names.length);
    const keyed = data.keys ? Object.entries(data.keys) : labels.slice(0, 10).map((label, at) => [(at + 1) % 10, label]);
    const keyOf = new Map(keyed.map(([key, label]) => [label, String(key)]));
    const list = make("div", "bars");
    list.setAttribute("role", "group");
    list.setAttribute("aria-label", "Support for each class");
    list.style.setProperty("--names", `${Math.min(Math.max(...names.map((name) => name.length)), 11) + 0.5}ch`);
    list.append(...labels.map((label) => this.bar(item, label, data, keyOf.get(label) ?? "")));
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
