// The review gallery: one focusable grid of cards, one large view, one key for each decision.

const BIG_SIDE = 240;
const CARD_SIDE = 110;
const GALLERIES = new WeakMap();

export default function render({ data, parentElement, setStateValue }) {
  let gallery = GALLERIES.get(parentElement);
  if (!gallery) {
    gallery = new Gallery(parentElement);
    GALLERIES.set(parentElement, gallery);
  }
  gallery.update(data, setStateValue);
  return () => {
    gallery.close();
    GALLERIES.delete(parentElement);
  };
}

class Gallery {
  constructor(parent) {
    this.root = make("section", "gallery");
    this.root.setAttribute("aria-label", "Review gallery");
    this.head = make("header", "head");
    this.counts = make("div", "counts");
    this.place = make("div", "place");
    this.saving = make("div", "saving");
    this.saving.setAttribute("role", "status");
    this.head.append(this.counts, this.place, this.saving);
    this.notice = make("div", "notice");
    this.notice.setAttribute("role", "alert");
    this.grid = make("div", "grid");
    this.grid.tabIndex = 0;
    this.grid.setAttribute("role", "listbox");
    this.grid.setAttribute("aria-label", "Images in order of suspicion. A accept, K keep, P pick, S skip, U undo.");
    this.detail = make("aside", "detail");
    this.detail.setAttribute("aria-label", "The image in focus");
    this.pickerPlace = make("div", "pickerplace");
    this.content = make("div", "content");
    this.detail.append(this.pickerPlace, this.content);
    this.legend = make("footer", "legend");
    const left = make("div", "left");
    left.append(this.grid, this.legend);
    const body = make("div", "body");
    body.append(left, this.detail);
    this.root.append(hatching(), this.head, this.notice, body);
    parent.append(this.root);

    this.queue = "";
    this.pages = new Map();
    this.cards = new Map();
    this.buffer = [];
    this.picker = null;
    this.said = "";
    this.root.addEventListener("keydown", (event) => this.onKey(event));
    this.root.addEventListener("keyup", (event) => event.stopPropagation());
    this.grid.addEventListener("focus", () => this.root.classList.add("active"));
    this.grid.addEventListener("blur", () => this.root.classList.remove("active"));
    this.drawLegend();
  }

  close() {
    this.log?.close();
    this.root.remove();
  }

  // What the server says.

  update(data, send) {
    const first = !this.data;
    this.data = data;
    if (!this.log || this.log.session !== data.session) {
      this.log?.close();
      this.log = new DecisionQueue(data.session, () => this.view(), () => this.refresh());
    }
    this.log.send = send;
    if (this.queue !== data.queue) {
      this.queue = data.queue;
      this.pages.clear();
      this.cards.clear();
      this.buffer = [];
      this.closePicker();
      this.position = data.position;
      this.drawn = null;
      this.shownDetail = null;
    }
    for (const [page, items] of Object.entries(data.pages)) this.pages.set(Number(page), items);
    this.log.settle(data);
    this.drain();
    this.refresh();
    this.request();
    const free = document.activeElement === document.body || document.activeElement === null;
    if (first && free) this.grid.focus({ preventScroll: true });
  }

  get lastPage() {
    return Math.max(Math.ceil(this.data.total / this.data.pageSize) - 1, 0);
  }

  get page() {
    return Math.min(Math.floor(this.position / this.data.pageSize), this.lastPage);
  }

  item(position) {
    const page = Math.floor(position / this.data.pageSize);
    return this.pages.get(page)?.[position - page * this.data.pageSize];
  }

  view() {
    return { queue: this.queue, page: this.page, have: [...this.pages.keys()] };
  }

  // Ask for the page in view and the one after it, unless they are here or asked for.
  request() {
    for (const page of this.pages.keys()) if (Math.abs(page - this.page) > 4) this.pages.delete(page);
    const wanted = [this.page, Math.min(this.page + 1, this.lastPage)];
    if (!this.data.total || wanted.every((page) => this.pages.has(page))) return;
    const told = this.log.told;
    const asked = told && told.queue === this.queue && told.page === this.page && this.log.inFlight;
    if (!asked) this.log.askForPages();
  }

  // The state of a sample: what is on disk, then what is on its way.
  state(id) {
    const stack = this.data.states[id] ? [this.data.states[id]] : [];
    let saving = false;
    for (const entry of this.log.pending) {
      if (entry.id !== id) continue;
      saving = true;
      if (entry.action === "undo") stack.pop();
      else stack.push([entry.action, entry.label]);
    }
    const [action, label] = stack.at(-1) ?? ["", null];
    return { action, label, saving };
  }

  // Decisions that hold, oldest first: [id, position in this queue or -1].
  history() {
    const stack = [...this.data.history].reverse();
    for (const entry of this.log.pending) {
      if (entry.action !== "undo") stack.push([entry.id, entry.queue === this.queue ? entry.position : -1]);
      else {
        const last = stack.findLastIndex(([id]) => id === entry.id);
        if (last >= 0) stack.splice(last, 1);
      }
    }
    return stack;
  }

  // Keys.

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.key === "Tab") return;
    event.stopPropagation();
    if (this.picker?.contains(event.target)) return this.onPickerKey(event);
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (!/^([akpsu0-9]|Arrow.*|Home|End|PageUp|PageDown)$/.test(key)) return;
    event.preventDefault();
    const moves = key.length > 1;
    if (event.repeat && !moves) return;
    this.press(key);
  }

  press(key) {
    const missing = this.position < this.data.total && !this.item(this.position);
    if (missing && key !== "u") this.buffer.push(key);
    else this.act(key);
  }

  drain() {
    while (this.buffer.length && (this.position >= this.data.total || this.item(this.position)))
      this.act(this.buffer.shift());
  }

  act(key) {
    this.said = "";
    const item = this.item(this.position);
    if (key.length > 1) this.move(key);
    else if (key === "u") this.undo();
    else if (!item) this.said = "This is the end of the queue. ← goes back, U takes the last decision back.";
    else if (key === "a") this.accept(item);
    else if (key === "k") this.decide(item, "keep", item.given);
    else if (key === "s") this.decide(item, "skip", item.given);
    else if (key === "p") this.openPicker(item);
    else this.pickByNumber(item, key);
    this.refresh();
  }

  move(key) {
    const size = this.data.pageSize;
    const columns = getComputedStyle(this.grid).gridTemplateColumns.split(" ").length;
    const start = this.page * size;
    const target = {
      ArrowLeft: this.position - 1, ArrowRight: this.position + 1,
      ArrowUp: this.position - columns, ArrowDown: this.position + columns,
      PageUp: (this.page - 1) * size, PageDown: (this.page + 1) * size,
      Home: start, End: Math.min(start + size, this.data.total) - 1,
    }[key];
    if (target === undefined || (key === "PageDown" && this.page === this.lastPage)) return;
    this.focus(Math.max(0, Math.min(target, this.data.total - 1)));
  }

  focus(position) {
    this.position = position;
    this.closePicker();
    this.request();
  }

  accept(item) {
    if (item.suggested >= 0) this.decide(item, "accept", item.suggested);
    else this.said = "No suggestion for this image: pick a class with a number or with P.";
  }

  pickByNumber(item, digit) {
    const label = this.data.keys ? this.data.keys[digit] : this.ranked(item)[(Number(digit) + 9) % 10];
    if (label !== undefined) this.decide(item, "pick", label);
    else this.said = `There is no class on key ${digit}.`;
  }

  decide(item, action, label) {
    const at = this.position;
    this.position = Math.min(at + 1, this.data.total);
    this.closePicker();
    this.log.add({
      id: item.id, action, label, run: this.data.run, score: item.score, suggested: item.suggested,
      queue: this.queue, position: at,
    });
    this.request();
  }

  undo() {
    const last = this.history().at(-1);
    if (!last) {
      this.said = "Nothing to undo.";
      return;
    }
    const [id, position] = last;
    this.buffer = [];
    this.said = position >= 0 ? `Undone: ${id}` : `Undone: ${id} (not in this queue)`;
    this.log.add({ id, action: "undo", label: null, run: this.data.run, score: null, suggested: null });
    if (position >= 0) this.focus(position);
  }

  // Labels by support, the best first.
  ranked(item) {
    const labels = this.data.classes.map((_, label) => label);
    const length = (label) => item.bars?.lengths[label] ?? 0;
    return labels.sort((a, b) => length(b) - length(a) || a - b);
  }

  // Picking by name.

  openPicker(item) {
    this.closePicker();
    this.picker = make("div", "picker");
    this.picker.setAttribute("role", "dialog");
    this.picker.setAttribute("aria-label", "Pick a class by name");
    const input = make("input", "name");
    input.placeholder = "Type a class, Enter picks";
    input.setAttribute("role", "combobox");
    input.setAttribute("aria-label", "Class name");
    input.setAttribute("aria-expanded", "true");
    input.setAttribute("aria-controls", "picker-list");
    input.autocomplete = "off";
    input.spellcheck = false;
    const list = make("ul", "choices");
    list.id = "picker-list";
    list.setAttribute("role", "listbox");
    this.picker.append(input, list);
    Object.assign(this, { pickerItem: item, pickerInput: input, pickerList: list, pickerAt: 0 });
    input.addEventListener("input", () => {
      this.pickerAt = 0;
      this.drawChoices();
    });
    this.pickerPlace.append(this.picker);
    this.drawChoices();
    input.focus({ preventScroll: true });
  }

  matches() {
    const typed = this.pickerInput.value.trim().toLowerCase();
    const rank = (name) => (name === typed ? 0 : name.startsWith(typed) ? 1 : name.includes(typed) ? 2 : 3);
    const scored = this.ranked(this.pickerItem).map((label) => [rank(this.data.classes[label].toLowerCase()), label]);
    return scored.filter(([grade]) => grade < 3).sort((a, b) => a[0] - b[0]).map(([, label]) => label);
  }

  drawChoices() {
    const labels = this.matches();
    const shown = labels.slice(0, 8);
    this.pickerList.replaceChildren(
      ...shown.map((label, at) => {
        const choice = make("li", at === this.pickerAt ? "choice current" : "choice", this.data.classes[label]);
        choice.id = `choice-${at}`;
        choice.setAttribute("role", "option");
        choice.setAttribute("aria-selected", String(at === this.pickerAt));
        choice.addEventListener("mousedown", (event) => {
          event.preventDefault();
          this.pick(label);
        });
        return choice;
      }),
    );
    if (!shown.length) this.pickerList.append(make("li", "choice none", "No class has this name."));
    if (labels.length > shown.length)
      this.pickerList.append(make("li", "choice none", `${labels.length - shown.length} more: go on typing`));
    this.pickerInput.setAttribute("aria-activedescendant", shown.length ? `choice-${this.pickerAt}` : "");
  }

  onPickerKey(event) {
    const labels = this.matches().slice(0, 8);
    if (event.key === "Escape") this.leavePicker();
    else if (event.key === "Enter" && labels.length) this.pick(labels[this.pickerAt]);
    else if (event.key === "ArrowDown") this.pickerAt = Math.min(this.pickerAt + 1, labels.length - 1);
    else if (event.key === "ArrowUp") this.pickerAt = Math.max(this.pickerAt - 1, 0);
    else return;
    event.preventDefault();
    if (this.picker) this.drawChoices();
  }

  pick(label) {
    const item = this.pickerItem;
    this.leavePicker();
    this.decide(item, "pick", label);
    this.refresh();
  }

  leavePicker() {
    this.closePicker();
    this.grid.focus({ preventScroll: true });
  }

  closePicker() {
    this.picker?.remove();
    this.picker = null;
  }

  // Drawing.

  refresh() {
    this.drawGrid();
    this.drawHead();
    this.drawDetail();
  }

  drawGrid() {
    const items = this.pages.get(this.page);
    if (!this.data.total) {
      this.grid.replaceChildren(make("div", "empty", this.data.empty));
      return;
    }
    if (!items) {
      this.grid.replaceChildren(make("div", "empty", `Loading page ${this.page + 1} …`));
      this.drawn = null;
      return;
    }
    if (this.drawn !== this.page) {
      this.cards = new Map(items.map((item, at) => [item.id, this.card(item, this.page * this.data.pageSize + at)]));
      this.grid.replaceChildren(...[...this.cards.values()].map((card) => card.element));
      this.drawn = this.page;
    }
    for (const item of items) this.drawState(item);
    const current = this.item(this.position);
    if (current) this.grid.setAttribute("aria-activedescendant", this.cards.get(current.id).element.id);
    else this.grid.removeAttribute("aria-activedescendant");
  }

  card(item, position) {
    const names = this.data.classes;
    const element = make("div", "card");
    element.id = `card-${position}`;
    element.dataset.id = item.id;
    element.setAttribute("role", "option");
    const labels = make("div", "labels");
    labels.append(make("span", "given", names[item.given]));
    if (item.suggested >= 0) labels.append(make("span", "arrow", "→"), make("span", "suggested", names[item.suggested]));
    labels.title = `${names[item.given]} → ${names[item.suggested] ?? "no suggestion"}`;
    const foot = make("div", "foot");
    const state = make("span", "state");
    const score = make("span", "score", shortNumber(item.score));
    score.title = `score ${item.score ?? "unknown"}`;
    foot.append(score, state);
    element.append(image(item, CARD_SIDE), labels, miniBars(item, names, this.data.suspicious), foot);
    element.addEventListener("mousedown", (event) => {
      event.preventDefault();
      this.grid.focus({ preventScroll: true });
      this.focus(position);
      this.said = "";
      this.refresh();
    });
    return { element, state, position, shown: null };
  }

  drawState(item) {
    const card = this.cards.get(item.id);
    const { action, label, saving } = this.state(item.id);
    const current = card.position === this.position;
    const shown = `${action} ${label} ${saving} ${current}`;
    if (card.shown === shown) return;
    if (current && !card.shown?.endsWith("true")) card.element.scrollIntoView({ block: "nearest" });
    card.shown = shown;
    const name = this.data.classes[label];
    const words = saving ? "saving" : action ? "saved" : "";
    card.element.className = `card ${action ? `is-${action}` : ""} ${saving ? "is-saving" : ""} ${current ? "current" : ""}`;
    card.element.dataset.state = saving ? "saving" : action ? "saved" : "undecided";
    card.element.dataset.action = action;
    card.element.setAttribute("aria-selected", String(current));
    card.state.textContent = action ? `${ACTION_MARKS[action]} ${action === "skip" ? "skipped" : name}` : saving ? "saving" : "";
    card.state.title = action ? `${ACTION_WORDS[action]}, ${words}` : "";
    const suggestion = item.suggested >= 0 ? `suggested ${this.data.classes[item.suggested]}` : "no suggestion";
    card.element.setAttribute(
      "aria-label",
      `${item.id}: given ${this.data.classes[item.given]}, ${suggestion}, score ${item.score ?? "unknown"}, ` +
        `${ACTION_WORDS[action]}${action ? ` as ${name}` : ""}${words ? `, ${words}` : ""}`,
    );
  }

  drawHead() {
    const { counts, total } = this.data;
    const rate = counts.rate === null ? "–" : `${Math.round(100 * counts.rate)} %`;
    const figures = [
      [counts.decided.toLocaleString("en"), "decided"], [counts.left.toLocaleString("en"), "left"],
      [rate, "suggestions accepted"], [counts.changed.toLocaleString("en"), "labels changed"],
    ];
    const drawn = figures.join();
    if (this.figures !== drawn) {
      this.figures = drawn;
      this.counts.replaceChildren(
        ...figures.map(([figure, word]) => {
          const box = make("div", "figure");
          box.append(make("b", "", figure), make("span", "", word));
          return box;
        }),
      );
    }
    const at = Math.min(this.position + 1, total);
    this.place.textContent = total ? `Page ${this.page + 1} of ${this.lastPage + 1} · image ${at} of ${total.toLocaleString("en")}` : "";
    const waiting = this.log.pending.length;
    const stuck = Boolean(this.data.problem);
    this.saving.className = `saving ${stuck ? "stuck" : waiting ? "busy" : "idle"}`;
    this.saving.textContent = stuck ? `${waiting} not saved` : waiting ? `Saving ${waiting} …` : "All saved";
    const refused = Object.values(this.data.refused ?? {});
    const words = this.data.problem || (refused.length ? `Refused: ${refused[0]}` : this.said);
    if (this.notice.textContent !== words) this.notice.textContent = words;
    this.notice.className = `notice ${stuck || refused.length ? "bad" : ""}`;
    this.notice.hidden = !words;
  }

  drawDetail() {
    const item = this.item(this.position);
    const state = item ? this.state(item.id) : null;
    const shown = item ? `${this.queue} ${item.id} ${Object.values(state)}` : `none ${this.position >= this.data.total}`;
    if (this.shownDetail === shown) return;
    this.shownDetail = shown;
    const parts = item ? this.detailParts(item, state) : [make("div", "empty", this.data.total ? "End of the queue." : "")];
    this.content.replaceChildren(...parts);
  }

  detailParts(item, state) {
    const names = this.data.classes;
    const frame = make("div", "frame");
    frame.append(image(item, BIG_SIDE));
    const title = make("div", "title", item.id);
    title.title = item.id;
    const facts = make("dl", "facts");
    const fact = (word, value, kind) => facts.append(make("dt", "", word), make("dd", kind, value));
    fact("Given", names[item.given], "given");
    fact("Suggested", names[item.suggested] ?? "none", "suggested");
    fact("Score", shortNumber(item.score), "");
    facts.lastChild.title = String(item.score);
    const decided = state.action ? `${ACTION_WORDS[state.action]}${state.action === "skip" ? "" : `: ${names[state.label]}`}` : "undecided";
    fact("State", `${decided}${state.saving ? " (saving)" : state.action ? " (saved)" : ""}`, "");
    const top = make("div", "top");
    const words = make("div", "words");
    words.append(title, facts);
    top.append(frame, words);
    return [top, this.buttons(item), this.barList(item), make("p", "caption", this.data.caption)];
  }

  buttons(item) {
    const row = make("div", "buttons");
    const all = [["a", "Accept"], ["k", "Keep"], ["p", "Pick"], ["s", "Skip"], ["u", "Undo"]];
    for (const [key, word] of all) {
      const button = make("button", `action do-${word.toLowerCase()}`);
      button.type = "button";
      button.append(keycap(key.toUpperCase()), make("span", "", word));
      button.disabled = key === "a" && item.suggested < 0;
      button.addEventListener("click", () => {
        if (key !== "p") this.grid.focus({ preventScroll: true });
        this.press(key);
      });
      row.append(button);
    }
    return row;
  }

  barList(item) {
    const names = this.data.classes;
    const labels = this.data.keys ? names.map((_, label) => label) : this.ranked(item);
    const keyOf = this.data.keys
      ? Object.fromEntries(Object.entries(this.data.keys).map(([key, label]) => [label, key]))
      : Object.fromEntries(labels.slice(0, 10).map((label, rank) => [label, String((rank + 1) % 10)]));
    const list = make("div", "bars");
    list.setAttribute("role", "group");
    list.setAttribute("aria-label", "Support for each class");
    list.style.setProperty("--names", `${Math.min(Math.max(...names.map((name) => name.length)), 11) + 0.5}ch`);
    for (const label of labels) {
      const row = make("button", `bar ${barKind(item, label)}`);
      row.type = "button";
      row.tabIndex = -1;
      const bound = item.bars && !item.bars.exact[label];
      const exact = valueWords(item, label, this.data.suspicious, true);
      row.title = `${names[label]}: ${exact}${bound ? " (a bound, proved not to win)" : ""}`;
      row.setAttribute("aria-label", `${row.title}. Pick ${names[label]}`);
      const track = make("span", "track");
      const fill = make("span", bound ? "fill bound" : "fill");
      fill.style.width = `${100 * (item.bars?.lengths[label] ?? 0)}%`;
      track.append(fill);
      row.append(
        keycap(keyOf[label] ?? ""), make("span", "class", names[label]), track,
        make("span", "value", item.bars ? valueWords(item, label, this.data.suspicious, false) : ""),
      );
      row.addEventListener("click", () => {
        this.grid.focus({ preventScroll: true });
        this.decide(item, "pick", label);
        this.refresh();
      });
      list.append(row);
    }
    return list;
  }

  drawLegend() {
    const keys = [
      ["A", "accept"], ["K", "keep"], ["1–0", "class"], ["P", "type a class"], ["S", "skip"], ["U", "undo"],
      ["← ↑ ↓ →", "move"], ["PgUp PgDn", "page"],
    ];
    for (const [key, word] of keys) {
      const pair = make("span", "pair");
      pair.append(keycap(key), make("span", "", word));
      this.legend.append(pair);
    }
    for (const [key, word] of [["PageUp", "‹ Previous page"], ["PageDown", "Next page ›"]]) {
      const button = make("button", "turn", word);
      button.type = "button";
      button.addEventListener("click", () => {
        this.grid.focus({ preventScroll: true });
        this.press(key);
      });
      this.legend.append(button);
    }
  }
}
