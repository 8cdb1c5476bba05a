// Making elements. Everything that comes from a store goes in as text, never as markup.

import { ago, exact, iso } from "./units.js";

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  return element;
}

export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

export const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

export function put(parent, ...children) {
  parent.replaceChildren();
  return fill(parent, null, children);
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const CONTROLS = "button, summary, a, input, audio";

/** Where the focus is in a list: which child, and which of its controls. */
function focusIn(parent) {
  const active = document.activeElement;
  const number = [...parent.children].findIndex((child) => child.contains(active));
  if (number < 0) return null;
  const child = parent.children[number];
  return { active, child, number, control: [...child.querySelectorAll(CONTROLS)].indexOf(active) };
}

/** Put the focus back where it was, or next to it if that has gone. */
function refocus(parent, { active, child, number, control }, made) {
  if (document.activeElement === active && active.isConnected) return;
  const there = made.get(child) || (child.isConnected ? child : parent.children[Math.min(number, parent.children.length - 1)]);
  const controls = there ? there.querySelectorAll(CONTROLS) : [];
  const target = active.isConnected ? active : controls[Math.min(Math.max(control, 0), controls.length - 1)];
  if (target) {
    target.focus({ preventScroll: true });
    return;
  }
  const section = parent.closest("section");
  if (!section) return;
  section.tabIndex = -1;
  section.focus({ preventScroll: true });
}

/** Show items in a parent, leaving alone what has not changed: focus and open details stay. */
export function keyed(parent, items, keyOf, make) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const focus = focusIn(parent);
  const instead = new Map();
  const times = new Map();
  const wanted = items.map((item) => {
    const name = String(keyOf(item));
    const time = (times.get(name) || 0) + 1;
    times.set(name, time);
    const key = time > 1 ? `${name} ${time}` : name;
    const state = JSON.stringify(item);
    const old = known.get(key);
    if (old && old.state === state) return old;
    const made = make(item);
    made.dataset.key = key;
    made.state = state;
    if (old) {
      const open = [...old.querySelectorAll("details")].map((one) => one.open);
      made.querySelectorAll("details").forEach((one, number) => { one.open = Boolean(open[number]); });
      instead.set(old, made);
    }
    return made;
  });
  const stay = new Set(wanted);
  for (const child of [...parent.children]) if (!stay.has(child)) child.remove();
  wanted.forEach((child, number) => {
    if (parent.children[number] !== child) parent.insertBefore(child, parent.children[number] || null);
  });
  if (focus) refocus(parent, focus, instead);
}

/**
 * A table that stays one for screen readers when the style sheet turns its rows into cards.
 * A column is {name, cell, number}; `cell` returns text or a node.
 */
export class Table {
  constructor(parent, columns, { label, labelledby, empty, key, small }) {
    this.columns = columns;
    this.key = key;
    this.body = h("tbody", { role: "rowgroup" });
    this.table = h("table", { role: "table", class: small ? "small" : null, "aria-label": label, "aria-labelledby": labelledby, hidden: true },
      h("thead", { role: "rowgroup" },
        h("tr", { role: "row" }, columns.map((column) =>
          h("th", { role: "columnheader", scope: "col", class: column.number ? "number" : null },
            column.silent ? h("span", { class: "unseen" }, column.name) : column.name)))),
      this.body);
    this.empty = h("p", { class: "quiet", hidden: true }, empty); // until it is known
    put(parent, this.table, this.empty);
  }

  show(items) {
    keyed(this.body, items, this.key, (item) => this.row(item));
    this.table.hidden = !items.length;
    this.empty.hidden = Boolean(items.length);
  }

  row(item) {
    return h("tr", { role: "row" }, this.columns.map((column, number) => {
      const attributes = {
        role: number ? "cell" : "rowheader",
        scope: number ? null : "row",
        class: [column.number ? "number" : "", column.class || ""].join(" ").trim() || null,
        "data-label": column.silent ? null : column.name,
      };
      return h(number ? "td" : "th", attributes, column.cell(item));
    }));
  }
}

/** A word with a mark: nothing is said by colour alone. */
export function mark(kind, text) {
  const signs = { good: "✓", bad: "✕", warn: "!", busy: "…", off: "–" };
  return h("span", { class: `mark ${kind}` }, h("span", { class: "sign", "aria-hidden": "true" }, signs[kind]), text);
}

/** How long ago, kept right by `refreshTimes`. */
export function since(moment) {
  if (!moment) return "–";
  return h("time", { class: "since", datetime: iso(moment), title: exact(moment) }, ago(moment));
}

export function refreshTimes() {
  for (const one of document.querySelectorAll("time.since")) setText(one, ago(one.dateTime));
}

export function tell(element, text, kind = "") {
  element.className = kind ? `note ${kind}` : "";
  setText(element, text);
}
