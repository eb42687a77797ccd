// The review gallery: one focusable grid of cards, one large view, one key for each decision.

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
    this.grid.setAttribute("aria-label", "Images in order of suspicion. A accept, K keep, P pick, S skip, E explain, U undo.");
    this.detail = new Detail(
      (key) => this.pressButton(key),
      (item, label) => this.pick(item, label),
    );
    this.legend = make("footer", "legend");
    const left = make("div", "left");
    left.append(this.grid, this.legend);
    const body = make("div", "body");
    body.append(left, this.detail.element);
    this.root.append(hatching(), this.head, this.notice, body);
    parent.append(this.root);

    this.queue = "";
    this.pages = new Map();
    this.cards = [];
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
    if (!this.log || this.log.session !== data.session || this.log.reviewer !== data.reviewer) {
      this.log?.close();
      this.log = new DecisionQueue(data.session, data.reviewer, () => this.view(), () => this.refresh());
    }
    this.log.send = send;
    if (this.queue !== data.queue) {
      this.queue = data.queue;
      this.pages.clear();
      this.cards = [];
      this.buffer = [];
      this.closePicker();
      this.position = data.position;
      this.drawn = null;
      this.detail.shown = null;
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
    if (this.picker?.element.contains(event.target)) return this.picker.onKey(event);
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (!/^([aekpsu0-9]|Arrow.*|Home|End|PageUp|PageDown)$/.test(key)) return;
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
    else if (key === "e") this.explain(item);
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
    const label = this.data.keys ? this.data.keys[digit] : bySupport(item, this.data.classes.length)[(Number(digit) + 9) % 10];
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

  // The panel below the gallery takes it from here; deciding goes on meanwhile.
  explain(item) {
    this.log.send("asked", { id: item.id });
    this.said = `What speaks for and against the label of ${item.id}: see below the gallery.`;
    document.querySelector(".st-key-review_explain")?.scrollIntoView({ block: "start" });
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

  openPicker(item) {
    this.closePicker();
    this.picker = new Picker(
      this.detail.pickerPlace, this.data.classes, bySupport(item, this.data.classes.length),
      (label) => this.pick(item, label),
      () => {
        this.closePicker();
        this.grid.focus({ preventScroll: true });
      },
    );
  }

  closePicker() {
    this.picker?.close();
    this.picker = null;
  }

  pick(item, label) {
    this.closePicker();
    this.grid.focus({ preventScroll: true });
    this.said = "";
    this.decide(item, "pick", label);
    this.refresh();
  }

  pressButton(key) {
    this.grid.focus({ preventScroll: true });
    this.press(key);
  }

  point(position) {
    this.grid.focus({ preventScroll: true });
    this.said = "";
    this.focus(position);
    this.refresh();
  }

  // Drawing.

  refresh() {
    this.drawGrid();
    this.drawHead();
    const item = this.item(this.position);
    const ended = this.data.total > 0 && this.position >= this.data.total;
    this.detail.show(item, item && this.state(item.id), this.data, ended);
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
      const start = this.page * this.data.pageSize;
      const point = (position) => this.point(position);
      this.cards = items.map((item, at) => new Card(item, start + at, this.data, point));
      this.grid.replaceChildren(...this.cards.map((card) => card.element));
      this.drawn = this.page;
    }
    for (const card of this.cards) card.show(this.state(card.item.id), card.position === this.position);
    if (this.item(this.position)) this.grid.setAttribute("aria-activedescendant", `card-${this.position}`);
    else this.grid.removeAttribute("aria-activedescendant");
  }

  drawHead() {
    const { counts, total } = this.data;
    const rate = counts.rate === null ? "–" : `${Math.round(100 * counts.rate)} %`;
    const figures = [
      [counts.decided.toLocaleString("en"), "decided", "Decisions on disk in this session"],
      [counts.left.toLocaleString("en"), "left", "Undecided images in this queue"],
      [rate, "accepted", "Suggestions accepted among the images judged"],
      [counts.changed.toLocaleString("en"), "changed", "Labels that differ from the given ones"],
    ];
    const drawn = figures.join();
    if (this.figures !== drawn) {
      this.figures = drawn;
      this.counts.replaceChildren(
        ...figures.map(([figure, word, explains]) => {
          const box = make("div", "figure");
          box.title = explains;
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

  drawLegend() {
    const keys = [
      ["A", "accept"], ["K", "keep"], ["1–0", "class"], ["P", "type a class"], ["S", "skip"], ["E", "explain"], ["U", "undo"],
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
      button.addEventListener("click", () => this.pressButton(key));
      this.legend.append(button);
    }
  }
}
