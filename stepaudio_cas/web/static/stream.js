// Server-sent events, read with fetch because EventSource cannot send the token.

import { headers, url } from "./api.js";

const SILENT = 45_000;
const LONGEST = 30_000;

/** Yield {type, data, id} of a text/event-stream as its text arrives. */
export class Parser {
  constructor() {
    this.rest = "";
  }

  *feed(text) {
    const blocks = (this.rest + text).split(/\r?\n\r?\n/);
    this.rest = blocks.pop();
    for (const block of blocks) {
      const event = { type: "message", data: "", id: "" };
      for (const line of block.split(/\r?\n/)) {
        const [, name, value] = /^(\w+): ?(.*)$/.exec(line) || [];
        if (name === "event") event.type = value;
        else if (name === "id") event.id = value;
        else if (name === "data") event.data += value;
      }
      if (event.data) yield event;
    }
  }
}

/** Listens for as long as the page is open; after a break it goes on where it was. */
export class Stream {
  constructor(path, { onevent, onstate }) {
    this.path = path;
    this.onevent = onevent;
    this.onstate = onstate;
    this.last = "";
    this.pause = 1000;
    this.controller = null;
    this.anew = false;
    this.run();
  }

  /** Begin anew: with another token, or at once instead of after a pause. */
  restart() {
    this.pause = 0;
    this.anew = true;
    if (this.controller) this.controller.abort();
    if (this.wake) this.wake();
  }

  async run() {
    for (;;) {
      let why = "the line was cut";
      try {
        await this.listen();
      } catch (error) {
        why = error.name === "AbortError" ? why : error.message;
      }
      if (!this.anew) this.onstate("waiting", why);
      this.anew = false;
      await new Promise((resolve) => {
        this.wake = resolve;
        setTimeout(resolve, this.pause);
      });
      this.pause = Math.min(Math.max(this.pause * 2, 1000), LONGEST);
    }
  }

  async listen() {
    this.controller = new AbortController();
    let watch = 0;
    const alive = () => {
      clearTimeout(watch);
      watch = setTimeout(() => this.controller.abort(), SILENT);
    };
    alive();
    try {
      const given = headers(this.last ? { "Last-Event-ID": this.last } : {});
      const response = await fetch(url(this.path), {
        headers: given, credentials: "omit", cache: "no-store", signal: this.controller.signal,
      });
      if (!response.ok) {
        throw new Error(response.status === 401 ? "the token is needed" : `the server answers ${response.status}`);
      }
      this.onstate("open", "");
      this.pause = 1000;
      const parser = new Parser();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        alive();
        for (const event of parser.feed(value)) this.take(event);
      }
    } finally {
      clearTimeout(watch);
    }
  }

  take(event) {
    if (event.id) this.last = event.id;
    try {
      this.onevent(event.type, JSON.parse(event.data));
    } catch (error) {
      console.error(error);
    }
  }
}
