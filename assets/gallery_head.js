// The lines above the grid, of one height whatever they say: counts, whether all is saved, place, notice, tools; and what
// a screen reader is told.

class Head {
  constructor(gallery) {
    this.gallery = gallery;
    this.element = make("header", "head");
    this.counts = make("div", "counts");
    this.place = make("div", "place");
    this.saving = make("div", "saving");
    this.tools = make("div", "tools");
    this.tools.setAttribute("role", "group");
    this.tools.setAttribute("aria-label", "Tools");
    this.tool("Select page", null, () => gallery.selectPage());
    this.tool("Keys", null, () => gallery.openKeys());
    this.help = this.tool("Help", "help", () => gallery.openHelp());
    this.notice = make("div", "notice");
    this.notice.setAttribute("role", "alert");
    this.element.append(this.counts, this.saving, this.place, this.notice, this.tools);
    this.live = make("div", "spoken");
    this.live.setAttribute("role", "status");
    this.spoken = [];
  }

  tool(word, action, onClick) {
    const button = make("button", "tool", word);
    button.type = "button";
    button.addEventListener("click", onClick);
    if (action) button.append(keycap(""));
    this.tools.append(button);
    return button;
  }

  // Told to a screen reader only, after what it says by itself. Many at once are told together.
  speak(words) {
    this.spoken.push(words);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.live.textContent = this.spoken.slice(-3).join(" ");
      this.spoken = [];
    }, 120);
  }

  show() {
    const { data, log, said } = this.gallery;
    this.showCounts(data);
    const cap = this.gallery.bindings.cap("help");
    if (this.help.lastChild.textContent !== cap) this.help.lastChild.textContent = cap;
    const at = Math.min(this.gallery.position + 1, data.total);
    const page = `Page ${this.gallery.page + 1} of ${this.gallery.lastPage + 1}`;
    this.place.textContent = data.total ? `${page} · image ${at} of ${data.total.toLocaleString("en")}` : "";
    const waiting = log.pending.length;
    const stuck = Boolean(data.problem);
    this.saving.className = `saving ${stuck ? "stuck" : waiting ? "busy" : "idle"}`;
    this.saving.textContent = stuck ? `${waiting} not saved` : waiting ? `Saving ${waiting} …` : "All saved";
    if (this.waited && !waiting && !stuck)
      this.speak(`All saved: ${data.counts.decided.toLocaleString("en")} decided, ${data.counts.left.toLocaleString("en")} left in this list.`);
    this.waited = waiting;
    const refused = Object.values(data.refused ?? {});
    const words = data.problem || (refused.length ? `Refused: ${refused[0]}` : this.gallery.bindings.problem || said);
    if (this.notice.textContent !== words) this.notice.textContent = words;
    this.notice.title = words;
    this.notice.className = `notice ${stuck || refused.length ? "bad" : ""}`;
  }

  showCounts({ counts }) {
    const rate = counts.rate === null ? "–" : `${Math.round(100 * counts.rate)} %`;
    const figures = [
      [counts.decided.toLocaleString("en"), "decided", "Decisions on disk in this session"],
      [rate, "accepted, skips aside", "Suggestions accepted in this session, of the images judged: a skipped one is not"],
      [counts.changed.toLocaleString("en"), "changed", "Labels of this session that differ from the given ones"],
      [counts.left.toLocaleString("en"), "left in this list", "Undecided images of the list below, as it is filtered now"],
    ];
    const drawn = figures.join();
    if (this.figures === drawn) return;
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
}

// The keys below the grid, and buttons that turn the page.
class Legend {
  constructor(bindings, onTurn) {
    this.bindings = bindings;
    this.element = make("footer", "legend");
    this.pairs = make("div", "pairs");
    this.element.append(this.pairs);
    for (const [key, word] of [["PageUp", "‹ Previous page"], ["PageDown", "Next page ›"]]) {
      const button = make("button", "turn", word);
      button.type = "button";
      button.addEventListener("click", (event) => onTurn(key, event));
      this.element.append(button);
    }
  }

  show() {
    const cap = (action) => this.bindings.cap(action);
    const keys = [
      [cap("accept"), "accept"], [cap("keep"), "keep"], ["1–0", "class"], [cap("pick"), "type a class"], [cap("skip"), "skip"],
      [cap("undo"), "undo"], [cap("zoom"), "zoom"], [cap("explain"), "explain"], ["← ↑ ↓ →", "move"], [cap("select"), "select"],
      ["PgUp PgDn", "page"], [cap("help"), "all keys"],
    ];
    const drawn = keys.join();
    if (this.drawn === drawn) return;
    this.drawn = drawn;
    this.pairs.replaceChildren(
      ...keys.map(([key, word]) => {
        const pair = make("span", "pair");
        pair.append(keycap(key), make("span", "", word));
        return pair;
      }),
    );
  }
}
