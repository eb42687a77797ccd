// What the keys do to the images they are meant for: the selected ones, or the one in focus.

class Decider {
  constructor(gallery) {
    this.gallery = gallery;
  }

  // [position, item] of each image meant. A closer look is at one image, so it means that one.
  targets() {
    const { selection, position } = this.gallery;
    if (selection.size && !this.gallery.zoomed) return selection.ordered();
    const item = this.gallery.item(position);
    return item ? [[position, item]] : [];
  }

  accept(targets) {
    const fit = targets.filter(([, item]) => item.suggested >= 0);
    const without = targets.length - fit.length;
    if (!fit.length) this.gallery.say(`No suggestion for ${without > 1 ? "these images" : "this image"}: pick a class with a number or ${this.gallery.bindings.cap("pick")}.`);
    else {
      this.decide(fit, "accept", (item) => item.suggested);
      if (without) this.gallery.say(`${without} without a suggestion ${without > 1 ? "stay" : "stays"} selected.`);
    }
  }

  keep(targets) {
    this.decide(targets, "keep", (item) => item.given);
  }

  skip(targets) {
    this.decide(targets, "skip", (item) => item.given);
  }

  pick(targets, label) {
    this.decide(targets, "pick", () => label);
  }

  pickByDigit(targets, digit) {
    const { data, bindings } = this.gallery;
    if (!data.keys && targets.length > 1) {
      this.gallery.say(`Ranks differ between images: type the class, ${bindings.cap("pick")}.`);
      return;
    }
    const label = data.keys ? data.keys[digit] : bySupport(targets[0][1], data.classes.length)[(Number(digit) + 9) % 10];
    if (label !== undefined) this.pick(targets, label);
    else this.gallery.say(`There is no class on key ${digit}.`);
  }

  // One entry an image. Several are one step in the log.
  decide(targets, action, labelOf) {
    const { gallery } = this;
    const { data, selection, log } = gallery;
    const entries = targets.map(([position, item]) => ({
      id: item.id, action, label: labelOf(item), run: data.run, score: item.score, suggested: item.suggested,
      queue: data.queue, position,
    }));
    gallery.speak(this.words(entries));
    for (const [position] of targets) selection.drop(position);
    // The focus moves first: the message to the server tells which page is in view.
    gallery.position = entries.length > 1 ? this.after(entries) : Math.min(targets[0][0] + 1, data.total);
    if (entries.length > 1) {
      gallery.say(`${this.words(entries)} ${gallery.bindings.cap("undo")} takes all of it back.`);
      log.addStep(entries);
    } else log.add(...entries);
    gallery.focus(gallery.position);
  }

  words(entries) {
    const { classes } = this.gallery.data;
    const [{ action, label, id }] = entries;
    const word = ACTION_WORDS[action][0].toUpperCase() + ACTION_WORDS[action].slice(1);
    const one = action === "skip" || entries.some((entry) => entry.label !== label) ? "" : ` as ${classes[label]}`;
    return entries.length > 1 ? `${word}${one}: ${entries.length} images.` : `${word}${one}: ${id}.`;
  }

  // The first image of the page that is still undecided, or the next page.
  after(entries) {
    const decided = new Set(entries.map((entry) => entry.position));
    const open = this.gallery.pages.inView().find(([at, { id }]) => !decided.has(at) && !this.gallery.state(id).action);
    if (open) return open[0];
    return Math.min((this.gallery.page + 1) * this.gallery.data.pageSize, this.gallery.data.total);
  }

  // Takes back the last step: one decision, or all of a bulk step.
  undo() {
    const { gallery } = this;
    const history = gallery.history();
    const last = history.at(-1);
    if (!last) {
      gallery.say("Nothing to undo.");
      return;
    }
    const [, , step] = last;
    const taken = step ? history.filter((entry) => entry[2] === step) : [last];
    const entries = taken.map(([id]) => ({ id, action: "undo", label: null, run: gallery.data.run, score: null, suggested: null }));
    const places = taken.map(([, position]) => position).filter((position) => position >= 0);
    const words = `Undone: ${taken.length > 1 ? `${taken.length} images` : taken[0][0]}`;
    gallery.say(places.length ? words : `${words} (not in this queue)`);
    gallery.speak(`${words}.`);
    if (places.length) gallery.position = Math.min(...places);
    gallery.log.add(...entries);
    if (places.length) gallery.focus(gallery.position);
  }
}
