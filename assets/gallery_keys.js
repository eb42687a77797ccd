// Which key does what, as each person likes it: kept on the server under the reviewer's name.

const ACTIONS = {
  accept: "Accept the suggested class", keep: "Keep the given label", pick: "Pick a class by typing its name",
  skip: "Skip", undo: "Undo the last step", explain: "Explain: what speaks for and against it",
  zoom: "Look closely", select: "Select or unselect", help: "Show the keys",
};

function keyWord(key) {
  return key === " " ? "Space" : key.toUpperCase();
}

// The key of an event as it is bound: letters without their case, all else by its name.
function pressedKey(event) {
  const lower = event.key.toLowerCase();
  return event.key.length === 1 && lower.length === 1 ? lower : event.key;
}

class Bindings {
  constructor() {
    Object.assign(this, { keys: {}, defaults: {}, problem: "", waiting: null, reviewer: "" });
    this.send = () => {};
  }

  // The server's word holds, unless it has not yet answered a change made here.
  take(told) {
    this.problem = told.problem;
    this.defaults = told.defaults;
    const other = this.reviewer !== told.reviewer;
    this.reviewer = told.reviewer;
    if (this.waiting && this.waiting !== told.edit && !other) return;
    this.waiting = null;
    this.keys = told.keys;
  }

  actionOf(key) {
    return Object.keys(this.keys).find((action) => this.keys[action] === key);
  }

  cap(action) {
    return keyWord(this.keys[action] ?? "");
  }

  // What is wrong with `key` for `action`, "" where nothing is.
  conflict(action, key) {
    if (key.length !== 1 || key.trim() !== key && key !== " ") return `${key} cannot be bound. Press a letter, a sign or Space.`;
    if (/\p{Nd}|\p{No}/u.test(key)) return `${key} is a digit: digits pick classes. Press another key.`;
    const owner = this.actionOf(key);
    if (!owner || owner === action) return "";
    return `${keyWord(key)} is taken: ${ACTIONS[owner]}. Press another key, or give that one another first.`;
  }

  set(changes) {
    this.keys = { ...this.keys, ...changes };
    this.waiting = randomId();
    this.send("keys", { reviewer: this.reviewer, edit: this.waiting, keys: this.keys });
  }
}

class KeysDialog extends Overlay {
  constructor(gallery) {
    super(gallery, "Keys", "keysdialog");
    this.bindings = gallery.bindings;
    this.asking = null;
    this.buttons = new Map();
    const rows = make("div", "keyrows");
    for (const [action, words] of Object.entries(ACTIONS)) {
      const button = make("button", "rebind");
      button.type = "button";
      button.addEventListener("click", () => this.ask(action));
      this.buttons.set(action, button);
      rows.append(make("span", "does", words), button);
    }
    this.words = make("p", "keywords");
    this.words.setAttribute("role", "status");
    const reset = make("button", "reset", "Reset all keys");
    reset.type = "button";
    reset.addEventListener("click", () => {
      this.asking = null;
      this.bindings.set(this.bindings.defaults);
      this.say("All keys are as they were at first.");
    });
    const whose = make("p", "caption", `Kept for ${this.bindings.reviewer}. Digits, arrows, Page Up and Down, Home, End and Escape stay.`);
    this.element.append(this.title("Keys"), rows, this.words, reset, whose);
  }

  open() {
    this.refresh();
    super.open(this.buttons.get("accept"));
  }

  ask(action) {
    this.asking = action;
    this.say(`${ACTIONS[action]}: press its new key, Escape leaves it.`);
  }

  say(words) {
    this.words.textContent = words;
    this.refresh();
    this.gallery.refresh();
  }

  refresh() {
    for (const [action, button] of this.buttons) {
      const asked = action === this.asking;
      button.classList.toggle("asking", asked);
      button.replaceChildren(asked ? make("span", "", "press a key") : keycap(this.bindings.cap(action)));
      button.setAttribute("aria-label", asked ? `${ACTIONS[action]}: press a key` : `${ACTIONS[action]}: ${this.bindings.cap(action)}. Change`);
    }
    if (this.bindings.problem && this.words.textContent !== this.bindings.problem) this.words.textContent = this.bindings.problem;
  }

  onKey(event) {
    if (!this.asking) return super.onKey(event);
    if (["Tab", "Shift", "Control", "Alt", "Meta", "AltGraph"].includes(event.key)) return false;
    event.preventDefault();
    const action = this.asking;
    const key = pressedKey(event);
    const problem = key === "Escape" ? "" : this.bindings.conflict(action, key);
    if (problem) this.say(problem);
    else {
      this.asking = null;
      if (key !== "Escape") this.bindings.set({ [action]: key });
      this.say(key === "Escape" ? "Left as it was." : `${ACTIONS[action]}: ${keyWord(key)}`);
    }
    return false;
  }
}
