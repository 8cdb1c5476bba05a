// The token, and being asked before something goes.

import { get, hasToken, setToken } from "./api.js";
import { $, put, setText } from "./dom.js";

for (const dialog of document.querySelectorAll("dialog")) {
  for (const button of dialog.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => dialog.close());
  }
}

let changed = () => {};

export function onToken(listener) {
  changed = listener;
}

function showState() {
  setText($("token-open"), hasToken() ? "Token: given" : "Token…");
}

function given(token, keep) {
  setToken(token, keep);
  showState();
  changed();
}

const form = $("token-form");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  setText($("token-said"), "");
  const before = form.elements.token.value.trim();
  setToken(before, form.elements.keep.checked);
  try {
    await get("api/v1/stats");
  } catch (error) {
    if (error.status === 401) {
      given("", false);
      setText($("token-said"), error.text);
      form.elements.token.select();
      return;
    }
  }
  given(before, form.elements.keep.checked);
  form.reset();
  $("token-dialog").close("given");
});

$("token-forget").addEventListener("click", () => {
  given("", false);
  $("token-dialog").close();
});

/** Ask for the token; return whether it was given. */
export function askToken(why = "") {
  const dialog = $("token-dialog");
  setText($("token-said"), why);
  dialog.returnValue = "";
  if (!dialog.open) dialog.showModal();
  form.elements.token.focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "given"), { once: true });
  });
}

$("token-open").addEventListener("click", () => askToken());
showState();

/** Do something that needs the token, and ask for it where it is missing or wrong. */
export async function allowed(work) {
  if (!hasToken() && !(await askToken())) return null;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (error.status !== 401) throw error;
      given("", false);
      if (!(await askToken(error.text))) return null;
    }
  }
}

/** Ask before something goes: `work` is done while the dialog is open, and says there what failed. */
export function confirmed({ title, body, yes }, work) {
  const dialog = $("confirm-dialog");
  const button = $("confirm-yes");
  setText($("confirm-title"), title);
  put($("confirm-text"), body);
  setText($("confirm-said"), "");
  setText(button, yes);
  return new Promise((resolve) => {
    let done = null;
    let acting = null;
    const act = async () => {
      setText($("confirm-said"), "");
      button.setAttribute("aria-disabled", "true"); // disabled, it would lose the focus
      try {
        done = await allowed(work);
        if (done !== null) dialog.close();
      } catch (error) {
        setText($("confirm-said"), error.text || String(error));
      } finally {
        button.removeAttribute("aria-disabled");
        acting = null;
      }
    };
    const click = () => { acting ||= act(); };
    button.addEventListener("click", click);
    // Closing the dialog does not call back what was begun: what came of it is told all the same.
    dialog.addEventListener("close", () => {
      button.removeEventListener("click", click);
      resolve(acting ? acting.then(() => done) : done);
    }, { once: true });
    dialog.showModal();
  });
}
