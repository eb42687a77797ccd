// The map of images: points that can be moved, zoomed, hovered, and selected by a lasso, a box or a click.

const MAPS = new WeakMap();
const CLICK = 4;
const REACH = 9;
const TOOLS = { lasso: ["Lasso", "L"], box: ["Box", "B"], move: ["Move", "M"] };

export default function render({ data, parentElement, setStateValue }) {
  let map = MAPS.get(parentElement);
  if (!map) {
    map = new ImageMap(parentElement);
    MAPS.set(parentElement, map);
  }
  map.update(data, setStateValue);
  return () => {
    map.close();
    MAPS.delete(parentElement);
  };
}

function part(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

class ImageMap {
  constructor(parent) {
    this.rename();
    this.heard = "";
    this.tool = "lasso";
    this.place = new Float32Array();
    this.flag = new Uint8Array();
    this.view = { x: 0.5, y: 0.5, zoom: 1, width: 0, height: 0 };
    this.pointers = new Map();
    this.root = part("section", "map");
    this.root.setAttribute("aria-label", "Map of the images");
    this.bar = part("div", "bar");
    this.buttons = {};
    for (const [tool, [word, key]] of Object.entries(TOOLS)) {
      this.buttons[tool] = this.button(word, `${word} (key ${key})`, () => this.choose(tool));
    }
    this.button("+", "Zoom in (key +)", () => this.zoomBy(1.5));
    this.button("−", "Zoom out (key −)", () => this.zoomBy(1 / 1.5));
    this.button("Fit", "Show the whole map (key 0)", () => this.fit());
    this.button("Clear", "Select nothing (Escape)", () => this.select([], "replace"));
    this.status = part("div", "status");
    this.status.setAttribute("role", "status");
    this.bar.append(this.status);
    this.field = part("div", "field");
    this.points = part("canvas", "points");
    this.drawing = part("canvas", "drawing");
    this.drawing.tabIndex = 0;
    this.drawing.setAttribute("role", "application");
    this.tip = part("div", "tip");
    this.tip.hidden = true;
    this.field.append(this.points, this.drawing, this.tip);
    this.legend = part("div", "key");
    this.root.append(this.bar, this.field, this.legend);
    parent.append(this.root);
    this.painter = GlPainter.make(this.points) ?? new PlainPainter(this.points);
    this.root.dataset.painter = this.painter.kind;
    this.listen();
    this.sizes = new ResizeObserver(() => this.resize());
    this.sizes.observe(this.field);
    this.choose("lasso");
  }

  // A new name: what was selected before comes back from the server as somebody else's word.
  rename() {
    const bytes = crypto.getRandomValues(new Uint8Array(12));
    this.client = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    this.number = 0;
  }

  button(word, title, action) {
    const button = part("button", "", word);
    button.type = "button";
    button.title = title;
    button.setAttribute("aria-label", title);
    button.addEventListener("click", action);
    this.bar.append(button);
    return button;
  }

  close() {
    this.sizes.disconnect();
    this.root.remove();
  }

  // What the server says. Arrays are decoded again only when they changed.

  update(data, send) {
    const before = this.data;
    this.data = data;
    this.send = send;
    if (before?.positions !== data.positions) {
      this.place = new Float32Array(bytesOf(data.positions).buffer);
      this.flag = new Uint8Array(this.place.length / 2);
      this.nearby = new Nearby(this.place);
      this.painter.put("place", this.place);
      this.heard = "";
      this.rename();
      this.fitted = false;
      this.fit();
    }
    if (before?.colours !== data.colours) this.painter.put("colour", bytesOf(data.colours));
    for (const name of ["given", "suggested", "truth", "state"])
      if (before?.[name] !== data[name]) this[name] = new Int16Array(bytesOf(data[name]).buffer);
    if (before?.percentile !== data.percentile) this.percentile = bytesOf(data.percentile);
    this.adopt(data.selection);
    this.mark(data.marks);
    if (JSON.stringify(before?.legend) !== JSON.stringify(data.legend)) this.drawLegend(data.legend);
    this.say();
    this.paint();
  }

  // The server's word counts where it is not an echo of what this map sent. `mark`, always called next, paints it.
  adopt(selection) {
    const mine = selection.client === this.client;
    const name = `${selection.client}:${selection.number}`;
    if ((mine && selection.number < this.number) || name === this.heard) return;
    this.heard = name;
    if (mine) return;
    const bits = bytesOf(selection.mask);
    for (let at = 0; at < this.flag.length; at += 1) this.flag[at] = (this.flag[at] & MARKED) | ((bits[at >> 3] >> (at & 7)) & 1);
  }

  mark(marks) {
    const set = new Set(marks);
    for (let at = 0; at < this.flag.length; at += 1) this.flag[at] = (this.flag[at] & SELECTED) | (set.has(at) ? MARKED : 0);
    this.painter.put("flag", this.flag);
  }

  // Where things are.

  resize() {
    const { clientWidth: width, clientHeight: height } = this.field;
    if (!width || !height) return;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    for (const canvas of [this.points, this.drawing]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    Object.assign(this.view, { width, height });
    if (!this.fitted) this.fit();
    this.paint();
  }

  fit() {
    const { width, height } = this.view;
    if (!width) return;
    this.fitted = true;
    Object.assign(this.view, { x: 0.5, y: 0.5, zoom: 0.94 * Math.min(width, height) });
    this.paint();
  }

  toMap(x, y) {
    const { view } = this;
    return [view.x + (x - view.width / 2) / view.zoom, view.y - (y - view.height / 2) / view.zoom];
  }

  toScreen(at) {
    const { view, place } = this;
    return [view.width / 2 + (place[2 * at] - view.x) * view.zoom, view.height / 2 - (place[2 * at + 1] - view.y) * view.zoom];
  }

  zoomBy(factor, x = this.view.width / 2, y = this.view.height / 2) {
    const least = 0.3 * Math.min(this.view.width, this.view.height);
    const zoom = Math.max(least, Math.min(this.view.zoom * factor, 2000 * least));
    const [mapX, mapY] = this.toMap(x, y);
    this.view.zoom = zoom;
    const [newX, newY] = this.toMap(x, y);
    this.view.x += mapX - newX;
    this.view.y += mapY - newY;
    this.paint();
  }

  moveBy(dx, dy) {
    this.view.x -= dx / this.view.zoom;
    this.view.y += dy / this.view.zoom;
    this.paint();
  }

  // Painting happens once a frame.

  paint() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = null;
      const style = getComputedStyle(this.root);
      const ink = style.color.match(/[\d.]+/g)?.slice(0, 3).map(Number) ?? [0, 0, 0];
      const base = this.place.length > 40000 ? 3 : this.place.length > 4000 ? 4 : 6;
      const closer = this.view.zoom / Math.max(1, 0.94 * Math.min(this.view.width, this.view.height));
      this.painter.paint(this.view, base * Math.max(1, Math.min(3, closer ** 0.35)), ink);
      this.root.dataset.view = JSON.stringify(this.view);
      this.sketch(style);
    });
  }

  sketch(style) {
    const context = this.drawing.getContext("2d");
    const ratio = this.drawing.width / Math.max(1, this.view.width);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.view.width, this.view.height);
    context.lineWidth = 1.5;
    context.strokeStyle = style.color;
    if (this.hovered >= 0) {
      const [x, y] = this.toScreen(this.hovered);
      context.beginPath();
      context.arc(x, y, 8, 0, 7);
      context.stroke();
    }
    if (!this.outline || this.outline.length < 4) return;
    context.beginPath();
    for (let k = 0; k < this.outline.length; k += 2) context.lineTo(this.outline[k], this.outline[k + 1]);
    context.closePath();
    context.globalAlpha = 0.12;
    context.fillStyle = style.color;
    context.fill();
    context.globalAlpha = 1;
    context.setLineDash([5, 4]);
    context.stroke();
    context.setLineDash([]);
  }

  // Pointer and keys.

  listen() {
    const pad = this.drawing;
    const spot = (event) => {
      const box = pad.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    pad.addEventListener("pointerdown", (event) => {
      if (event.button > 1) return;
      pad.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, spot(event));
      this.start = this.pointers.size === 1 ? { at: spot(event), tool: event.button === 1 ? "move" : this.tool } : null;
      this.outline = null;
      this.hide();
    });
    pad.addEventListener("pointermove", (event) => {
      const [x, y] = spot(event);
      const before = this.pointers.get(event.pointerId);
      if (!before) return this.hover(x, y);
      if (this.pointers.size === 2) this.pinch(event.pointerId, [x, y]);
      this.pointers.set(event.pointerId, [x, y]);
      if (!this.start) return;
      if (this.start.tool === "move") this.moveBy(x - before[0], y - before[1]);
      else this.outline = this.grown(x, y);
      this.paint();
    });
    pad.addEventListener("pointerup", (event) => {
      const { start, outline } = this;
      this.pointers.delete(event.pointerId);
      this.start = this.outline = null;
      if (start) this.finish(start, spot(event), outline, event);
      this.paint();
    });
    pad.addEventListener("pointercancel", (event) => {
      this.pointers.delete(event.pointerId);
      this.start = this.outline = null;
      this.paint();
    });
    pad.addEventListener("pointerleave", () => this.hide());
    pad.addEventListener("wheel", (event) => {
      event.preventDefault();
      const unit = event.deltaMode === 1 ? 30 : 1;
      this.zoomBy(Math.exp(-0.0016 * unit * event.deltaY), ...spot(event));
    }, { passive: false });
    this.root.addEventListener("keydown", (event) => this.onKey(event));
  }

  grown(x, y) {
    const [x0, y0] = this.start.at;
    if (this.start.tool === "box") return [x0, y0, x, y0, x, y, x0, y];
    const line = this.outline ?? [x0, y0];
    const far = Math.hypot(x - line.at(-2), y - line.at(-1));
    return far < 2 ? line : [...line, x, y];
  }

  pinch(id, now) {
    const other = [...this.pointers].find(([key]) => key !== id)[1];
    const before = this.pointers.get(id);
    const far = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
    this.moveBy((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
    this.zoomBy(far(now) / Math.max(1, far(before)), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  }

  finish(start, [x, y], outline, event) {
    const how = event.shiftKey ? "add" : event.altKey ? "remove" : "replace";
    const moved = Math.hypot(x - start.at[0], y - start.at[1]) >= CLICK || (outline && this.long(outline));
    if (!moved) {
      const at = this.under(x, y);
      if (at >= 0) this.select([at], how === "add" && this.flag[at] & SELECTED ? "remove" : how);
      else if (how === "replace") this.select([], how);
      return;
    }
    if (start.tool === "move" || !outline) return;
    const polygon = [];
    for (let k = 0; k < outline.length; k += 2) polygon.push(...this.toMap(outline[k], outline[k + 1]));
    const found = [];
    inside(this.place, polygon, (at) => found.push(at));
    this.select(found, how);
  }

  long(outline) {
    let length = 0;
    for (let k = 2; k < outline.length; k += 2) length += Math.hypot(outline[k] - outline[k - 2], outline[k + 1] - outline[k - 1]);
    return length >= 4 * CLICK;
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.key === "Tab") return;
    event.stopPropagation();
    const step = 60;
    const actions = {
      l: () => this.choose("lasso"), b: () => this.choose("box"), m: () => this.choose("move"),
      "+": () => this.zoomBy(1.5), "=": () => this.zoomBy(1.5), "-": () => this.zoomBy(1 / 1.5), 0: () => this.fit(),
      Escape: () => this.select([], "replace"),
      ArrowLeft: () => this.moveBy(step, 0), ArrowRight: () => this.moveBy(-step, 0),
      ArrowUp: () => this.moveBy(0, step), ArrowDown: () => this.moveBy(0, -step),
    };
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  choose(tool) {
    this.tool = tool;
    for (const [name, button] of Object.entries(this.buttons)) button.setAttribute("aria-pressed", String(name === tool));
    this.field.dataset.tool = tool;
  }

  // Selecting.

  select(found, how) {
    if (how === "replace") for (let at = 0; at < this.flag.length; at += 1) this.flag[at] &= MARKED;
    for (const at of found) this.flag[at] = how === "remove" ? this.flag[at] & MARKED : this.flag[at] | SELECTED;
    this.painter.put("flag", this.flag);
    this.number += 1;
    this.send("picked", { token: this.data.token, client: this.client, number: this.number, mask: textOf(packed(this.flag)) });
    this.say();
    this.paint();
  }

  say() {
    const count = this.flag.reduce((sum, flag) => sum + (flag & SELECTED), 0);
    const total = this.flag.length.toLocaleString("en");
    this.status.textContent = count ? `${count.toLocaleString("en")} of ${total} selected` : `${total} images`;
    this.root.dataset.selected = String(count);
    this.drawing.setAttribute("aria-label", `${total} images as points, ${count} selected. ${this.data.words}`);
  }

  under(x, y) {
    return this.nearby ? this.nearby.nearest(...this.toMap(x, y), REACH / this.view.zoom) : -1;
  }

  // What is under the pointer.

  hover(x, y) {
    const at = this.under(x, y);
    if (at !== this.hovered) this.paint();
    this.hovered = at;
    if (at < 0) return this.hide();
    const name = (label) => this.data.classes[label] ?? "unknown";
    const lines = [["given", name(this.given[at])]];
    if (this.suggested[at] >= 0) lines.push(["suggested", name(this.suggested[at])]);
    if (this.truth[at] >= 0) lines.push(["true", name(this.truth[at])]);
    lines.push(["more suspicious than", `${this.percentile[at]} %`]);
    if (this.state[at] > 0) lines.push(["review", this.data.states[this.state[at]]]);
    this.tip.replaceChildren(part("b", "", this.data.ids[at]));
    for (const [word, value] of lines) {
      const line = part("div");
      line.append(part("span", "", word), part("strong", "", value));
      this.tip.append(line);
    }
    this.tip.hidden = false;
    this.tip.style.left = `${Math.min(x + 14, this.view.width - this.tip.offsetWidth - 4)}px`;
    this.tip.style.top = `${y + 16 + this.tip.offsetHeight > this.view.height ? y - this.tip.offsetHeight - 12 : y + 16}px`;
  }

  hide() {
    this.tip.hidden = true;
    if (this.hovered >= 0) this.paint();
    this.hovered = -1;
  }

  drawLegend(legend) {
    this.legend.replaceChildren(part("b", "", legend.title));
    if (legend.stops) {
      const ramp = part("i", "ramp");
      ramp.style.background = `linear-gradient(to right, ${legend.stops.join(", ")})`;
      this.legend.append(part("span", "", legend.low), ramp, part("span", "", legend.high));
    }
    for (const [colour, word] of legend.items ?? []) {
      const item = part("span", "item");
      const dot = part("i", "dot");
      dot.style.background = colour;
      item.append(dot, part("span", "", word));
      this.legend.append(item);
    }
  }
}
