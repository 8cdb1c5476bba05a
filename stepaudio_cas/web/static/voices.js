// The entries of the store: searching, looking at one, removing one.

import { get, post } from "./api.js";
import { allowed, confirmed } from "./dialogs.js";
import { $, Table, h, mark, put, setText, since, tell } from "./dom.js";
import { called } from "./names.js";
import { player } from "./player.js";
import { bytes, exact, number, seconds, some } from "./units.js";

const PAGE = 12;
const MOST = 500;
const SETTLED = 20_000;

const nameOf = (entry) => called(entry.voice, entry.label, entry.key.slice(0, 12));

const what = (entry) => {
  const [plugin, schema] = [entry.plugin || "", entry.schema || ""];
  return schema.startsWith(plugin) ? schema || "–" : [plugin, schema].filter(Boolean).join(" · ");
};

/** The outline of a value, in a line: how many tokens, what shape. */
function outline(content) {
  if (content === null || content === undefined) return "–";
  if (typeof content !== "object") return String(content);
  if (content.tokens && typeof content.tokens === "object") {
    return Object.entries(content.tokens).map(([name, count]) => `${name} ${number(count)}`).join(", ");
  }
  return JSON.stringify(content);
}

function listed(pairs) {
  return h("dl", { class: "pairs" }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== "–")
    .map(([name, value]) => h("div", null, h("dt", null, name), h("dd", { class: "wrap" }, value))));
}

export class Voices {
  constructor({ changed }) {
    this.changed = changed;
    this.entries = [];
    this.cursor = null;
    this.held = null;
    this.failed = false;
    this.loaded = 0;
    this.table = new Table($("voice-list"), [
      { name: "Voice", class: "wrap voice", cell: (one) => this.name(one) },
      { name: "What", class: "wrap", cell: what },
      { name: "Recording", number: true, cell: (one) => seconds(one.audio_seconds) },
      { name: "Encoding took", number: true, cell: (one) => seconds(one.encode_seconds) },
      { name: "Size", number: true, cell: (one) => bytes(one.size) },
      { name: "Made", cell: (one) => since(one.created) },
      { name: "Last used", cell: (one) => since(one.used) },
      { name: "Actions", silent: true, class: "actions", cell: (one) => this.actions(one) },
    ], { labelledby: "voices-title", key: (one) => one.key, empty: "No entry is like this." });
    this.form = $("search");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.search();
    });
    for (const name of ["plugin", "sort", "pinned"]) {
      this.form.elements[name].addEventListener("change", () => this.search());
    }
    $("more").addEventListener("click", () => this.more());
  }

  name(entry) {
    return [
      h("button", { type: "button", class: "link wrap", onclick: () => this.open(entry.key) }, nameOf(entry)),
      entry.pinned ? h("span", { class: "tag" }, "pinned") : null,
      entry.damage ? mark("bad", `damaged: ${entry.damage}`) : null,
    ];
  }

  actions(entry) {
    const label = `Remove ${nameOf(entry)}, ${entry.key.slice(0, 8)}`;
    return h("button", { type: "button", "aria-label": label, onclick: () => this.remove(entry) }, "Remove…");
  }

  query(cursor) {
    const { q, plugin, sort, pinned } = this.form.elements;
    return { q: q.value.trim(), plugin: plugin.value, sort: sort.value, pinned: pinned.checked, limit: PAGE, cursor };
  }

  async search() {
    this.entries = [];
    await this.load(null);
  }

  /** With an order by key there are pages; otherwise more of the same is asked for. */
  async more() {
    const before = this.entries.length;
    if (this.cursor) await this.load(this.cursor);
    else await this.load(null, this.entries.length + PAGE);
    const rows = this.table.body.children;
    const row = rows[before] || ($("more").hidden ? rows[rows.length - 1] : null);
    if (row) row.querySelector("button").focus();
  }

  async load(cursor, limit = PAGE) {
    const asked = { ...this.query(cursor), limit: Math.min(limit, MOST) };
    this.asked = asked;
    let found;
    try {
      found = await get("api/v1/entries", asked);
    } catch (error) {
      if (this.asked !== asked) return;
      this.failed = true;
      tell($("voices-said"), error.text || String(error), "bad");
      return;
    }
    if (this.asked !== asked) return;
    this.failed = false;
    this.entries = cursor ? [...this.entries, ...found.entries] : found.entries;
    this.cursor = found.cursor;
    this.table.show(this.entries);
    const filled = asked.sort !== "key" && found.entries.length === asked.limit;
    $("more").hidden = !(found.cursor || (filled && asked.limit < MOST));
    setText(this.table.empty, asked.q || asked.plugin || asked.pinned ? "No entry is like this." : "No entry is kept yet.");
    const partly = found.complete ? "" : ` Only ${number(found.looked_at)} were looked at.`;
    const rest = filled && asked.limit === MOST ? " There may be more: order them by key to see all, or search." : "";
    tell($("voices-said"), `${some(this.entries.length, "entry", "entries")} shown.${partly}${rest}`, "");
    $("voices-said").className = "quiet";
    this.loaded = Date.now();
  }

  /** Say so when the store has changed under the list, and leave the list to the reader. */
  update(stats) {
    this.plugins(Object.keys(stats.by_plugin));
    if (this.failed && !stats.error) {
      this.failed = false;
      this.held = stats.entries;
      this.search();
      return;
    }
    // Figures may be older than the list; what was there when it was made is no news.
    const settled = Date.now() - this.loaded > SETTLED;
    if (this.held === null || (this.entries.length && !settled)) this.held = stats.entries;
    if (this.held === stats.entries) return;
    if (!this.entries.length) {
      this.search();
      return;
    }
    // Without the number, which is above: it is said aloud once, not each time that it grows.
    setText($("voices-said"), "The store holds something else by now; search again to see it.");
  }

  plugins(names) {
    for (const form of [this.form, $("gc-form")]) {
      const select = form.elements.plugin;
      const known = new Set([...select.options].map((option) => option.value));
      for (const name of names.filter((one) => one && !known.has(one))) select.append(h("option", { value: name }, name));
    }
  }

  async open(key) {
    const dialog = $("entry-dialog");
    this.opened = key;
    setText($("entry-title"), key.slice(0, 12));
    put($("entry"), h("p", { role: "status" }, "Looking…"));
    dialog.showModal();
    try {
      const found = await get(`api/v1/entry/${key}`);
      if (this.opened === key) this.detail(found);
    } catch (error) {
      if (this.opened === key) put($("entry"), h("p", { class: "note bad", role: "alert" }, error.text));
    }
  }

  detail(entry) {
    setText($("entry-title"), nameOf(entry));
    const producer = entry.producer || {};
    put($("entry"),
      entry.damage ? h("p", { class: "note bad" }, `Damaged: ${entry.damage_detail || entry.damage}`) : null,
      listed([
        ["Key", h("code", { class: "wrap" }, entry.key)],
        ["What", what(entry)],
        ["Label", entry.label],
        ["Tokens", outline(entry.content)],
        ["Recording", seconds(entry.audio_seconds)],
        ["Encoding took", seconds(entry.encode_seconds)],
        ["Size", `${bytes(entry.size)}${entry.object_size ? `, its object ${bytes(entry.object_size)}` : ""}`],
        ["Made", entry.created ? `${exact(entry.created)}${producer.host ? ` on ${producer.host}` : ""}` : "–"],
        ["Last used", exact(entry.used)],
        ["Pinned", entry.pin ? `since ${exact(entry.pin.since)}${entry.pin.label ? ` as ${entry.pin.label}` : ""}` : "no"],
        ["Playing", entry.recording ? player(entry.recording, nameOf(entry))
          : "nothing: the store keeps what came of a recording, never the recording"],
      ]),
      h("h3", { id: "made-title" }, "What the key is made of"),
      this.parts(entry.made_of || []),
      h("p", { class: "row end" },
        h("button", { type: "button", class: "danger", onclick: () => this.remove(entry) }, "Remove…")));
  }

  parts(parts) {
    const holder = h("div");
    new Table(holder, [
      { name: "Name", cell: (one) => one.name || "–", class: "wrap" },
      { name: "Part", cell: (one) => one.part },
      { name: "Value", cell: (one) => one.text, class: "wrap" },
    ], { labelledby: "made-title", key: (one) => `${one.part} ${one.name}`, empty: "This is not known of it." }).show(parts);
    return holder;
  }

  /** Ask the server first what would go; it is asked again, in earnest, from the dialog. */
  async remove(entry) {
    const wish = { keys: [entry.key], pinned_too: false };
    let plan;
    try {
      plan = await allowed(() => post("api/v1/rm", { ...wish, dry_run: true }));
    } catch (error) {
      tell($("voices-said"), error.text, "bad");
      return;
    }
    if (plan === null) return;
    const pinned = plan.pinned ? h("label", { class: "check" },
      h("input", { type: "checkbox", onchange: (event) => { wish.pinned_too = event.target.checked; } }),
      " remove it although it is pinned") : null;
    const freed = plan.pinned ? "It is pinned, and stays unless you say otherwise." : `This frees ${bytes(plan.bytes)}. The voice is encoded anew when it is next used.`;
    const gone = await confirmed(
      { title: `Remove ${nameOf(entry)}?`, body: [h("p", null, freed), pinned], yes: "Remove" },
      () => post("api/v1/rm", { ...wish, dry_run: false }));
    if (gone === null) return;
    if ($("entry-dialog").open) $("entry-dialog").close();
    await this.search();
    tell($("voices-said"), gone.entries ? `${nameOf(entry)} is removed; ${bytes(gone.bytes)} are free.` : `${nameOf(entry)} is pinned and was not removed.`,
      gone.entries ? "good" : "warn");
    this.form.elements.q.focus();
    this.changed();
  }
}
