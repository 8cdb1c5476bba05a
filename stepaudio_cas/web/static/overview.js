// The figures, the lines over time, the tiers with their breakers, and health.

import { Chart, bins } from "./charts.js";
import { $, Table, h, keyed, mark, put, setText } from "./dom.js";
import { called } from "./names.js";
import { ago, at, bytes, exact, number, seconds, share, some } from "./units.js";

const POINTS = 720;

const BREAKERS = {
  closed: ["good", "closed, in use"],
  open: ["bad", "open, left alone"],
  "half-open": ["warn", "half-open, being tried"],
};

function breaker(state) {
  if (!state) return "–";
  const [kind, text] = BREAKERS[state] || ["warn", state];
  return mark(kind, text);
}

/** How full: a bar with the words beside it. */
export function meter(value, limit, label) {
  if (!limit) return null;
  const part = Math.min(value / limit, 1);
  const bar = h("span", { class: part > 0.9 ? "full" : null });
  bar.style.width = `${(part * 100).toFixed(1)}%`;
  return h("span", {
    class: "meter", role: "meter", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100,
    "aria-valuenow": Math.round(part * 100), "aria-valuetext": `${bytes(value)} of ${bytes(limit)}`,
  }, bar);
}

function figure(name, value, text, more) {
  return h("div", null, h("dt", null, name), h("dd", null, h("strong", null, value), more, h("span", { class: "quiet" }, text)));
}

function latency(stats) {
  const here = stats.process && stats.process.lookup_seconds;
  if (here && here.p50 !== null) return [seconds(here.p50), `half of them; 99 % within ${seconds(here.p99)}, in this process`];
  return [seconds(stats.seconds_per_hit), stats.hits ? "on average" : "no hit yet"];
}

function figures(stats) {
  const [took, how] = latency(stats);
  const held = some(stats.entries, "entry", "entries");
  const away = stats.error ? "the store does not answer" : "";
  const full = stats.limit ? `of ${bytes(stats.limit)}, ${share(stats.bytes / stats.limit)} full; ${held}` : `no limit; ${held}`;
  return [
    figure("Hit rate", share(stats.hit_rate), `${some(stats.hits, "hit", "hits")}, ${some(stats.misses, "miss", "misses")}`),
    figure("Time saved", seconds(stats.seconds_saved), `${seconds(stats.seconds_encoding)} went into encoding`),
    figure("A hit takes", took, how),
    away ? figure("Stored", "–", away)
      : figure("Stored", bytes(stats.bytes), full, meter(stats.bytes, stats.limit, "size against the limit")),
  ];
}

export class Overview {
  constructor() {
    this.points = [];
    this.stats = null;
    const charts = $("charts");
    this.charts = [
      new Chart(charts, {
        title: "Hit rate", show: share, most: 1, none: "No call in this time.",
        value: (bin) => (bin.hits + bin.misses ? bin.hits / (bin.hits + bin.misses) : null),
      }),
      new Chart(charts, {
        title: "Time a hit takes", show: seconds, none: "No hit in this time.",
        value: (bin) => (bin.hits ? bin.lookup / bin.hits : null),
      }),
      new Chart(charts, {
        title: "Time saved", show: seconds, none: "Nothing in this time.", sum: true,
        value: (bin) => bin.total,
      }),
    ];
    $("range").addEventListener("change", () => this.draw());
    this.plugins = new Table($("plugins"), [
      { name: "Plugin", cell: (one) => one.name, class: "wrap" },
      { name: "Hits", number: true, cell: (one) => number(one.hits) },
      { name: "Misses", number: true, cell: (one) => number(one.misses) },
      { name: "Hit rate", number: true, cell: (one) => share(one.hits + one.misses ? one.hits / (one.hits + one.misses) : null) },
      { name: "Saved", number: true, cell: (one) => seconds(one.seconds_saved) },
    ], { labelledby: "plugins-title", key: (one) => one.name, empty: "No call has been counted yet." });
    this.top = new Table($("top"), [
      { name: "Voice", class: "wrap", cell: (one) => [one.name, h("span", { class: "quiet" }, ` ${one.plugin}`)] },
      { name: "Hits", number: true, cell: (one) => number(one.hits) },
      { name: "Saved", number: true, cell: (one) => seconds(one.seconds_saved) },
    ], { labelledby: "top-title", key: (one) => one.key, small: true, empty: "No voice has been used again yet." });
    this.tiers = new Table($("tier-list"), [
      { name: "Tier", cell: (one) => one.name },
      { name: "Store", cell: (one) => (one.error ? [one.store, " ", mark("bad", one.error)] : one.store || "in this process"), class: "wrap" },
      { name: "Entries", number: true, cell: (one) => number(one.entries) },
      { name: "Size", number: true, cell: (one) => bytes(one.bytes) },
      { name: "Limit", number: true, cell: (one) => (one.limit ? [bytes(one.limit), meter(one.bytes, one.limit, `size of ${one.name} against its limit`)] : "none") },
      { name: "Hits", number: true, cell: (one) => number(one.hits) },
      { name: "Reading", cell: (one) => breaker(one.reading) },
      { name: "Writing", cell: (one) => (one.writable === false ? "not allowed" : breaker(one.writing)) },
    ], { labelledby: "tiers-title", key: (one) => one.name, empty: "No tier." });
  }

  begin(history) {
    this.points = history.points;
    this.draw();
  }

  update(stats) {
    this.stats = stats;
    setText($("store"), `${stats.store}${stats.mode === "rw" ? "" : ` (mode ${stats.mode})`}`);
    document.title = stats.hit_rate === null ? "stepaudio-cas" : `${share(stats.hit_rate)} hits · stepaudio-cas`;
    const state = JSON.stringify([stats.hits, stats.misses, stats.bytes, stats.limit, stats.entries, stats.seconds_saved, stats.error, stats.process]);
    if (state !== this.state) put($("figures"), figures(stats));
    this.state = state;
    this.remember(stats);
    this.draw();
    this.plugins.show(Object.entries(stats.by_plugin).map(([name, counts]) => ({ name, ...counts })));
    this.top.show(stats.top_voices.slice(0, 5).map((one) => ({ ...one, name: called(one.name, one.key.slice(0, 12)) })));
    this.tiers.show(this.tierRows(stats));
    setText($("tier-note"), stats.process
      ? `As process ${stats.process.pid} finds them, in which this server runs.`
      : "Breakers are in each host's own process: where a host serves this page, their state is shown.");
    const since = stats.since ? `Counted since ${exact(stats.since)}` : "Nothing counted yet";
    const who = stats.processes ? `, by ${some(stats.processes, "process", "processes")} on ${stats.machines.join(", ")}` : "";
    setText($("foot"), `stepaudio-cas ${stats.version}. ${since}${who}. Figures of ${at(stats.time)}${
      stats.sizes_at && stats.time - stats.sizes_at > 60 ? `, sizes ${ago(stats.sizes_at)}` : ""}.`);
  }

  /** Take the newest figures as a point, as the server does. */
  remember(stats) {
    const last = this.points[this.points.length - 1];
    if (last && stats.time <= last.time) return;
    this.points.push({
      time: stats.time, hits: stats.hits, misses: stats.misses, seconds_saved: stats.seconds_saved,
      seconds_lookup: stats.counters["seconds.lookup"] || 0,
    });
    if (this.points.length > POINTS) this.points.shift();
  }

  draw() {
    const found = bins(this.points, Number($("range").value));
    for (const chart of this.charts) chart.update(found);
  }

  tierRows(stats) {
    const known = new Map(((stats.process && stats.process.tiers) || []).map((tier) => [tier.name, tier]));
    const memory = stats.process && stats.process.memory;
    return stats.tiers.map((tier) => {
      const { reading, writing, writable } = known.get(tier.name) || {};
      const more = tier.name === "memory" && memory ? { ...memory } : {};
      if (tier.error) Object.assign(more, { entries: null, bytes: null });
      return { ...tier, ...more, reading, writing, writable };
    });
  }

  health(said) {
    keyed($("health"), said.checks, (check) => check.name, (check) =>
      h("li", { class: "wrap" }, mark(check.ok ? "good" : "bad", check.name),
        h("span", { class: "quiet" }, ` ${check.ok ? "in order" : "in trouble"}: ${check.detail}`)));
  }
}
