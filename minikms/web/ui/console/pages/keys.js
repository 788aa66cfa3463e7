// The page that lists, finds and filters keys.

import { foreign, h } from "../dom.js";
import { Results } from "../results.js";
import { caller, keyPath, listing, may, request } from "../session.js";
import { address, badge, choice, ending, field, form, go, input, labels, link, nameOf, state, submit, time } from "../widgets.js";

const STATES = [
  ["", "any"],
  ["enabled", "enabled"],
  ["next", "next key"],
  ["verify-only", "verify only"],
  ["disabled", "disabled"],
  ["due", "deletion scheduled"],
  ["certified", "with a certificate"],
  ["unruled", "without rules"],
];
const UNUSED = [
  ["", "any"],
  ["30d", "for 30 days"],
  ["90d", "for 90 days"],
  ["365d", "for a year"],
];
const OPEN =
  " Anybody on this machine, and whoever else reaches this service, may use its keys. " +
  "A service with a store, or with --auth token, asks for tokens.";
const COLUMNS = [
  ["Key", (key) => link(address("key", key.kid), foreign(nameOf(key)))],
  ["Algorithm", (key) => [key.alg, key.provider && [", in ", foreign(key.provider)]]],
  ["State", (key) => [state(key), " ", ending(key.certificates)]],
  ["Labels", (key) => labels(key.labels)],
  ["Made (UTC)", (key) => time(key.created)],
];

/** The content of the page. */
export async function keys({ query, signal }) {
  const wanted = Object.fromEntries(["text", "alg", "label", "state", "unused", "provider"].map((name) => [name, query.get(name) ?? ""]));
  const algorithms = await request("GET", "algorithms", { signal });
  const present = algorithms.flatMap((one) => one.providers ?? []);
  const providers = [...new Set([...present, wanted.provider].filter(Boolean))].sort(); // one may be away
  const search = form(
    { class: "filters", role: "search" },
    (values) => {
      go(address("keys", undefined, { ...values, text: values.text.trim() }));
    },
    field("Alias, kid or DID", input("text", { type: "search", value: wanted.text }), "Or a part of one."),
    field("Algorithm", choice("alg", [["", "any"], ...algorithms.map(({ name }) => [name, name])], wanted.alg)),
    field("Label", input("label", { value: wanted.label, placeholder: "name:value" })),
    field("State", choice("state", STATES, wanted.state)),
    field("Not used", choice("unused", UNUSED, wanted.unused)),
    providers.length > 0 && field("Provider", choice("provider", [["", "any"], ...providers.map((name) => [name, name])], wanted.provider)),
    h("div", { class: "buttons" }, submit("Search"))
  );
  const finder = new Finder(wanted, signal);
  const isFiltered = Object.values(wanted).some(Boolean);
  const results = new Results({
    label: "Keys",
    columns: COLUMNS,
    noun: "key",
    empty: isFiltered ? ["No key of this profile is like this. ", link("#/keys", "Show all keys")] : firstStep(),
    source: finder.find(),
    seen: () => finder.seen,
  });
  results.begin();
  return [
    h("h1", {}, "Keys"),
    caller().name === null && h("p", {}, badge("no token", "warn"), OPEN),
    may("keys:write") && h("p", {}, link("#/make", "Make a key")),
    search,
    results.element,
  ];
}

function firstStep() {
  const step = may("keys:write") ? link("#/make", "Make the first one") : "A token with the scope keys:write makes them";
  return ["This profile has no keys yet. ", step, ", or choose another profile at the top."];
}

/**
 * Finds keys. The service filters by algorithm, label and last use; states, providers and parts of names are compared
 * here.
 */
class Finder {
  constructor(wanted, signal) {
    this.wanted = wanted;
    this.signal = signal;
    this.seen = 0;
  }

  /** Yield the key named by the text, else all keys with the text in a name. */
  async *find() {
    const { text, alg, label, state, unused, provider } = this.wanted;
    const named = text && !unused && (await this.named(text));
    if (named) {
      this.seen = 1;
      yield { items: [named].filter((key) => this.matches(key)), isLast: true };
      return;
    }
    const query = { limit: text || state || unused || provider ? 1000 : 50, alg, label, unused };
    if (state === "next") query.state = state; // the service filters by no other state
    for await (const { items, isLast } of listing("keys", { query, signal: this.signal })) {
      this.seen += items.length;
      yield { items: items.filter((key) => this.matches(key)), isLast };
    }
  }

  /** The key with this alias or kid, or null. */
  async named(text) {
    const [key] = await request("GET", "keys", { query: { alias: text }, signal: this.signal });
    if (key) return key;
    if (!/^[\w-]{1,128}$/.test(text)) return null;
    try {
      return await request("GET", keyPath(text), { signal: this.signal });
    } catch (problem) {
      if (problem.status === 404) return null;
      throw problem;
    }
  }

  matches(key) {
    const { text, alg, label, state, provider } = this.wanted;
    const names = [key.kid, key.did, key.multikey, ...key.aliases];
    const isFound =
      names.some((name) => name?.includes(text)) || (key.did !== null && text.startsWith(`${key.did}#`)); // a DID URL
    const isOfState =
      !state ||
      (state === "due" && key.deletes !== null) ||
      (state === "certified" && "certificates" in key) ||
      (state === "unruled" && !("rules" in key)) ||
      (state === key.state && (key.deletes === null || state !== "disabled"));
    const [name, ...value] = label.split(":");
    const isLabelled = !label || key.labels[name] === value.join(":");
    return isFound && isOfState && isLabelled && (!alg || key.alg === alg) && (!provider || key.provider === provider);
  }
}
