// The pages that are here, the image in focus, and what is asked of the server.

const KEPT_PAGES = 4;
const PAINT_MS = 150;

class Pages {
  // `log` sends the questions; what is on its way counts as asked.
  constructor() {
    this.drop("", 0);
  }

  drop(queue, position) {
    Object.assign(this, { queue, position, pages: new Map(), total: 0, size: 1 });
  }

  take(data) {
    if (data.closeUp) this.closeUp = data.closeUp;
    this.total = data.total;
    this.size = data.pageSize;
    for (const [page, items] of Object.entries(data.pages)) this.pages.set(Number(page), items);
  }

  get last() {
    return Math.max(Math.ceil(this.total / this.size) - 1, 0);
  }

  get page() {
    return Math.min(Math.floor(this.position / this.size), this.last);
  }

  item(position) {
    const page = Math.floor(position / this.size);
    return this.pages.get(page)?.[position - page * this.size];
  }

  // [position, item] of the page in view.
  inView() {
    return this.on(this.page);
  }

  on(page) {
    return (this.pages.get(page) ?? []).map((item, at) => [page * this.size + at, item]);
  }

  view() {
    return { queue: this.queue, page: this.page, have: [...this.pages.keys()], closeUp: this.closeUp?.number };
  }

  // Ask for the page in view, and for the one after it once this one is painted; not for what is here or asked for.
  request(log) {
    clearTimeout(this.timer);
    if (this.pages.has(this.page)) this.timer = setTimeout(() => this.ask(log), PAINT_MS);
    else this.ask(log);
  }

  ask(log) {
    for (const page of this.pages.keys()) if (Math.abs(page - this.page) > KEPT_PAGES) this.pages.delete(page);
    const wanted = [this.page, Math.min(this.page + 1, this.last)];
    if (!this.total || wanted.every((page) => this.pages.has(page))) return;
    const asked = log.told && log.told.queue === this.queue && log.told.page === this.page && log.inFlight;
    if (!asked) log.askForPages();
  }

  // Ask for an image as large as it is; it comes as `closeUp`, once.
  askForCloseUp(log, id) {
    this.asked = (this.asked ?? 0) + 1;
    log.send("zoomed", { id, number: this.asked });
  }

  // Where a key leads, undefined where it leads nowhere.
  target(key, columns) {
    const start = this.page * this.size;
    if (key === "PageDown" && this.page === this.last) return undefined;
    const to = {
      ArrowLeft: this.position - 1, ArrowRight: this.position + 1,
      ArrowUp: this.position - columns, ArrowDown: this.position + columns,
      PageUp: (this.page - 1) * this.size, PageDown: (this.page + 1) * this.size,
      Home: start, End: Math.min(start + this.size, this.total) - 1,
    }[key];
    return to === undefined ? undefined : Math.max(0, Math.min(to, this.total - 1));
  }
}
