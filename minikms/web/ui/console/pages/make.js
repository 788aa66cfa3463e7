// The page that makes a key.

import { Problem } from "../api.js";
import { fill, h } from "../dom.js";
import { may, request } from "../session.js";
import { tell } from "../notices.js";
import { address, boxes, choice, field, form, input, nameOf, submit, ticked } from "../widgets.js";
import { scheduleFields, scheduleOf } from "./key_steps.js";

const COMMON = ["ed25519", "p256"]; // the first of them that is installed is chosen

/** Parse labels from lines `name:value`. */
export function parseLabels(text) {
  const lines = text.split("\n").map((line) => line.trim()).filter(Boolean);
  return Object.fromEntries(
    lines.map((line) => {
      const [name, ...value] = line.split(":");
      return [name.trim(), value.join(":").trim()];
    })
  );
}

/** Parse rules as JSON, or the name of a preset; throws Problem. */
export function parseRules(text) {
  if (!text.trim().startsWith("{")) return text.trim();
  try {
    return JSON.parse(text);
  } catch {
    throw new Problem(0, { detail: "The rules are not JSON." }, null);
  }
}

/** The content of the page. */
export async function make({ signal }) {
  const algorithms = may("keys:read") ? await request("GET", "algorithms", { signal }) : [];
  const chosen = COMMON.find((name) => algorithms.some((one) => one.name === name));
  const alg = algorithms.length
    ? choice("alg", algorithms.map((one) => [one.name, described(one)]), chosen)
    : input("alg", { required: true });
  const provider = h("div", {});
  const operations = h("div", {});
  const showOperations = () => {
    const found = algorithms.find((one) => one.name === alg.value);
    if (!found) return;
    const names = [["", "the service"], ...(found.providers ?? []).map((name) => [name, name])];
    fill(provider, names.length > 1 && field("Private part in", choice("provider", names), "A provider, such as an HSM, never lets it out."));
    const offered = found.operations.filter((name) => !name.startsWith("import") && !found.opt_in.includes(name));
    fill(
      operations,
      boxes("Operations, to which none can be added later", "operations", [
        ...offered.map((name) => [name, name, true]),
        ...found.opt_in.map((name) => [name, `${name}, only if you know why`, false]),
      ])
    );
  };
  alg.addEventListener("change", showOperations);
  showOperations();

  const send = async (values, form) => {
    const body = { alg: values.alg, labels: parseLabels(values.labels) };
    if (isChanged(form)) body.operations = ticked(form, "operations");
    if (values.provider) body.provider = values.provider;
    if (values.alias) Object.assign(body, { alias: values.alias, alias_taken: "refuse" });
    if (values.expires) body.expires = `${values.expires}T00:00:00Z`;
    if (values.exportable) body.exportable = true;
    if (values.rules.trim()) body.rules = parseRules(values.rules);
    for (const [name, seconds] of Object.entries(scheduleOf(values))) if (seconds !== null) body[name] = seconds;
    const key = await request("POST", "key/generate", { body });
    tell("The key is made.");
    location.hash = may("keys:read") ? address("key", key.kid) : "#/make";
  };
  return [
    h("h1", {}, "New key"),
    form(
      { class: "stack narrow" },
      send,
      field("Algorithm", alg),
      provider,
      field("Alias", input("alias"), "A name, such as a DID URL. It must be free."),
      field("Labels", h("textarea", { name: "labels", rows: 2 }), "One on each line, as name:value."),
      operations,
      field(
        "Rules",
        h("textarea", { name: "rules", rows: 3, spellcheck: "false" }),
        "What the key may sign, and how often: as JSON, or the name of a preset, such as sd-jwt-vc. Without any, everything."
      ),
      scheduleFields({}),
      field("Verifies only from", input("expires", { type: "date" }), "In UTC. Without a date it does not expire."),
      h(
        "label",
        { class: "box" },
        h("input", { type: "checkbox", name: "exportable" }),
        h("span", {}, "Exportable: holders of the scope keys:export can read its private part. This cannot be changed later.")
      ),
      h("div", { class: "buttons" }, submit("Make the key"))
    ),
  ];
}

/** Tell whether the ticked operations differ from the default. */
function isChanged(form) {
  return [...form.querySelectorAll("[name=operations]")].some((box) => box.checked !== box.defaultChecked);
}

function described({ name, jose_algs: names }) {
  return names.length ? `${name} (${names.join(", ")})` : name;
}
