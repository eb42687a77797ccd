// The browser's half of the decision log: numbered, cumulative, kept until the server says it is on disk.
// Nothing here draws. pages/ui/gallery.py puts this file first and the gallery's other files after it.

const RESEND_MS = 2000;
const MOST_SENT = 1000;

function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// A bulk step is written under a client of its own, the tab's with a number: see fvm_core/review/steps.py.
function isOf(entry, client) {
  return entry.client === client || String(entry.client).startsWith(`${client}-`);
}

function isBulk(client) {
  return /^[0-9a-f]{24}-[1-9][0-9]*$/.test(client);
}

// A copy of what is not yet on disk, so that a tab closed too soon loses nothing. One key per session, reviewer and
// tab: what one person left is sent again only when that person is back.
// Without storage (private mode, full) the log still lives in memory until it is acknowledged.
class Backup {
  constructor(session, reviewer) {
    this.prefix = `fvm-review:${session}:${reviewer ? `${reviewer}:` : ""}`;
  }

  read(client) {
    try {
      const entries = JSON.parse(localStorage.getItem(this.prefix + client) ?? "[]");
      return entries.filter((entry) => isOf(entry, client) && Number.isInteger(entry.seq));
    } catch {
      return [];
    }
  }

  write(client, entries) {
    try {
      if (entries.length) localStorage.setItem(this.prefix + client, JSON.stringify(entries));
      else localStorage.removeItem(this.prefix + client);
    } catch {
      return;
    }
  }

  clients() {
    try {
      const keys = Object.keys(localStorage).filter((key) => key.startsWith(this.prefix));
      return keys.map((key) => key.slice(this.prefix.length)).filter((client) => !client.includes(":"));
    } catch {
      return [];
    }
  }
}

class DecisionQueue {
  // `look()` tells which page is in view and which pages are here; `onChange()` is called when the log changed.
  constructor(session, reviewer, look, onChange) {
    this.session = session;
    this.reviewer = reviewer;
    this.look = look;
    this.onChange = onChange;
    this.client = randomId();
    this.backup = new Backup(session, reviewer);
    // Left over from an earlier tab: sent again under their own numbers.
    this.adopted = this.backup.clients();
    this.pending = this.adopted.flatMap((client) => this.backup.read(client));
    this.seq = 0;
    this.steps = 0;
    this.echo = 0;
    this.told = null;
    this.dirty = false;
    this.inFlight = null;
    this.timer = null;
    this.send = () => {};
  }

  // Decisions by one key press each, or undos: they reach the server in one message, so all or none are on disk.
  add(...entries) {
    for (const entry of entries) {
      this.seq += 1;
      this.pending.push({ ...entry, client: this.client, seq: this.seq });
    }
    this.keep();
  }

  // Decisions by one key press on many images, taken back by one.
  addStep(entries) {
    this.steps += 1;
    const client = `${this.client}-${this.steps}`;
    entries.forEach((entry, at) => this.pending.push({ ...entry, client, seq: at + 1 }));
    this.keep();
  }

  keep() {
    this.backup.write(this.client, this.own());
    this.flush();
    this.onChange();
  }

  own() {
    return this.pending.filter((entry) => isOf(entry, this.client));
  }

  askForPages() {
    this.dirty = true;
    this.flush();
  }

  // One message is under way at a time; the next one carries everything that gathered meanwhile. Sending one for each
  // key would restart the server's run before it could answer.
  flush() {
    if (this.inFlight || (!this.pending.length && !this.dirty)) return;
    this.echo += 1;
    this.dirty = false;
    this.inFlight = this.echo;
    this.told = this.look();
    this.after(RESEND_MS, () => {
      this.inFlight = null;
      this.dirty = true;
      this.onChange();
    });
    this.send("sent", {
      client: this.client,
      session: this.session,
      reviewer: this.reviewer,
      entries: this.pending.slice(0, MOST_SENT),
      view: this.told,
      echo: this.echo,
    });
  }

  after(wait, action) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      action();
      this.flush();
    }, wait);
  }

  // `data.acked` numbers are on disk, or refused for good with a reason.
  settle(data) {
    const open = (entry) => entry.seq > (data.acked?.[entry.client] ?? 0);
    if (!this.pending.every(open)) {
      this.pending = this.pending.filter(open);
      this.backup.write(this.client, this.own());
      for (const client of this.adopted) this.backup.write(client, this.backup.read(client).filter(open));
    }
    const answered = data.client === this.client && data.echo >= (this.inFlight ?? Infinity);
    if (answered) {
      this.inFlight = null;
      clearTimeout(this.timer);
    }
    if (!data.problem) this.flush();
    else if (answered) this.after(RESEND_MS, () => {});
  }

  close() {
    clearTimeout(this.timer);
  }
}
