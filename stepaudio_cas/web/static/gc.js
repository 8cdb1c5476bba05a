// Cleaning up: a plan that is looked at, and then carried out as it stands.

import { post } from "./api.js";
import { allowed, confirmed } from "./dialogs.js";
import { $, Table, h, put, tell } from "./dom.js";
import { atMinute, bytes, number, some } from "./units.js";

const REASONS = {
  age: "unused for too long", model: "of a model not in use", entries: "more entries than wanted", size: "more than the size wanted",
  unreferenced: "nothing refers to it",
};

const STAYS = {
  pinned: ["pinned entry stays", "pinned entries stay"],
  recent: ["entry of the last minute stays", "entries of the last minute stay"],
  newer_version: ["entry of a newer version stays", "entries of a newer version stay"],
  young_objects: ["object that nothing refers to yet stays for now", "objects that nothing refers to yet stay for now"],
};

function totals(sum) {
  return `${some(sum.entries, "entry", "entries")}, ${some(sum.objects, "object", "objects")}, ${bytes(sum.bytes)}`;
}

export class Cleaning {
  constructor({ changed }) {
    this.changed = changed;
    this.form = $("gc-form");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.plan();
    });
  }

  wish() {
    const { max_size, max_age, max_entries, plugin, policy, current } = this.form.elements;
    return {
      max_size: max_size.value.trim() || null,
      max_age: max_age.value.trim() || null,
      max_entries: max_entries.value.trim() ? Number(max_entries.value) : null,
      plugin: plugin.value || null,
      policy: policy.value,
      keep_models: current.checked ? ["current"] : [],
    };
  }

  async plan() {
    const asked = this.wish();
    this.asked = asked;
    $("plan").hidden = true;
    tell($("gc-said"), "Looking at everything…");
    try {
      const found = await allowed(() => post("api/v1/gc", asked));
      if (this.asked !== asked) return;
      if (found === null) {
        tell($("gc-said"), "No plan was made: the token is needed.", "warn");
        return;
      }
      this.show(found);
    } catch (error) {
      tell($("gc-said"), error.text || String(error), "bad");
    }
  }

  show({ plan, expires, summary }) {
    const { found, going, reasons, stay, over } = summary;
    const some_ = going.entries + going.objects + going.bytes + reasons.length > 0;
    tell($("gc-said"), some_ ? `${totals(going)} would go, of ${totals(found)}. Nothing is removed yet.` : `Nothing would go, of ${totals(found)}.`);
    const table = h("div");
    new Table(table, [
      { name: "Reason", cell: (one) => REASONS[one.reason] || one.reason },
      { name: "Model", cell: (one) => (one.model ? h("code", null, one.model.slice(0, 12)) : "–") },
      { name: "Entries", number: true, cell: (one) => number(one.entries) },
      { name: "Objects", number: true, cell: (one) => number(one.objects) },
      { name: "Bytes", number: true, cell: (one) => bytes(one.bytes) },
    ], { label: "What would go, and why", key: (one) => `${one.reason} ${one.model}`, empty: "" }).show(reasons);
    const stays = Object.entries(STAYS).filter(([name]) => stay[name]).map(([name, [one, many]]) => some(stay[name], one, many));
    const short = over && (over.entries || over.bytes);
    if (short) stays.push(`the bounds are not reached: ${[over.entries ? some(over.entries, "entry", "entries") : "", over.bytes ? bytes(over.bytes) : ""].filter(Boolean).join(" and ")} too much`);
    put($("plan"),
      h("h3", null, "The plan"),
      table,
      stays.length ? h("ul", null, stays.map((text) => h("li", null, text))) : null,
      h("p", { class: "row level" },
        some_ ? h("button", { type: "button", class: "danger", onclick: () => this.run(plan, going) }, "Carry it out…") : null,
        h("span", { class: "quiet" }, some_ ? `It holds until ${atMinute(expires)}. What is used until then stays.` : "")));
    $("plan").hidden = false;
  }

  async run(plan, going) {
    const done = await confirmed({
      title: "Carry out the plan?",
      body: h("p", null, `${totals(going)} go. What is needed again is encoded again.`),
      yes: "Remove",
    }, () => post(`api/v1/gc/${plan}/run`, {}));
    if (done === null) return;
    const { removed } = done.summary;
    $("plan").hidden = true;
    this.form.querySelector("[type=submit]").focus();
    const spared = removed.spared ? ` ${some(removed.spared, "entry was", "entries were")} used meanwhile and stayed.` : "";
    const failed = removed.failures ? ` ${some(removed.failures, "file", "files")} could not be removed.` : "";
    tell($("gc-said"), `Done: ${totals(removed)} removed.${spared}${failed}`, failed ? "warn" : "good");
    this.changed();
  }
}
