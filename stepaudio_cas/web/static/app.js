// Puts the parts together, and asks again every few seconds while somebody looks.

import { get } from "./api.js";
import { askToken, onToken } from "./dialogs.js";
import { $, refreshTimes, setText } from "./dom.js";
import { Events } from "./events.js";
import { Cleaning } from "./gc.js";
import { Misses } from "./misses.js";
import { Overview } from "./overview.js";
import { Prewarm } from "./prewarm.js";
import { Stream } from "./stream.js";
import { Voices } from "./voices.js";

const EVERY = 5000;
const SELDOM = 15_000;
const SOON = 2000;

const overview = new Overview();
const voices = new Voices({ changed: () => refresh() });
const prewarm = new Prewarm();
const misses = new Misses();
const events = new Events();
new Cleaning({ changed: () => { refresh(); voices.search(); } });

let asked = false;

const troubles = new Map();

/** Say what is wrong for as long as it is, once: another question's answer does not end it. */
function trouble(name, error) {
  if (error) troubles.set(name, error);
  else troubles.delete(name);
  const [first] = troubles.values();
  const note = $("trouble");
  note.hidden = !first;
  setText(note, first ? first.text || String(first) : "");
  if (!first) asked = false;
  if (error && error.status === 401 && !asked) {
    asked = true;
    askToken(error.text);
  }
}

async function figures() {
  const stats = await get("api/v1/stats");
  overview.update(stats);
  voices.update(stats);
  misses.update(stats);
}

/** Do something again and again while the page is seen; `work` may return that it should be soon. */
function repeat(name, work, every) {
  let timer = 0;
  let running = false;
  const turn = async () => {
    clearTimeout(timer);
    if (running) return;
    running = true;
    let pause = every;
    try {
      if (!document.hidden) {
        if ((await work()) === true) pause = SOON;
        trouble(name, null);
      }
    } catch (error) {
      trouble(name, error);
    } finally {
      running = false;
    }
    clearTimeout(timer);
    timer = setTimeout(turn, pause);
  };
  turn();
  return turn;
}

const turns = {
  figures: repeat("figures", figures, EVERY),
  prewarm: repeat("prewarm", () => prewarm.load(), EVERY),
  misses: repeat("misses", () => misses.load(), SELDOM),
  health: repeat("health", async () => overview.health(await get("api/v1/health")), SELDOM),
};

function refresh() {
  for (const turn of Object.values(turns)) turn();
}

async function history() {
  try {
    overview.begin(await get("api/v1/history"));
  } catch {
    // The lines then begin now; what is wrong is said by the figures.
  }
}

const TOUCHED = { prewarm: "prewarm", miss: "misses", bypass: "misses", error: "misses" };
const touched = new Set();
let soon = 0;

/** Ask soon for what an event has changed, once for however many there are. */
function follow(kind) {
  touched.add("figures");
  if (kind in TOUCHED) touched.add(TOUCHED[kind]);
  if (soon) return;
  soon = setTimeout(() => {
    soon = 0;
    for (const name of touched) turns[name]();
    touched.clear();
  }, SOON);
}

let cut = false;
const stream = new Stream("api/v1/events", {
  onevent: (kind, said) => {
    events.add(kind, said);
    follow(kind);
  },
  onstate: (state, why) => {
    const live = $("live");
    live.className = `state ${state}`;
    setText(live, state === "open" ? "live" : `not live: ${why}; trying again`);
    if (state !== "open" || cut) refresh();
    cut = state !== "open";
  },
});

onToken(() => {
  history();
  voices.search();
  refresh();
  stream.restart();
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  history();
  refresh();
});

setInterval(refreshTimes, EVERY);
history();
voices.search();
