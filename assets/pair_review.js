// Review of training pairs: a list in order of suspicion, one pair at large, one key for each verdict.
// pages/ui/generation_gallery.py puts gallery_draw.js (`make`) and gallery_log.js, which keeps
// and sends the numbered log, before it.

const VIEWS = new WeakMap();
const VERDICTS = { accept: "wrong", keep: "right", skip: "skipped", pick: "wrong" };
const DECISIONS = ["accept", "keep", "skip"];
const MOVES = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };

export default function render({ data, parentElement, setStateValue }) {
  let view = VIEWS.get(parentElement);
  if (!view) {
    view = new PairReview(parentElement);
    VIEWS.set(parentElement, view);
  }
  view.update(data, setStateValue);
  return () => {
    view.close();
    VIEWS.delete(parentElement);
  };
}

function picture(item, className) {
  const image = make("img", className);
  image.src = item.picture;
  image.alt = item.target;
  return image;
}

class PairReview {
  constructor(parent) {
    this.position = 0;
    this.queue = null;
    this.root = make("section", "pair-review");
    this.root.setAttribute("aria-label", "Review of pairs");
    this.head = make("div", "head");
    this.counts = make("span", "counts");
    this.saving = make("span", "saving");
    this.head.append(this.counts, this.saving);
    this.notice = make("div", "notice");
    this.live = make("div", "spoken");
    this.live.setAttribute("aria-live", "polite");
    this.list = make("div", "list");
    this.list.tabIndex = 0;
    this.list.setAttribute("role", "listbox");
    this.list.setAttribute("aria-label", "Pairs in order of suspicion");
    this.detail = make("div", "detail");
    const body = make("div", "body");
    body.append(this.list, this.detail);
    this.root.append(this.head, this.notice, this.live, body);
    parent.append(this.root);
    this.root.addEventListener("keydown", (event) => this.onKey(event));
    this.root.addEventListener("keyup", (event) => event.stopPropagation());
  }

  close() {
    this.log?.close();
    this.root.remove();
  }

  update(data, send) {
    this.data = data;
    if (!this.log || this.log.session !== data.session || this.log.reviewer !== data.reviewer) {
      this.log?.close();
      this.log = new DecisionQueue(data.session, data.reviewer, () => ({ queue: this.queue }), () => this.draw());
    }
    this.log.send = send;
    if (this.queue !== data.queue) {
      this.queue = data.queue;
      this.position = Math.max(0, data.items.findIndex((item) => !data.states[item.id]));
      this.rows = null;
    }
    this.log.settle(data);
    this.log.flush();
    this.draw();
  }

  // What is on disk, then what is on its way.
  state(id) {
    const stack = this.data.states[id] ? [this.data.states[id]] : [];
    let saving = false;
    for (const entry of this.log.pending) {
      if (entry.id !== id) continue;
      saving = true;
      if (entry.action === "undo") stack.pop();
      else stack.push(entry.action);
    }
    return { action: stack.at(-1) ?? "", saving };
  }

  // Decisions of this person that hold, oldest first.
  history() {
    const stack = [...this.data.history].reverse();
    for (const entry of this.log.pending) {
      if (entry.action !== "undo") stack.push(entry.id);
      else {
        const last = stack.lastIndexOf(entry.id);
        if (last >= 0) stack.splice(last, 1);
      }
    }
    return stack;
  }

  onKey(event) {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey || event.key === "Tab") return;
    event.stopPropagation();
    if (event.target.tagName === "BUTTON" && ["Enter", " "].includes(event.key)) return;
    if (event.key in MOVES) {
      event.preventDefault();
      this.go(this.position + MOVES[event.key]);
      return;
    }
    const key = event.key.toLowerCase();
    const action = [...DECISIONS, "undo"].find((name) => this.data.keys[name] === key);
    if (!action) return;
    event.preventDefault();
    if (!event.repeat) this.press(action);
  }

  press(action) {
    if (action === "undo") this.undo();
    else this.decide(action);
  }

  decide(action) {
    const item = this.data.items[this.position];
    if (!item) return;
    this.say(`${VERDICTS[action]}: ${item.prompt.slice(0, 80)}`);
    this.position = Math.min(this.position + 1, this.data.items.length - 1);
    this.log.add({
      id: item.id, action, label: action === "accept" ? 1 : 0, run: this.data.run, score: item.score, suggested: 1,
    });
  }

  undo() {
    const last = this.history().at(-1);
    if (last === undefined) {
      this.say("Nothing to undo.");
      return;
    }
    const place = this.data.items.findIndex((item) => item.id === last);
    if (place >= 0) this.position = place;
    this.say(place >= 0 ? "Undone." : "Undone: a pair that is not in this list.");
    this.log.add({ id: last, action: "undo", label: null, run: this.data.run, score: null, suggested: null });
  }

  say(words) {
    this.live.textContent = words;
  }

  go(position) {
    this.position = Math.max(0, Math.min(position, this.data.items.length - 1));
    this.draw();
  }

  draw() {
    if (!this.data) return;
    const { items, counts, problem, refused } = this.data;
    const waiting = this.log.pending.length;
    this.counts.textContent = `${counts.wrong} wrong · ${counts.right} right · ${counts.skipped} skipped · ${counts.left} left`;
    this.saving.textContent = problem ? "not saved yet" : waiting ? `saving ${waiting} …` : "all saved";
    this.saving.className = problem ? "saving stuck" : waiting ? "saving busy" : "saving";
    const words = problem || Object.values(refused ?? {})[0] || "";
    this.notice.textContent = words;
    this.notice.hidden = !words;
    if (!this.rows) this.drawRows();
    items.forEach((item, place) => {
      const { action, saving } = this.state(item.id);
      const row = this.rows[place];
      row.className = `row is-${action || "open"}${place === this.position ? " current" : ""}${saving ? " is-saving" : ""}`;
      row.setAttribute("aria-selected", String(place === this.position));
      row.lastChild.textContent = VERDICTS[action] ?? "";
    });
    this.scrollTo(this.rows[this.position]);
    this.drawDetail();
  }

  // The list scrolls, the page stays.
  scrollTo(row) {
    if (!row) return;
    const top = row.offsetTop - this.list.offsetTop;
    if (top < this.list.scrollTop) this.list.scrollTop = top;
    const bottom = top + row.offsetHeight - this.list.clientHeight;
    if (bottom > this.list.scrollTop) this.list.scrollTop = bottom;
  }

  drawRows() {
    this.rows = this.data.items.map((item, place) => {
      const row = make("div", "row");
      row.setAttribute("role", "option");
      const words = make("span", "words");
      words.append(make("span", "prompt", item.prompt), make("span", "target", item.picture ? "" : `→ ${item.target}`));
      row.append(make("span", "rank", String(item.rank)));
      if (item.picture) row.append(picture(item, "small"));
      row.append(words, make("span", "verdict"));
      row.addEventListener("mousedown", (event) => {
        event.preventDefault();
        this.list.focus({ preventScroll: true });
        this.go(place);
      });
      return row;
    });
    this.list.replaceChildren(...this.rows);
    if (!this.rows.length) this.list.append(make("div", "empty", this.data.empty));
  }

  drawDetail() {
    const item = this.data.items[this.position];
    if (!item) {
      this.detail.replaceChildren();
      return;
    }
    const { action, saving } = this.state(item.id);
    const facts = make("dl", "facts");
    const told = [["Class", item.group], ["Suspicion", `${item.told}, place ${item.rank} of ${this.data.total}`], ["Loss", item.loss]];
    if (action) told.push(["Verdict", VERDICTS[action] + (saving ? " …" : "")]);
    for (const [name, value] of told) if (value) facts.append(make("dt", "", name), make("dd", "", value));
    const buttons = make("div", "buttons");
    for (const name of [...DECISIONS, "undo"]) {
      const button = make("button", `action do-${name}`, { accept: "Wrong", keep: "Right", skip: "Skip", undo: "Undo" }[name]);
      button.type = "button";
      button.append(make("kbd", "keycap", this.data.keys[name]?.trim() ? this.data.keys[name].toUpperCase() : "Space"));
      button.addEventListener("click", () => {
        this.list.focus({ preventScroll: true });
        this.press(name);
      });
      buttons.append(button);
    }
    const target = item.picture ? picture(item, "large") : make("div", "text target", item.target || item.problem);
    this.detail.replaceChildren(
      buttons, make("div", "label", "Prompt"), make("div", "text", item.prompt), make("div", "label", "Target"), target, facts,
    );
  }
}
