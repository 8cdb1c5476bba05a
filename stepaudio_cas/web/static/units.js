// Numbers as people read them.

const whole = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const short = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hour12: false });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export const number = (value) => (value === null || value === undefined ? "–" : whole.format(Math.round(value)));

/** Three digits at the most that mean something. */
function digits(value) {
  if (value >= 100) return String(Math.round(value));
  return value >= 10 ? value.toFixed(1).replace(/\.0$/, "") : value.toFixed(2).replace(/\.?0+$/, "");
}

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let at = 0;
  while (value >= 999.5 && at < units.length - 1) {
    value /= 1000;
    at += 1;
  }
  return `${at ? digits(value) : value} ${units[at]}`;
}

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0 s";
  if (value < 0.001) return `${digits(value * 1e6)} µs`;
  if (value < 1) return `${digits(value * 1e3)} ms`;
  if (value < 120) return `${digits(value)} s`;
  const minutes = Math.round(value / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  if (days >= 730) return `${number(days / 365.25)} years`;
  if (days >= 100) return `${days} d`;
  return hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}

export function share(value) {
  if (value === null || value === undefined) return "–";
  const percent = value * 100;
  if (percent > 0 && percent < 1) return `${Math.max(percent, 0.1).toFixed(1)} %`;
  return `${percent > 99 && percent < 100 ? Math.min(percent, 99.9).toFixed(1) : Math.round(percent)} %`;
}

const date = (moment) => (typeof moment === "number" ? new Date(moment * 1000) : new Date(moment));

export const at = (moment) => (moment ? clock.format(date(moment)) : "");
export const atMinute = (moment) => (moment ? short.format(date(moment)) : "");

let off = 0;

/** Take the server's time, which its answers bear to the second: the clock of this machine may be wrong. */
export function setClock(now) {
  const found = now + 500 - Date.now();
  off = Math.abs(found) > 2000 ? found : 0;
}

export function ago(moment) {
  if (!moment) return "–";
  const passed = (Date.now() + off - date(moment).getTime()) / 1000;
  if (passed < 5) return "now";
  if (passed < 60) return `${Math.round(passed)} s ago`;
  if (passed < 3600) return `${Math.round(passed / 60)} min ago`;
  if (passed < 48 * 3600) return `${Math.round(passed / 3600)} h ago`;
  return `${Math.round(passed / 86400)} days ago`;
}

export const exact = (moment) => (moment ? day.format(date(moment)) : "");
export const iso = (moment) => (moment ? date(moment).toISOString() : null);
export const some = (count, one, many) => `${number(count)} ${count === 1 ? one : many}`;
