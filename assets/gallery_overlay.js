// A dialog over the page. The browser keeps the focus inside; closing gives it back to where it was.

class Overlay {
  // `gallery.overlays` holds the open ones, the top one last.
  constructor(gallery, name, kind) {
    this.gallery = gallery;
    this.element = make("dialog", `overlay ${kind}`);
    this.element.setAttribute("aria-label", name);
    this.element.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.close();
    });
    this.element.addEventListener("mousedown", (event) => event.target === this.element && this.close());
  }

  title(words) {
    const head = make("div", "overhead");
    const close = make("button", "close", "Close");
    close.type = "button";
    close.append(keycap("Esc"));
    close.addEventListener("click", () => this.close());
    head.append(make("h2", "overtitle", words), close);
    return head;
  }

  open(focused) {
    this.opener = this.gallery.root.getRootNode().activeElement;
    this.gallery.root.append(this.element);
    this.gallery.overlays.push(this);
    this.element.showModal();
    focused?.focus({ preventScroll: true });
  }

  close() {
    const { overlays, grid } = this.gallery;
    if (!overlays.includes(this)) return;
    overlays.splice(overlays.indexOf(this), 1);
    this.element.close();
    this.element.remove();
    (this.opener?.isConnected ? this.opener : grid).focus({ preventScroll: true });
    this.closed?.();
  }

  // Returns whether the key goes on to the gallery. Enter, Tab and Space are the browser's, for the buttons inside.
  onKey(event) {
    if (event.key !== "Escape") return false;
    event.preventDefault();
    this.close();
    return false;
  }

  // The gallery was drawn anew.
  refresh() {}
}
