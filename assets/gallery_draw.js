// Small builders for the gallery's elements. Words from files reach the page as textContent or attributes only.

const SVG = "http://www.w3.org/2000/svg";
const ACTION_WORDS = { accept: "accepted", keep: "kept", pick: "picked", skip: "skipped", "": "undecided" };
const ACTION_MARKS = { accept: "✓", keep: "=", pick: "✎", skip: "–", "": "" };

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function draw(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function shortNumber(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e5 || size < 1e-3)) return value.toExponential(1).replace("e+", "e").replace("-", "−");
  return Number(value.toPrecision(3)).toString().replace("-", "−");
}

// The value of one label as words: "= 0.25", or only a bound of it.
function valueWords(item, label, suspicious, full) {
  const value = item.bars?.scores[label];
  const number = full ? String(value ?? "unknown") : shortNumber(value);
  if (!item.bars || value === null || item.bars.exact[label]) return number;
  return `${suspicious > 0 ? "≥" : "≤"} ${number}`;
}

function barKind(item, label) {
  if (label === item.suggested) return "suggested";
  return label === item.given ? "given" : "other";
}

function image(item, side) {
  if (!item.thumb) return make("div", "noimage", item.problem || "no image");
  const picture = make("img", "picture");
  picture.alt = "";
  picture.draggable = false;
  picture.addEventListener("load", () => {
    picture.classList.toggle("crisp", Math.max(picture.naturalWidth, picture.naturalHeight) < side);
  });
  picture.src = item.thumb;
  return picture;
}

// All classes as thin columns, in class order; a hatched one is a bound.
function miniBars(item, names, suspicious) {
  const count = item.bars ? item.bars.lengths.length : 0;
  const plot = draw("svg", { viewBox: "0 0 120 26", preserveAspectRatio: "none", class: "minibars", role: "img" });
  if (!count) return plot;
  const step = 120 / count;
  const gap = count > 40 ? 0.1 : 0.22;
  const paths = { other: "", given: "", suggested: "", bound: "" };
  item.bars.lengths.forEach((length, label) => {
    const height = 1 + 24 * length;
    const kind = barKind(item, label);
    const width = Math.max((1 - gap) * step, kind === "other" ? 0 : 3);
    const box = `M${(label + 0.5) * step - width / 2} 26v${-height}h${width}v${height}z`;
    paths[kind === "other" && !item.bars.exact[label] ? "bound" : kind] += box;
  });
  for (const [kind, path] of Object.entries(paths)) if (path) plot.append(draw("path", { d: path, class: `bar-${kind}` }));
  const words = draw("title", {});
  const best = [...item.bars.lengths.keys()].sort((a, b) => item.bars.lengths[b] - item.bars.lengths[a]);
  const shown = best.slice(0, 12).map((label) => `${names[label]}: ${valueWords(item, label, suspicious, true)}`);
  words.textContent = shown.join("\n") + (count > 12 ? `\n… and ${count - 12} more` : "");
  plot.append(words);
  return plot;
}

function hatching() {
  const holder = draw("svg", { width: 0, height: 0, class: "defs", "aria-hidden": "true" });
  const pattern = draw("pattern", {
    id: "hatch", width: 4, height: 4, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)",
  });
  pattern.append(draw("rect", { width: 1.6, height: 4, class: "hatchline" }));
  const defs = draw("defs", {});
  defs.append(pattern);
  holder.append(defs);
  return holder;
}

function keycap(text) {
  return make("kbd", "keycap", text);
}
