// All keys on one sheet, as they are bound now.

class HelpDialog extends Overlay {
  constructor(gallery) {
    super(gallery, "Help: the keys of the gallery", "helpdialog");
    const { bindings, data } = gallery;
    const digits = data.keys ? "Pick a class by its number" : "Pick one of the ten best supported classes";
    const own = Object.entries(ACTIONS).map(([action, words]) => [[bindings.cap(action)], words]);
    const fixed = [
      [["1", "–", "0"], digits],
      [["←", "↑", "↓", "→"], "Move"],
      [["PgUp", "PgDn"], "Turn the page"],
      [["Home", "End"], "First, last image of the page"],
    ];
    const many = [
      [["Shift", "arrows"], "Select a range"],
      [["Ctrl", "A"], "Select what is undecided on the page; again: all of it"],
      [["Esc"], "Clear the selection, close a dialog"],
      [["Shift", "click"], "Select a range"],
      [["Ctrl", "click"], "Select or unselect one"],
      [["long press"], "The same by touch; then tap more"],
      [["double click"], "Look closely"],
    ];
    const columns = make("div", "helpcolumns");
    columns.append(
      this.list("One image", own), this.list("Moving, classes", fixed), this.list("Several images: every decision is for all of them", many),
    );
    const change = make("button", "change", "Change the keys");
    change.type = "button";
    change.addEventListener("click", () => {
      this.close();
      gallery.openKeys();
    });
    this.element.append(this.title("Keys of the gallery"), columns, change);
  }

  open() {
    super.open(this.element.querySelector(".close"));
  }

  onKey(event) {
    if (this.gallery.bindings.actionOf(pressedKey(event)) !== "help") return super.onKey(event);
    event.preventDefault();
    this.close();
    return false;
  }

  list(title, rows) {
    const part = make("section", "helppart");
    part.append(make("h3", "", title));
    const list = make("dl", "helplist");
    for (const [keys, words] of rows) {
      const term = make("dt");
      term.append(...keys.map((key) => (key === "–" ? make("span", "", "–") : keycap(key))));
      list.append(term, make("dd", "", words));
    }
    part.append(list);
    return part;
  }
}
