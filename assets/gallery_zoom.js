// The image in focus, as large as the window lets it be; decisions and arrows go on while it is open.

const THUMB_SIDE = 240; // pages/ui/thumbnails.py: a larger image was reduced to it

class ZoomDialog extends Overlay {
  constructor(gallery) {
    super(gallery, "A closer look", "zoomdialog");
    this.shown = "";
    this.frame = make("div", "zoomframe");
    this.words = make("div", "zoomwords");
    this.toggle = make("button", "smooth", "Smooth");
    this.toggle.type = "button";
    this.toggle.addEventListener("click", () => {
      this.smooth = gallery.smooth = !this.smooth;
      this.paint();
    });
    const tools = make("div", "zoomtools");
    for (const [key, word, label] of [["ArrowLeft", "‹", "Previous image"], ["ArrowRight", "›", "Next image"]]) {
      const button = make("button", "step", word);
      button.type = "button";
      button.setAttribute("aria-label", label);
      button.addEventListener("click", () => gallery.press({ move: key }));
      tools.append(button);
    }
    tools.append(this.toggle);
    this.head = this.title("");
    this.element.append(this.head, this.frame, this.words, tools);
  }

  open() {
    this.refresh();
    super.open(this.head.querySelector(".close"));
    this.element.addEventListener("dblclick", () => this.close());
  }

  refresh() {
    const { gallery } = this;
    const item = gallery.item(gallery.position);
    if (!item) {
      if (gallery.position >= gallery.data.total) this.close();
      return;
    }
    const state = gallery.state(item.id);
    const names = gallery.data.classes;
    const outcome = state.action && state.action !== "skip" ? ` as ${names[state.label]}` : "";
    const suggested = item.suggested >= 0 ? `, suggested ${names[item.suggested]}` : ", no suggestion";
    const chosen = gallery.selection.has(gallery.position) ? ", selected" : "";
    this.words.textContent = `Given ${names[item.given]}${suggested} · ${ACTION_WORDS[state.action]}${outcome}${chosen}`;
    this.head.firstChild.textContent = item.id;
    if (this.shown !== item.id) {
      this.shown = item.id;
      this.picture = image(item, 0);
      this.picture.alt = item.id;
      this.frame.replaceChildren(this.picture);
      this.picture.addEventListener("load", () => {
        this.smooth = gallery.smooth ?? this.longer >= THUMB_SIDE;
        this.paint();
        if (this.longer >= THUMB_SIDE && !this.picture.dataset.full) gallery.pages.askForCloseUp(gallery.log, item.id);
      });
    }
    const full = gallery.pages.closeUp;
    if (full?.id === item.id && !this.picture.dataset.full && this.picture.tagName === "IMG") {
      this.picture.dataset.full = "yes";
      this.picture.src = full.uri;
    }
  }

  get longer() {
    return Math.max(this.picture.naturalWidth ?? 0, this.picture.naturalHeight ?? 0);
  }

  paint() {
    this.picture.classList.toggle("crisp", !this.smooth);
    this.toggle.setAttribute("aria-pressed", String(this.smooth));
  }

  onKey(event) {
    const action = this.gallery.bindings.actionOf(pressedKey(event));
    const onButton = event.target.tagName === "BUTTON" && [" ", "Enter"].includes(event.key);
    if (event.key === "Escape" || (action === "zoom" && !onButton)) {
      event.preventDefault();
      this.close();
      return false;
    }
    return !onButton;
  }
}
