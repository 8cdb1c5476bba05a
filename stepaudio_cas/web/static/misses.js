// Why a call was encoded although something like it is kept.

import { get } from "./api.js";
import { $, Table, h, keyed, put, setText, since } from "./dom.js";
import { called } from "./names.js";
import { at, seconds, some } from "./units.js";

const SHOWN = 10;

const plain = (value) => (value === null || value === undefined ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value));

function differences(found) {
  if (!found.length) return null;
  const holder = h("div");
  new Table(holder, [
    { name: "What", class: "wrap", cell: (one) => `${one.part} ${one.name || ""}`.trim() },
    { name: "Kept", class: "wrap", cell: (one) => plain(one.before) },
    { name: "Asked for", class: "wrap", cell: (one) => plain(one.after) },
  ], { label: "Differences", key: (one) => `${one.part} ${one.name}`, empty: "" }).show(found);
  return holder;
}

function why(miss) {
  const said = miss.explained;
  if (!said) return [h("p", { class: "quiet" }, "Being looked into…")];
  const more = [...said.differences, ...said.hints];
  return [
    h("p", { class: "wrap" }, said.text),
    miss.near ? h("details", null,
      h("summary", null, `Compared with ${miss.near}`),
      differences(said.differences),
      said.hints.length ? h("ul", null, said.hints.map((hint) => h("li", { class: "wrap" }, hint.text))) : null,
      more.length ? null : h("p", { class: "quiet" }, "No difference is known.")) : null,
  ];
}

const named = (miss) => ({ ...miss, voice: called(miss.voice, miss.key.slice(0, 12)), near: nearest(miss) });

function nearest({ explained }) {
  const near = explained && explained.nearest;
  return near ? called(near.voice, near.key.slice(0, 12)) : null;
}

function item(miss) {
  return h("li", { class: "miss" },
    h("p", { class: "line" },
      h("strong", { class: "wrap" }, miss.voice),
      h("span", { class: "quiet wrap" }, `${miss.plugin} · encoding took ${seconds(miss.encode_seconds)}`),
      h("span", { class: "quiet" }, since(miss.time))),
    why(miss));
}

export class Misses {
  constructor() {
    this.reasons = {};
  }

  /** Load them; return whether more is known in a moment. */
  async load() {
    const said = await get("api/v1/misses", { limit: SHOWN });
    const where = said.source === "process"
      ? "The last calls of this process that were encoded."
      : "The newest entries of the store: each was a miss of somebody's.";
    const progress = said.explaining ? " They are being looked into." : said.complete ? "" : " The store is large: not all of it was compared.";
    setText($("misses-said"), said.misses.length ? where + progress : "No miss yet.");
    keyed($("miss-list"), said.misses.map(named), (miss) => miss.key, item);
    this.others(said);
    return said.explaining;
  }

  update(stats) {
    this.reasons = stats.bypasses_by_reason;
    this.kinds = stats.errors_by_kind;
    this.summary();
  }

  summary() {
    const lines = [
      ...Object.entries(this.reasons).map(([reason, count]) => `${some(count, "call", "calls")} passed through: ${reason}`),
      ...Object.entries(this.kinds || {}).map(([kind, count]) => `${some(count, "error", "errors")}: ${kind}`),
      ...(this.last || []),
    ];
    const state = JSON.stringify(lines);
    if (state === this.state) return;
    this.state = state;
    put($("bypasses"), lines.length
      ? h("ul", null, lines.map((line) => h("li", { class: "wrap" }, line)))
      : h("p", { class: "quiet" }, "Every call could be cached, and nothing failed."));
  }

  others({ bypasses, errors }) {
    this.last = [
      ...bypasses.map((one) => `${at(one.time)} ${one.plugin}: ${one.reason}${one.detail ? `, ${one.detail}` : ""}`),
      ...errors.map((one) => `${at(one.time)} ${one.kind}: ${one.text}`),
    ].slice(0, SHOWN);
    this.summary();
  }
}

