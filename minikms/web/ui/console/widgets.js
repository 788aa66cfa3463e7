// Parts of pages: headings, tables, fields, buttons, questions.

import { Problem } from "./api.js";
import { isNear, warning } from "./certificates.js";
import { fill, foreign, h } from "./dom.js";
import { dropNotice, sentences, tell, tellProblem, uncover } from "./notices.js";

let ids = 0;

/** A new id for an element. */
function newId() {
  ids += 1;
  return `e${ids}`;
}

/** A part of a page under its heading. */
export function section(title, ...children) {
  const id = newId();
  return h("section", { "aria-labelledby": id }, h("h2", { id }, title), children);
}

/** A secondary remark. */
export function remark(...children) {
  return h("p", { class: "quiet" }, children);
}

/**
 * A table. `columns` are pairs of a heading and a function that makes a cell of a row. On a narrow screen
 * each row is a card; the roles keep it a table for screen readers.
 */
export function table(label, columns, rows, empty = "None.") {
  if (rows.length === 0) return remark(empty);
  const headings = columns.map(([heading]) =>
    h("th", { scope: "col", role: "columnheader" }, heading)
  );
  return h(
    "table",
    { role: "table", "aria-label": label },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, headings)),
    h("tbody", { role: "rowgroup" }, rowsOf(columns, rows))
  );
}

/** Add rows to a table of these columns. */
export function addRows(shown, columns, rows) {
  shown.tBodies[0].append(...rowsOf(columns, rows));
}

function rowsOf(columns, rows) {
  return rows.map((row) =>
    h(
      "tr",
      { role: "row" },
      columns.map(([heading, cell]) => h("td", { role: "cell", "data-heading": heading }, h("div", {}, cell(row))))
    )
  );
}

/** Facts as pairs of a name and a value; a pair without a value is left out. */
export function facts(pairs) {
  const given = pairs.filter(([, value]) => value !== null && value !== undefined);
  return h("dl", {}, given.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/** A control with its label, and a hint. */
export function field(label, control, hint) {
  control.id ||= newId();
  const hintId = hint && newId();
  if (hint) control.setAttribute("aria-describedby", hintId);
  return h(
    "div",
    { class: "field" },
    h("label", { for: control.id }, label),
    control,
    hint && h("small", { id: hintId }, hint)
  );
}

/** A field for text. */
export function input(name, properties) {
  return h("input", { name, autocomplete: "off", spellcheck: "false", ...properties });
}

/** A choice; `options` are pairs of a value and its text. */
export function choice(name, options, chosen = "") {
  return h(
    "select",
    { name },
    options.map(([value, text]) => h("option", { value, selected: value === chosen }, text))
  );
}

/** Boxes to tick, under a legend; `options` are triples of a value, its text, and whether it is ticked. */
export function boxes(legend, name, options) {
  return h(
    "fieldset",
    {},
    h("legend", {}, legend),
    options.map(([value, text, checked]) =>
      h("label", { class: "box" }, h("input", { type: "checkbox", name, value, checked }), h("span", {}, text))
    )
  );
}

/** The ticked values of a form's boxes. */
export function ticked(form, name) {
  return new FormData(form).getAll(name);
}

/** A form; `run` gets its values by name, and its problems are shown. */
export function form(properties, run, ...children) {
  return h(
    "form",
    {
      ...properties,
      onsubmit: (event) => {
        event.preventDefault();
        const values = Object.fromEntries(new FormData(event.target));
        busy(event.submitter, () => run(values, event.target));
      },
    },
    children
  );
}

/** The button that sends a form. */
export function submit(text, properties) {
  return h("button", { type: "submit", ...properties }, text);
}

/** A button; problems of `run` are shown. */
export function button(text, run, properties) {
  return h(
    "button",
    { type: "button", ...properties, onclick: (event) => busy(event.currentTarget, run) },
    text
  );
}

/** Run a function once; its button is disabled meanwhile. */
async function busy(control, run) {
  if (control?.getAttribute("aria-disabled") === "true") return;
  control?.setAttribute("aria-disabled", "true");
  dropNotice();
  try {
    await run();
  } catch (error) {
    tellProblem(error);
  } finally {
    control?.removeAttribute("aria-disabled");
  }
}

/** A link within the console. */
export function link(to, ...children) {
  return h("a", { href: to }, children);
}

/** The address of a page of the console: its name, an argument, and a query. */
export function address(page, argument, query) {
  const path = argument === undefined ? page : `${page}/${encodeURIComponent(argument)}`;
  const given = Object.entries(query ?? {}).filter(([, value]) => value);
  return `#/${path}${given.length ? `?${new URLSearchParams(given)}` : ""}`;
}

/** Go to a page of the console, and reload it if it is already shown. */
export function go(to) {
  if (location.hash === to) window.dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = to;
}

/** A string in a box, with a button that copies it. */
export function block(text, label) {
  const shown = h("pre", { tabindex: "0", role: "group", "aria-label": label }, text);
  return h("div", { class: "block" }, shown, copyButton(text, label));
}

/** A short string in a code font, with a button that copies it. */
export function code(text, label) {
  return h("span", { class: "code" }, h("code", {}, foreign(text)), copyButton(text, label));
}

function copyButton(text, label) {
  if (!navigator.clipboard) return null; // pages over plain HTTP have none
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    tell(`${label} copied.`);
  };
  return button("Copy", copy, { class: "small", "aria-label": `Copy ${label}` });
}

/** A time in UTC. */
export function time(text) {
  return h("time", { datetime: text, title: text }, text.slice(0, 19).replace("T", " "));
}

/** The time of an end, with a word if it is past or near. */
export function endTime(text, past = "past") {
  const isPast = Date.parse(text) < Date.now();
  return [time(text), " ", isPast ? badge(past, "bad") : isNear(text) && badge("soon", "warn")];
}

/** A word with a colour: `kind` is good, bad, warn or plain. */
export function badge(text, kind = "plain") {
  return h("span", { class: `badge ${kind}` }, text);
}

/** The outcome of a call. */
export function outcome(text) {
  return badge(text, text === "success" ? "good" : "bad");
}

/** Labels of a key. */
export function labels(given) {
  return Object.entries(given).map(([name, value]) =>
    h("span", { class: "label" }, foreign(name), ": ", foreign(value))
  );
}

/** The state of a key in words. */
export function state(key) {
  const ends = key.deletes?.slice(0, 10);
  if (key.state === "disabled") return badge(ends ? `deletion on ${ends}` : "disabled", "bad");
  if (key.state === "next") return badge("next");
  const word = key.state === "verify-only" ? "verify only" : "enabled";
  if (ends) return badge(`${word} until ${ends}`, "warn"); // it was made so
  return badge(word, word === "enabled" ? "good" : "warn");
}

/** A warning of the certificate of a chain that ends first, if it ends soon. */
export function ending(chain) {
  const found = warning(chain);
  return found && badge(found.text, found.kind);
}

/** The name of a key for people: its first alias, or its kid. */
export function nameOf(key) {
  return key.aliases[0] ?? key.kid;
}

/** Ask for confirmation. `lost` are sentences about the consequences. With `typed`, the caller has to type
 * this string first. If `run` has a problem, an open question stays open and says so, and a notice says so for a closed one.
 */
export function ask({ title, lost, action, typed, fields = [], run }) {
  const confirmation = typed !== undefined && input("typed", { required: true });
  const id = newId();
  const fault = h("div", { role: "alert", class: "fault" });
  const content = form(
    { class: "stack" },
    async (values) => {
      if (confirmation && confirmation.value !== typed) {
        fill(fault, "The text differs.");
        confirmation.focus();
        return;
      }
      try {
        await run(values);
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        if (dialog.open) fill(fault, sentences(error));
        else tellProblem(error, title); // it was closed meanwhile
        return;
      }
      dialog.close();
    },
    h("h2", { id }, title),
    lost.map((sentence) => h("p", {}, sentence)),
    fields,
    confirmation && field(["Type ", foreign(typed), " to go on"], confirmation),
    fault,
    h(
      "div",
      { class: "buttons" },
      submit(action, { class: "danger" }),
      h("button", { type: "button", onclick: () => dialog.close() }, "Cancel")
    )
  );
  const dialog = h("dialog", { "aria-labelledby": id, onclose: () => close(dialog) }, content);
  document.body.append(dialog);
  dialog.showModal();
}

/** Remove a closed dialog. The button that opened it may be gone, too. */
function close(dialog) {
  dialog.remove();
  if (document.activeElement === document.body) document.querySelector("h1").focus();
  uncover();
}
