// Which points lie in a lasso, in a box or under the pointer, and how arrays travel. Nothing here draws.

function bytesOf(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let at = 0; at < raw.length; at += 1) bytes[at] = raw.charCodeAt(at);
  return bytes;
}

function textOf(bytes) {
  let raw = "";
  for (let at = 0; at < bytes.length; at += 8192) raw += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(raw);
}

// One bit a point, the first in the lowest bit of the first byte.
function packed(flags) {
  const bytes = new Uint8Array(Math.ceil(flags.length / 8));
  for (let at = 0; at < flags.length; at += 1) if (flags[at] & SELECTED) bytes[at >> 3] |= 1 << (at & 7);
  return bytes;
}

// Calls `found` with each point inside the polygon [x, y, x, y, ...] of the map (even-odd rule).
function inside(place, polygon, found) {
  const n = polygon.length / 2;
  let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let k = 0; k < n; k += 1) {
    left = Math.min(left, polygon[2 * k]);
    right = Math.max(right, polygon[2 * k]);
    low = Math.min(low, polygon[2 * k + 1]);
    high = Math.max(high, polygon[2 * k + 1]);
  }
  for (let at = 0; at < place.length / 2; at += 1) {
    const x = place[2 * at];
    const y = place[2 * at + 1];
    if (x < left || x > right || y < low || y > high) continue;
    let odd = false;
    for (let k = 0, last = n - 1; k < n; last = k, k += 1) {
      const y1 = polygon[2 * k + 1];
      const y2 = polygon[2 * last + 1];
      if (y1 > y !== y2 > y && x < polygon[2 * k] + ((y - y1) / (y2 - y1)) * (polygon[2 * last] - polygon[2 * k]))
        odd = !odd;
    }
    if (odd) found(at);
  }
}

// A grid over the points: the nearest one within a distance is found without looking at all.
class Nearby {
  constructor(place) {
    this.place = place;
    this.side = Math.max(1, Math.min(256, Math.floor(Math.sqrt(place.length / 4))));
    this.cells = new Map();
    for (let at = 0; at < place.length / 2; at += 1) {
      const key = this.key(this.cell(place[2 * at]), this.cell(place[2 * at + 1]));
      if (!this.cells.has(key)) this.cells.set(key, []);
      this.cells.get(key).push(at);
    }
  }

  cell(value) {
    return Math.max(0, Math.min(this.side - 1, Math.floor(value * this.side)));
  }

  key(column, row) {
    return row * this.side + column;
  }

  nearest(x, y, reach) {
    let best = -1;
    let least = reach * reach;
    for (let row = this.cell(y - reach); row <= this.cell(y + reach); row += 1)
      for (let column = this.cell(x - reach); column <= this.cell(x + reach); column += 1)
        for (const at of this.cells.get(this.key(column, row)) ?? []) {
          const far = (this.place[2 * at] - x) ** 2 + (this.place[2 * at + 1] - y) ** 2;
          if (far <= least) [best, least] = [at, far];
        }
    return best;
  }
}
