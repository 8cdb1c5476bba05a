// Asking the server. The token is kept here, for the tab at the most, and never in a cookie.

import { setClock } from "./units.js";

const BASE = new URL("../", import.meta.url);
const NAME = `stepaudio-cas.token ${BASE.pathname}`;

export class Refused extends Error {
  constructor(status, said) {
    super(said.error || `the server answers ${status}`);
    this.status = status;
    this.remedy = said.remedy || "";
  }

  get text() {
    const text = (this.message.charAt(0).toUpperCase() + this.message.slice(1)).replace(/[.\s]+$/, "");
    return this.remedy ? `${text}. To do: ${this.remedy}.` : `${text}.`;
  }
}

function stored() {
  try {
    return sessionStorage.getItem(NAME) || "";
  } catch {
    return "";
  }
}

let token = stored();

export const hasToken = () => token !== "";

export function setToken(value, keep) {
  token = value;
  try {
    if (value && keep) sessionStorage.setItem(NAME, value);
    else sessionStorage.removeItem(NAME);
  } catch {
    // Without storage it holds for as long as the page does.
  }
}

export function headers(more = {}) {
  return token ? { Authorization: `Bearer ${token}`, ...more } : more;
}

export const url = (path) => new URL(path, BASE);

async function answered(response) {
  const now = Date.parse(response.headers.get("Date") || "");
  if (now) setClock(now);
  let said = null;
  try {
    said = await response.json();
  } catch {
    said = {};
  }
  // A store in trouble is said with 503 by health, whose answer is worth reading all the same.
  if (!response.ok && !("healthy" in said)) throw new Refused(response.status, said);
  return said;
}

async function ask(path, how) {
  let response;
  try {
    response = await fetch(url(path), { credentials: "omit", cache: "no-cache", ...how });
  } catch {
    throw new Refused(0, { error: "the server does not answer", remedy: "see whether it is running; this page tries again" });
  }
  return answered(response);
}

export function get(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== false);
  const search = new URLSearchParams(given).toString();
  return ask(search ? `${path}?${search}` : path, { headers: headers() });
}

export const post = (path, document) =>
  ask(path, { method: "POST", headers: headers({ "Content-Type": "application/json" }), body: JSON.stringify(document) });

export const remove = (path) => ask(path, { method: "DELETE", headers: headers() });

/** A recording that was sent: kept in this page alone, for as long as it is heard. */
export async function recording(id) {
  const response = await fetch(url(`api/v1/prewarm/upload/${id}`), { headers: headers(), credentials: "omit", cache: "no-store" });
  return response.ok ? response.blob() : answered(response);
}

export const send = (path, file) =>
  ask(path, { method: "POST", headers: headers({ "Content-Type": "application/octet-stream" }), body: file });
