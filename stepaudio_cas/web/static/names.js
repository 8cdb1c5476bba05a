// What voices are called, as people can read it. Names come from strangers.

const SEEN = /[^\s\p{C}\p{Z}\u115f\u1160\u2800\u3164]/u;
const STEERING = /[\p{Cc}\u061c\u2028-\u202e\u2066-\u2069]/gu;
const LEFTWARD = /[\u0590-\u08ff\u200f\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;
const LONGEST = 160;
const TAIL = 48;
const OURS = /(?:^|\/)([0-9a-f]{32})\.\w+$/;

const sent = new Map();

/** Take what recordings were called by who sent them: on the server they have names of its own. */
export function callSent(voices) {
  sent.clear();
  for (const { id, name } of voices) sent.set(id, name);
}

/**
 * The first of these names that can be seen, as one is shown within other text: not longer than
 * people read, nothing in it turns the text around it, and one that is written from right to left
 * stays apart from it.
 */
export function called(...names) {
  const known = names.find((one) => one && SEEN.test(one)) || "–";
  const name = sent.get((OURS.exec(known) || [])[1]) || known;
  const letters = [...name];
  const short = letters.length > LONGEST ? [...letters.slice(0, LONGEST - TAIL), "…", ...letters.slice(-TAIL)].join("") : name;
  const plain = short.replace(STEERING, "\ufffd");
  return LEFTWARD.test(plain) ? `\u2068${plain}\u2069` : plain;
}
