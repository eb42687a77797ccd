// The review gallery: one focusable grid of cards, one large view, one key for each decision.

const FIRST_MS = 60000;
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
    this.bindings = new Bindings();
    this.pages = new Pages();
    this.selection = new Selection();
    this.decider = new Decider(this);
    this.overlays = [];
    this.deck = new Deck();
    this.cards = [];
    this.buffer = [];
    this.said = "";
    this.head = new Head(this);
    this.grid = make("div", "grid");
    this.grid.tabIndex = 0;
    this.grid.setAttribute("role", "listbox");
    this.grid.setAttribute("aria-multiselectable", "true");
    this.grid.setAttribute("aria-label", "Images in order of suspicion");
    this.detail = new Detail(
      this.bindings,
      (action, event) => this.pressButton({ action }, event),
      (item, label) => this.pickOne(item, label),
    );
    this.bar = new SelectionBar((action) => {
      this.grid.focus({ preventScroll: true });
      this.press({ action });
    });
    this.legend = new Legend(this.bindings, (key, event) => this.pressButton({ move: key }, event));
    const left = make("div", "left");
    left.append(this.grid, this.bar.element, this.legend.element);
    const body = make("div", "body");
    body.append(left, this.detail.element);
    this.root.append(hatching(), this.head.element, this.head.live, body);
    parent.append(this.root);
    this.input = new Input(this);
    this.stay = () => (this.settled = true);
    for (const name of ["pointerdown", "keydown"]) document.addEventListener(name, this.stay, true);
    this.grid.addEventListener("focus", () => this.root.classList.add("active"));
    this.grid.addEventListener("blur", () => this.root.classList.remove("active"));
  }

  close() {
    this.log?.close();
    this.settled = true;
    for (const name of ["pointerdown", "keydown"]) document.removeEventListener(name, this.stay, true);
    this.root.remove();
  }

  // What the server says.

  update(data, send) {
    this.since ??= performance.now();
    this.data = data;
    if (!this.log || this.log.session !== data.session || this.log.reviewer !== data.reviewer) {
      this.log?.close();
      this.log = new DecisionQueue(data.session, data.reviewer, () => this.pages.view(), () => this.refresh());
    }
    this.log.send = send;
    this.bindings.send = send;
    this.bindings.take(data.bindings);
    if (this.pages.queue !== data.queue) {
      this.pages.drop(data.queue, data.position);
      this.selection.clear();
      this.deck.clear();
      this.buffer = [];
      for (const overlay of [...this.overlays]) if (!(overlay instanceof KeysDialog)) overlay.close();
      this.drawn = null;
      this.detail.shown = null;
    }
    this.pages.take(data);
    this.log.settle(data);
    this.drain();
    this.refresh();
    this.pages.request(this.log);
    this.takeFocus();
  }

  // A page just opened has the keys in the grid, as soon as nothing else has them: the button that led here may go only
  // when the server is done with the page. Whoever clicks or types meanwhile has chosen another place.
  takeFocus() {
    if (this.settled || performance.now() - this.since > FIRST_MS) return;
    const free = document.activeElement === document.body || document.activeElement === null;
    if (free) this.grid.focus({ preventScroll: true });
    this.settled = this.root.getRootNode().activeElement === this.grid;
    if (!this.settled) setTimeout(() => this.takeFocus(), 100);
  }

  get position() {
    return this.pages.position;
  }

  set position(value) {
    this.pages.position = value;
  }

  get page() {
    return this.pages.page;
  }

  get lastPage() {
    return this.pages.last;
  }

  get zoomed() {
    return this.overlays.some((overlay) => overlay instanceof ZoomDialog);
  }

  item(position) {
    return this.pages.item(position);
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

  // Decisions that hold, oldest first: [id, position in this queue or -1, bulk step or ""].
  history() {
    const stack = [...this.data.history].reverse();
    for (const entry of this.log.pending) {
      if (entry.action !== "undo") {
        const position = entry.queue === this.pages.queue ? entry.position : -1;
        stack.push([entry.id, position, isBulk(entry.client) ? entry.client : ""]);
      } else {
        const last = stack.findLastIndex(([id]) => id === entry.id);
        if (last >= 0) stack.splice(last, 1);
      }
    }
    return stack;
  }

  // Commands: { action }, { digit }, { move, extend }.

  // Keys that come before their images wait for them.
  press(command) {
    const missing = this.position < this.data.total && !this.item(this.position);
    if (missing && !["undo", "clear", "help"].includes(command.action)) this.buffer.push(command);
    else this.act(command);
  }

  drain() {
    while (this.buffer.length && (this.position >= this.data.total || this.item(this.position))) this.act(this.buffer.shift());
  }

  act({ action, digit, move, extend }) {
    this.said = "";
    const targets = this.decider.targets();
    if (move) this.move(move, extend);
    else if (action === "undo") {
      this.buffer = [];
      this.decider.undo();
    } else if (action === "clear") this.clear();
    else if (action === "help") this.openHelp();
    else if (!targets.length) this.say(`This is the end of the queue. ← goes back, ${this.bindings.cap("undo")} takes the last step back.`);
    else if (digit) this.decider.pickByDigit(targets, digit);
    else if (action === "pick") this.openPicker(targets);
    else if (action === "zoom") this.openZoom();
    else if (action === "select") this.toggle(this.position);
    else if (action === "explain") this.explain();
    else this.decider[action](targets);
    this.refresh();
  }

  move(key, extend) {
    const columns = getComputedStyle(this.grid).gridTemplateColumns.split(" ").length;
    const target = this.pages.target(key, columns);
    if (target === undefined) return;
    const start = Math.min(this.position, this.data.total - 1);
    this.focus(target);
    if (extend) this.extend(start, target);
  }

  focus(position) {
    this.position = position;
    this.pages.request(this.log);
  }

  // Selecting.

  extend(start, end) {
    this.selection.extend(start, end, (at) => this.item(at));
    this.speak(`${selectedWords(this.selection.size)}.`);
  }

  toggle(position) {
    const item = this.item(position);
    if (!item) return;
    this.selection.toggle(position, item);
    this.speak(`${this.selection.has(position) ? "Selected" : "Unselected"} ${item.id}. ${selectedWords(this.selection.size)}.`);
  }

  clear() {
    this.selection.clear();
    this.speak(`${selectedWords(0)}.`);
  }

  // What is undecided on the page; where that is chosen already, or nothing is undecided, all of it.
  selectPage() {
    const all = this.pages.inView();
    const open = all.filter(([, item]) => !this.state(item.id).action);
    const more = open.some(([position]) => !this.selection.has(position));
    this.selection.add(more ? open : all);
    this.said = "";
    this.speak(`${selectedWords(this.selection.size)}.`);
    this.grid.focus({ preventScroll: true });
    this.refresh();
  }

  point(position, { extend, toggle }) {
    this.grid.focus({ preventScroll: true });
    this.said = "";
    const start = Math.min(this.position, this.data.total - 1);
    this.focus(position);
    if (extend) this.extend(start, position);
    else if (toggle) this.toggle(position);
    else if (this.selection.size) this.clear();
    this.refresh();
  }

  // Dialogs.

  openPicker(targets) {
    const { data } = this;
    const ranked = bySupport(targets[0][1], data.classes.length);
    const pictures = targets.slice(0, 8).map(([, item]) => image(item, BIG_SIDE));
    const title = targets.length > 1 ? `A class for ${targets.length} images` : "A class for this image";
    const onPick = (label) => {
      this.said = "";
      this.recent = [label, ...(this.recent ?? data.recent)].filter((value, at, all) => all.indexOf(value) === at).slice(0, 5);
      this.decider.pick(targets, label);
      this.refresh();
    };
    new Picker(this, { title, pictures, ranked, recent: this.recent ?? data.recent, onPick }).open();
  }

  openZoom() {
    if (!this.zoomed) new ZoomDialog(this).open();
  }

  openHelp() {
    new HelpDialog(this).open();
  }

  openKeys() {
    new KeysDialog(this).open();
  }

  // The panel below the gallery takes it from here; deciding goes on meanwhile.
  explain() {
    const item = this.item(this.position);
    if (!item) return;
    this.log.send("asked", { id: item.id });
    this.say(`Below the gallery: what speaks for and against the label of ${item.id}.`);
    const panel = document.querySelector(".st-key-review_explain");
    if (!panel) return;
    panel.style.scrollMarginTop = "4rem"; // the app's header lies over the page
    panel.scrollIntoView({ block: "start" });
  }

  pickOne(item, label) {
    this.grid.focus({ preventScroll: true });
    this.said = "";
    this.decider.pick([[this.position, item]], label);
    this.refresh();
  }

  // A click by mouse or finger gives the keys back to the grid; Enter on a button leaves the focus on it.
  pressButton(command, event) {
    if (event.detail > 0) this.grid.focus({ preventScroll: true });
    this.press(command);
  }

  // Telling and drawing.

  say(words) {
    this.said = words;
  }

  speak(words) {
    this.head.speak(words);
  }

  refresh() {
    this.drawGrid();
    this.head.show();
    this.legend.show();
    const elsewhere = [...this.selection.items.keys()].filter((at) => Math.floor(at / this.data.pageSize) !== this.page);
    this.bar.show(this.selection.size, elsewhere.length);
    const item = this.item(this.position);
    const ended = this.data.total > 0 && this.position >= this.data.total;
    this.detail.show(item, item && this.state(item.id), this.data, ended, this.selection.size);
    for (const overlay of [...this.overlays]) overlay.refresh();
  }

  drawGrid() {
    const shown = this.pages.inView();
    if (!shown.length) {
      const words = this.data.total ? `Loading page ${this.page + 1} …` : this.data.empty;
      this.grid.replaceChildren(make("div", "empty", words));
      this.drawn = null;
      this.cards = [];
    } else if (this.drawn !== this.page) {
      for (const card of this.cards) card.leave();
      this.cards = this.deck.of(this.page, shown, this.data);
      this.deck.keepAround(this.page);
      this.grid.replaceChildren(...this.cards.map((card) => card.element));
      this.drawn = this.page;
    }
    const next = this.page + 1;
    if (this.pages.pages.has(next)) this.deck.prepare(next, () => this.pages.on(next), this.data);
    const many = this.selection.size > 0;
    for (const card of this.cards) {
      const current = card.position === this.position;
      const selected = this.selection.has(card.position);
      card.show(this.state(card.item.id), { current, selected, meant: many ? selected : current });
    }
    if (this.item(this.position)) this.grid.setAttribute("aria-activedescendant", `card-${this.position}`);
    else this.grid.removeAttribute("aria-activedescendant");
  }
}
