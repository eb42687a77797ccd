// Keys, mouse and touch, told to the gallery as commands.

const MOVES = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"];
const LONG_PRESS_MS = 450;
const SLIP = 10;

class Input {
  constructor(gallery) {
    this.gallery = gallery;
    const { root, grid } = gallery;
    root.addEventListener("keydown", (event) => this.onKey(event));
    root.addEventListener("keyup", (event) => event.stopPropagation());
    grid.addEventListener("mousedown", (event) => this.onPress(event));
    grid.addEventListener("dblclick", (event) => this.position(event) >= 0 && gallery.press({ action: "zoom" }));
    grid.addEventListener("pointerdown", (event) => this.onTouch(event));
    for (const name of ["pointerup", "pointercancel", "pointerleave"]) grid.addEventListener(name, () => clearTimeout(this.timer));
    grid.addEventListener("pointermove", (event) => {
      if (Math.hypot(event.clientX - this.x, event.clientY - this.y) > SLIP) clearTimeout(this.timer);
    });
    grid.addEventListener("contextmenu", (event) => this.touched && event.preventDefault());
  }

  onKey(event) {
    if (event.isComposing) return;
    const { gallery } = this;
    const chord = event.ctrlKey || event.metaKey;
    const overlay = gallery.overlays.at(-1);
    if (overlay) {
      event.stopPropagation();
      if (chord || event.altKey || !overlay.onKey(event)) return;
    } else if (chord && !event.altKey && event.key.toLowerCase() === "a") {
      event.stopPropagation();
      event.preventDefault();
      gallery.selectPage();
      return;
    }
    if (event.altKey || event.key === "Tab" || (chord && event.key !== " ")) return;
    event.stopPropagation();
    const command = this.command(event);
    if (!command) return;
    event.preventDefault();
    if (event.repeat && !command.move) return;
    gallery.press(command);
  }

  // Enter and Space belong to a button that has the focus.
  command(event) {
    if (event.target.tagName === "BUTTON" && ["Enter", " "].includes(event.key)) return null;
    if (MOVES.includes(event.key)) return { move: event.key, extend: event.shiftKey };
    if (event.key === "Escape") return this.gallery.selection.size ? { action: "clear" } : null;
    if (/^[0-9]$/.test(event.key)) return { digit: event.key };
    const action = this.gallery.bindings.actionOf(pressedKey(event));
    return action ? { action } : null;
  }

  position(event) {
    const card = event.target.closest(".card");
    return card ? Number(card.dataset.position) : -1;
  }

  // A press on an image: plain it is the one in focus, with Shift the end of a range, with Ctrl or Cmd one more.
  onPress(event) {
    const position = this.position(event);
    if (position < 0 || event.button !== 0) return;
    event.preventDefault();
    if (this.held) return;
    const adding = event.ctrlKey || event.metaKey || (this.touched && this.gallery.selection.size > 0);
    this.gallery.point(position, { extend: event.shiftKey, toggle: adding });
  }

  // A finger that rests on an image selects it.
  onTouch(event) {
    this.touched = event.pointerType === "touch";
    this.held = false;
    clearTimeout(this.timer);
    const position = this.position(event);
    if (!this.touched || position < 0) return;
    [this.x, this.y] = [event.clientX, event.clientY];
    this.timer = setTimeout(() => {
      this.held = true;
      navigator.vibrate?.(15);
      this.gallery.point(position, { toggle: true });
    }, LONG_PRESS_MS);
  }
}
