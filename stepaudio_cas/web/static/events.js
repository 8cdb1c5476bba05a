// What happens, as it happens.

import { $, h, setText } from "./dom.js";
import { called } from "./names.js";
import { at, number, seconds, some } from "./units.js";

const MOST = 200;
const QUIET = 30_000;
const NAMES = { hit: "hit", miss: "miss", bypass: "bypass", error: "error", prewarm: "prewarm", counts: "counts", skipped: "left out" };
const MANY = { hit: "hits", miss: "misses", bypass: "bypasses", error: "errors", prewarm: "of prewarm", skipped: "gaps" };

const named = (said) => called(said.voice, said.key && said.key.slice(0, 12));

function counted(said) {
  const parts = [["hit", "hits"], ["miss", "misses"], ["bypass", "bypasses"], ["error", "errors"]]
    .filter(([, name]) => said[name]).map(([one, name]) => some(said[name], one, name));
  const saved = said.seconds_saved > 0 ? `, ${seconds(said.seconds_saved)} saved` : "";
  return `${parts.join(", ") || "nothing"}${saved}, by all processes`;
}

const TEXTS = {
  hit: (said) => `${named(said)} · ${said.plugin} · from ${said.tier} in ${seconds(said.seconds)}, saved ${seconds(said.saved)}`,
  miss: (said) => `${named(said)} · ${said.plugin} · encoded in ${seconds(said.seconds)}${said.ours === false ? ", by another process" : ""}`,
  bypass: (said) => `${said.plugin} · ${said.reason}${said.detail ? ` · ${said.detail}` : ""}`,
  error: (said) => `${said.kind} · ${said.text}`,
  prewarm: (said) => `${said.folder} · ${said.changed}`,
  counts: counted,
  skipped: (said) => (said.number === null ? "events from before this server began" : `${number(said.number)} events`),
};

export class Events {
  constructor() {
    this.list = $("event-list");
    this.paused = false;
    this.kept = [];
    this.fresh = {};
    this.told = 0;
    this.timer = 0;
    $("pause").addEventListener("click", () => this.toggle());
    $("empty").addEventListener("click", () => {
      this.list.replaceChildren();
      this.say();
    });
    for (const box of $("kinds").querySelectorAll("input")) {
      box.addEventListener("change", () => this.filter());
    }
    this.filter();
    this.say();
    this.told = 0;
  }

  toggle() {
    this.paused = !this.paused;
    $("pause").classList.toggle("on", this.paused);
    setText($("pause"), this.paused ? "Go on" : "Pause");
    // What is kept back is counted on the screen; nobody wants to hear each number.
    $("events-said").setAttribute("aria-live", this.paused ? "off" : "polite");
    if (!this.paused) {
      setText($("events-said"), "");
      for (const [kind, said] of this.kept.splice(0)) this.draw(kind, said);
    }
    this.say();
  }

  filter() {
    const off = [...$("kinds").querySelectorAll("input")].filter((box) => !box.checked).map((box) => box.value);
    for (const kind of Object.keys(NAMES)) this.list.classList.toggle(`no-${kind}`, off.includes(kind));
  }

  add(kind, said) {
    if (!(kind in TEXTS)) return;
    this.fresh[kind] = (this.fresh[kind] || 0) + 1;
    if (this.paused) {
      this.kept.push([kind, said]);
      this.kept.splice(0, this.kept.length - MOST);
    } else {
      this.draw(kind, said);
    }
    if (this.paused) this.say();
    else if (!this.timer) this.timer = setTimeout(() => this.say(), Math.max(this.told + QUIET - Date.now(), 0));
  }

  draw(kind, said) {
    this.list.prepend(h("li", { class: `event is-${kind}` },
      h("time", null, at(said.time)), h("span", { class: "kind" }, NAMES[kind]), h("span", { class: "wrap" }, TEXTS[kind](said))));
    while (this.list.children.length > MOST) this.list.lastElementChild.remove();
  }

  /** Sum up, now and then: a screen reader cannot say each. */
  say() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.told = Date.now();
    if (this.paused) {
      setText($("events-said"), `Paused; ${number(this.kept.length)} kept back.`);
      return;
    }
    const news = Object.entries(this.fresh).filter(([kind]) => kind in MANY).map(([kind, count]) => some(count, NAMES[kind], MANY[kind]));
    this.fresh = {};
    if (news.length) setText($("events-said"), `New: ${news.join(", ")}.`);
    else if (!this.list.children.length) setText($("events-said"), "Nothing has happened yet.");
  }
}
