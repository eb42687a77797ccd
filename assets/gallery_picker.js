// Picking a class by typing its name: any number of classes.

const MOST_CHOICES = 8;

class Picker {
  // `ranked` are the labels by support, the best first; `onPick(label)` and `onLeave()` close it.
  constructor(place, names, ranked, onPick, onLeave) {
    Object.assign(this, { names, ranked, onPick, onLeave, at: 0 });
    this.element = make("div", "picker");
    this.element.setAttribute("role", "dialog");
    this.element.setAttribute("aria-label", "Pick a class by name");
    this.input = make("input", "name");
    this.input.placeholder = "Type a class, Enter picks";
    const settings = { role: "combobox", "aria-label": "Class name", "aria-expanded": "true", "aria-controls": "picker-list" };
    for (const [name, value] of Object.entries(settings)) this.input.setAttribute(name, value);
    this.input.autocomplete = "off";
    this.input.spellcheck = false;
    this.list = make("ul", "choices");
    this.list.id = "picker-list";
    this.list.setAttribute("role", "listbox");
    this.element.append(this.input, this.list);
    this.input.addEventListener("input", () => {
      this.at = 0;
      this.draw();
    });
    place.append(this.element);
    this.draw();
    this.input.focus({ preventScroll: true });
  }

  close() {
    this.element.remove();
  }

  // Exact names first, then those that begin so, then those that hold the letters; by support within each.
  matches() {
    const typed = this.input.value.trim().toLowerCase();
    const grade = (name) => (name === typed ? 0 : name.startsWith(typed) ? 1 : name.includes(typed) ? 2 : 3);
    const graded = this.ranked.map((label) => [grade(this.names[label].toLowerCase()), label]);
    const found = graded.filter(([value]) => value < 3).sort((a, b) => a[0] - b[0]);
    return found.map(([, label]) => label);
  }

  draw() {
    const labels = this.matches();
    const shown = labels.slice(0, MOST_CHOICES);
    const choices = shown.map((label, at) => {
      const choice = make("li", at === this.at ? "choice current" : "choice", this.names[label]);
      choice.id = `choice-${at}`;
      choice.setAttribute("role", "option");
      choice.setAttribute("aria-selected", String(at === this.at));
      choice.addEventListener("mousedown", (event) => {
        event.preventDefault();
        this.onPick(label);
      });
      return choice;
    });
    if (!shown.length) choices.push(make("li", "choice none", "No class has this name."));
    if (labels.length > shown.length)
      choices.push(make("li", "choice none", `${labels.length - shown.length} more: go on typing`));
    this.list.replaceChildren(...choices);
    this.input.setAttribute("aria-activedescendant", shown.length ? `choice-${this.at}` : "");
  }

  onKey(event) {
    const labels = this.matches().slice(0, MOST_CHOICES);
    if (!["Escape", "Enter", "ArrowDown", "ArrowUp"].includes(event.key)) return;
    event.preventDefault();
    if (event.key === "Escape") this.onLeave();
    else if (event.key === "Enter") labels.length && this.onPick(labels[this.at]);
    else {
      this.at = Math.max(0, Math.min(this.at + (event.key === "ArrowDown" ? 1 : -1), labels.length - 1));
      this.draw();
    }
  }
}
