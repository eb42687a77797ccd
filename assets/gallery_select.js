// Which images the next decision is for: none chosen means the one in focus.

const MOST_SELECTED = 500; // fvm_core/review/steps.py: MOST_AT_ONCE

class Selection {
  constructor() {
    this.clear();
  }

  // position -> item, so that images stay chosen when their page is left.
  clear() {
    this.items = new Map();
    this.anchor = null;
  }

  get size() {
    return this.items.size;
  }

  has(position) {
    return this.items.has(position);
  }

  // From here a range begins; what was chosen before it stays.
  startAt(position) {
    this.anchor = position;
    this.before = new Map(this.items);
  }

  toggle(position, item) {
    if (!this.items.delete(position) && this.size < MOST_SELECTED) this.items.set(position, item);
    this.startAt(position);
  }

  // Everything between the anchor and `end`, in place of the last range. `itemAt` knows the images that are here.
  extend(start, end, itemAt) {
    if (this.anchor === null) this.startAt(start);
    this.items = new Map(this.before);
    const step = end < this.anchor ? -1 : 1;
    for (let at = this.anchor; at !== end + step && this.size < MOST_SELECTED; at += step) {
      const item = itemAt(at);
      if (item) this.items.set(at, item);
    }
  }

  add(pairs) {
    for (const [position, item] of pairs) if (this.size < MOST_SELECTED) this.items.set(position, item);
  }

  drop(position) {
    this.items.delete(position);
    if (!this.size) this.clear();
  }

  // [position, item], in the order of the queue.
  ordered() {
    return [...this.items].sort((a, b) => a[0] - b[0]);
  }
}

// What is chosen and what can be done with it; it floats over the foot of the grid, so nothing moves when it comes.
class SelectionBar {
  constructor(onDo) {
    this.element = make("div", "selection");
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", "Selected images");
    this.words = make("span", "chosen");
    this.element.append(this.words);
    for (const [action, word] of [["accept", "Accept"], ["keep", "Keep"], ["pick", "Pick a class"], ["skip", "Skip"], ["clear", "Clear"]]) {
      const button = make("button", "bulk", word);
      button.type = "button";
      button.dataset.action = action;
      button.addEventListener("click", () => onDo(action));
      this.element.append(button);
    }
    this.element.hidden = true;
  }

  show(size, elsewhere) {
    this.element.hidden = !size;
    const words = selectedWords(size) + (elsewhere ? `, ${elsewhere} on other pages` : "");
    if (this.words.textContent !== words) this.words.textContent = words;
  }
}

function selectedWords(size) {
  if (!size) return "Nothing selected";
  return `${size} selected${size === MOST_SELECTED ? " (the most at once)" : ""}`;
}
