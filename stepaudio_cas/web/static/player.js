// Hearing a recording that was sent to this server; the token is needed for it.

import { recording } from "./api.js";
import { allowed } from "./dialogs.js";
import { h, put } from "./dom.js";

/** A button that becomes a player. */
export function player(id, name) {
  const holder = h("span", { class: "player" });
  const button = h("button", { type: "button", "aria-label": `Play ${name}`, onclick: () => play() }, "Play");
  const fail = (text) => {
    const focused = holder.contains(document.activeElement);
    put(holder, button, h("span", { class: "quiet", role: "alert" }, ` ${text}`));
    if (focused) button.focus();
  };
  const play = async () => {
    try {
      const blob = await allowed(() => recording(id));
      if (blob === null) return;
      const heard = URL.createObjectURL(blob);
      const audio = h("audio", { controls: true, src: heard, "aria-label": `The recording ${name}` });
      audio.addEventListener("error", () => {
        URL.revokeObjectURL(heard);
        fail("This browser cannot play it.");
      });
      put(holder, audio);
      audio.focus();
      await audio.play();
    } catch (error) {
      if (error.text) fail(error.text);
    }
  };
  put(holder, button);
  return holder;
}
