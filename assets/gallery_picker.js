// Picking a class by typing its name: any number of classes, for one image or for all that are selected.

const CHOICES_AT_ONCE = 60;

// Letters without case and accents, so that "ecole" finds "École".
function folded(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().trim();
}

const FOLDED = new WeakMap();

function foldedNames(names) {
  if (!FOLDED.has(names)) FOLDED.set(names, names.map(folded));
  return FOLDED.get(names);
}

class Picker extends Overlay {
  // `ranked` are all labels, the likeliest first, of which `recent` were picked lately; `onPick(label)` closes it.
  constructor(gallery, { title, pictures, ranked, recent, onPick }) {
    super(gallery, "Pick a class by name", "picker");
    Object.assign(this, { ranked, onPick, at: 0, limit: CHOICES_AT_ONCE });
    this.recent = new Set(recent);
    this.names = gallery.data.classes;
    this.input = make("input", "name");
    this.input.placeholder = "Type a class, Enter picks";
    const settings = {
      role: "combobox", "aria-label": "Class name", "aria-expanded": "true", "aria-controls": "picker-list",
      "aria-autocomplete": "list", enterkeyhint: "done", autocapitalize: "off",
    };
    for (const [name, value] of Object.entries(settings)) this.input.setAttribute(name, value);
    this.input.autocomplete = "off";
    this.input.spellcheck = false;
    this.list = make("ul", "choices");
    this.list.id = "picker-list";
    this.list.setAttribute("role", "listbox");
    this.list.setAttribute("aria-label", "Classes");
    this.found = make("p", "found");
    this.found.setAttribute("role", "status");
    const strip = make("div", "strip");
    strip.append(...pictures);
    this.element.append(this.title(title), strip, this.input, this.list, this.found);
    this.input.addEventListener("input", () => {
      this.at = 0;
      this.limit = CHOICES_AT_ONCE;
      this.search();
    });
    // Pressing must not take the focus from the field.
    this.list.addEventListener("mousedown", (event) => event.preventDefault());
    this.list.addEventListener("click", (event) => {
      const choice = event.target.closest("[data-label]");
      if (choice) this.pick(Number(choice.dataset.label));
    });
    this.list.addEventListener("scroll", () => {
      const left = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight;
      if (left < 60 && this.limit < this.labels.length) this.grow();
    });
  }

  open() {
    super.open(this.input);
    this.search();
  }

  pick(label) {
    this.close();
    this.onPick(label);
  }

  // The exact name, then names that begin so, then words that do, then names that hold all that was typed; within each
  // the lately picked ones first, then by support.
  search() {
    const typed = folded(this.input.value);
    const words = typed.split(/\s+/);
    const all = foldedNames(this.names);
    const grade = (name) => {
      if (!typed || name === typed) return 0;
      if (name.startsWith(typed)) return 1;
      if (name.includes(` ${typed}`) || name.includes(`_${typed}`) || name.includes(`-${typed}`)) return 2;
      return words.every((word) => name.includes(word)) ? 3 : 4;
    };
    const order = [...[...this.recent], ...this.ranked.filter((label) => !this.recent.has(label))];
    const groups = [[], [], [], [], []];
    for (const label of order) groups[grade(all[label])].push(label);
    this.labels = groups.slice(0, 4).flat();
    this.list.scrollTop = 0;
    this.draw();
    const many = this.labels.length;
    this.found.textContent = many ? `${many.toLocaleString("en")} of ${this.names.length.toLocaleString("en")} classes` : "No class has this name.";
  }

  // Only so many are drawn; more come when the person gets there.
  grow() {
    const from = this.limit;
    this.limit += CHOICES_AT_ONCE;
    this.list.append(...this.labels.slice(from, this.limit).map((label, at) => this.choice(label, from + at)));
  }

  draw() {
    this.list.replaceChildren(...this.labels.slice(0, this.limit).map((label, at) => this.choice(label, at)));
    this.mark();
  }

  choice(label, at) {
    const choice = make("li", "choice", this.names[label]);
    choice.id = `choice-${at}`;
    choice.dataset.label = label;
    choice.setAttribute("role", "option");
    choice.setAttribute("aria-posinset", String(at + 1));
    choice.setAttribute("aria-setsize", String(this.labels.length));
    if (this.recent.has(label)) choice.append(make("span", "lately", "recent"));
    return choice;
  }

  mark() {
    this.list.querySelector(".current")?.classList.remove("current");
    for (const choice of this.list.querySelectorAll('[aria-selected="true"]')) choice.setAttribute("aria-selected", "false");
    const choice = this.list.children[this.at];
    if (!choice) return this.input.removeAttribute("aria-activedescendant");
    choice.classList.add("current");
    choice.setAttribute("aria-selected", "true");
    choice.scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", choice.id);
  }

  onKey(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 };
    if (event.key === "Enter" && !event.isComposing) {
      if (event.target !== this.input) return false;
      event.preventDefault();
      if (this.labels.length) this.pick(this.labels[this.at]);
    } else if (event.key in steps) {
      event.preventDefault();
      this.at = Math.max(0, Math.min(this.at + steps[event.key], this.labels.length - 1));
      while (this.at >= this.limit) this.grow();
      this.mark();
    } else super.onKey(event);
    return false;
  }
}
