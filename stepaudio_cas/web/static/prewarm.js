// Voices that are encoded before somebody asks: what was sent, who watches, what is in hand.

import { get, post, remove, send } from "./api.js";
import { allowed, confirmed } from "./dialogs.js";
import { $, Table, h, keyed, mark, setText, since, tell } from "./dom.js";
import { callSent, called } from "./names.js";
import { player } from "./player.js";
import { bytes, number, seconds } from "./units.js";

const STATES = {
  idle: ["good", "idle"], busy: ["busy", "at work"], troubled: ["warn", "troubled"],
  stopped: ["off", "stopped"], stale: ["warn", "silent"], dead: ["bad", "died"],
};
const SENT = { queued: ["busy", "waiting"], kept: ["good", "kept"], failed: ["bad", "failed"] };
const KNOWN = ["wav", "flac", "mp3", "ogg", "m4a"];
const ORDER = ["waiting", "settling", "working", "done", "failed"];

const MOST = 20;

const base = (path) => called(path.split("/").pop());

function counts(voices) {
  const names = [...ORDER, ...Object.keys(voices).filter((name) => !ORDER.includes(name))];
  return h("dl", { class: "counts" }, names.filter((name) => name in voices)
    .map((name) => h("div", null, h("dt", null, name), h("dd", null, number(voices[name])))));
}

function folder(one) {
  const pace = [one.rate ? `${number(one.rate * 3600)} an hour` : "", one.seconds_left ? `about ${seconds(one.seconds_left)} left` : ""];
  return h("article", { class: "card" },
    h("h4", { class: "wrap" }, one.folder),
    h("p", null, mark(...(STATES[one.status] || ["warn", one.status])), h("span", { class: "quiet" }, ` ${pace.filter(Boolean).join(", ")}`)),
    one.trouble ? h("p", { class: "note warn" }, one.trouble) : null,
    counts(one.voices || {}),
    (one.in_hand || []).length ? h("p", { class: "wrap" }, "In hand: ", one.in_hand.map((hand) => `${base(hand.voice)} (${seconds(hand.seconds)})`).join(", ")) : null,
    (one.failures || []).length ? h("ul", null, one.failures.map((failure) =>
      h("li", { class: "wrap" }, h("strong", null, base(failure.voice)), `: ${failure.why}`,
        failure.again_in === null || failure.again_in === undefined ? "" : `; again in ${seconds(failure.again_in)}`)),
      one.failures_not_named ? h("li", null, `and ${number(one.failures_not_named)} more`) : null) : null);
}

export class Prewarm {
  constructor() {
    this.spool = null;
    this.most = MOST;
    this.players = new Map();
    this.sent = new Table($("sent"), [
      { name: "Voice", class: "wrap", cell: (one) => called(one.name) },
      { name: "Size", number: true, cell: (one) => bytes(one.bytes) },
      { name: "Sent", cell: (one) => since(one.uploaded) },
      { name: "State", class: "wrap", cell: (one) => [mark(...(SENT[one.state] || ["warn", one.state])), one.state === "failed" ? ` ${one.why}` : ""] },
      { name: "Actions", silent: true, class: "actions", cell: (one) => this.button(one) },
    ], { labelledby: "sent-title", key: (one) => one.id, empty: "No voice was sent here." });
    this.upload = $("upload");
    this.upload.elements.file.addEventListener("change", () => this.preview());
    this.upload.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    $("sent-more").addEventListener("click", () => this.more());
    $("again").addEventListener("submit", (event) => {
      event.preventDefault();
      this.again();
    });
  }

  async load() {
    const said = await get("api/v1/prewarm");
    this.spool = said.spool;
    $("prewarm-note").hidden = !said.why_not;
    setText($("prewarm-note"), said.why_not ? `Voices that are sent would not be encoded: ${said.why_not}.` : "");
    keyed($("watched"), said.watched.map(({ beat, silent, ...one }) => one), (one) => one.folder, folder);
    if (!said.watched.length) {
      $("watched").replaceChildren(h("p", { class: "quiet" }, "No folder is watched. ", h("code", null, "cas-tool watch FOLDER"), " begins it."));
    }
    const spool = said.spool;
    callSent(spool ? spool.voices : []);
    this.list();
    if (spool) {
      this.upload.elements.file.accept = spool.suffixes.join(",");
      const known = KNOWN.filter((one) => spool.suffixes.includes(`.${one}`));
      const more = spool.suffixes.length - known.length;
      setText($("upload-limits"), `${known.join(", ")}${more ? ` and ${number(more)} other kinds` : ""}, up to ${bytes(spool.max_file_bytes)}. ${bytes(spool.used_bytes)} of ${bytes(spool.max_bytes)} are taken.`);
    }
  }

  list() {
    const voices = this.spool ? this.spool.voices : [];
    const here = new Set(voices.map((one) => one.id));
    for (const id of this.players.keys()) if (!here.has(id)) this.players.delete(id);
    this.sent.show(voices.slice(0, this.most));
    const left = voices.length - this.most;
    $("sent-more").hidden = left <= 0;
    setText($("sent-more"), `Show more, of ${number(left)}`);
  }

  more() {
    const before = this.most;
    this.most += MOST;
    this.list();
    const row = this.sent.body.children[before];
    if (row) row.querySelector("button").focus();
  }

  /** What is heard goes on when the line that it stands in is written anew. */
  button(one) {
    if (!this.players.has(one.id)) this.players.set(one.id, player(one.id, called(one.name)));
    return [
      this.players.get(one.id),
      h("button", { type: "button", "aria-label": `Remove ${called(one.name)}`, onclick: () => this.remove(one) }, "Remove…"),
    ];
  }

  /** Play what was chosen, from this machine: nothing is sent for it. */
  preview() {
    const audio = $("preview-audio");
    if (this.heard) URL.revokeObjectURL(this.heard);
    const [file] = this.upload.elements.file.files;
    this.heard = file ? URL.createObjectURL(file) : "";
    $("preview").hidden = !file;
    if (file) audio.src = this.heard;
    else audio.removeAttribute("src");
  }

  async send() {
    const said = $("upload-said");
    const [file] = this.upload.elements.file.files;
    if (!file) return;
    if (this.spool && file.size > this.spool.max_file_bytes) {
      tell(said, `${called(file.name)} has ${bytes(file.size)}, more than ${bytes(this.spool.max_file_bytes)}.`, "bad");
      return;
    }
    tell(said, `Sending ${called(file.name)}…`);
    await this.change(said, () => send(`api/v1/prewarm/upload?name=${encodeURIComponent(file.name)}`, file), (sent) => {
      this.upload.reset();
      this.preview();
      return `${called(sent.name)} was sent, ${bytes(sent.bytes)}; it waits to be encoded.`;
    });
  }

  async again() {
    const field = $("again").elements.voice;
    await this.change($("again-said"), () => post("api/v1/prewarm", { voice: field.value.trim() }), (found) => {
      $("again").reset();
      return `${called(found.voice)} in ${found.folder} is looked at again${found.why ? `; it failed before: ${found.why}` : ""}.`;
    });
  }

  async remove(one) {
    const gone = await confirmed({
      title: `Remove ${called(one.name)}?`,
      body: h("p", null, "The recording goes from the server. What was encoded of it stays until a clean-up, and is no longer pinned."),
      yes: "Remove",
    }, () => remove(`api/v1/prewarm/upload/${one.id}`));
    if (gone === null) return;
    tell($("sent-said"), `${called(one.name)} is removed.`, "good");
    await this.load();
    this.upload.elements.file.focus();
  }

  async change(said, work, done) {
    if (this.busy) return;
    this.busy = true;
    try {
      const found = await allowed(work);
      if (found === null) {
        tell(said, "Nothing was sent: the token is needed.", "warn");
        return;
      }
      tell(said, done(found), "good");
      await this.load();
    } catch (error) {
      tell(said, error.text || String(error), "bad");
    } finally {
      this.busy = false;
    }
  }
}

