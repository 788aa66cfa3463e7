// The page that searches the audit log.

import { foreign, h } from "../dom.js";
import { Results } from "../results.js";
import { caller, currentProfile, listing, naming } from "../session.js";
import { address, field, form, go, input, link, outcome, submit, time } from "../widgets.js";

const SHOWN = 50; // events of a page
const MOST_SHOWN = 10; // characters of a kid
const FILTERS = ["kid", "who", "operation", "outcome", "profile", "since", "until"];
// The console's own reads, made by a person who browses in it.
const READS = ["findKey", "getKey", "getOwnToken", "listAlgorithms", "listApprovals", "listAuditEvents", "listKeys", "listProfiles", "listTokens"];

/** The columns of events. */
export const EVENTS = [
  ["Time (UTC)", (event) => time(event.time)],
  ["Who", (event) => (event.who ? foreign(event.who) : "nobody known")],
  ["Operation", (event) => event.operation],
  ["Outcome", (event) => [
    outcome(event.outcome),
    event.rule && ` by ${event.rule}`,
    event.batch && `, ${event.batch.failed} of ${event.batch.items} items failed`,
  ]],
  ["Address", (event) => event.address],
];

const NO_EVENT = "No call but your own reads is recorded. A service records calls if it is started with --audit-log FILE.";
const COLUMNS = [
  ...EVENTS.slice(0, 4),
  ["Profile", (event) => event.profile && foreign(event.profile)],
  ["Key", (event) => asked(event)],
  ...EVENTS.slice(4),
  ["Request id", (event) => h("code", {}, foreign(event.request_id ?? ""))],
];

/** The key that a call used, replaced or requested, with its new or next key, or the token that it made or revoked. */
function asked({ operation, kid, new_kid, alias, token, alg, profile }) {
  if (kid) {
    const isHere = profile === currentProfile();
    const named = (one, name) => (isHere ? h("a", { href: address("key", one), title: one }, foreign(name)) : foreign(name));
    const word = operation === "nextKey" ? " followed by " : " replaced by ";
    const replacement = new_kid && [word, named(new_kid, shortened(new_kid))];
    return [named(kid, alias ?? shortened(kid)), replacement, alg && ` (${alg})`];
  }
  if (alias) return ["asked for ", foreign(alias)];
  return token && `token ${token}`;
}

function shortened(kid) {
  return kid.length > MOST_SHOWN ? `${kid.slice(0, MOST_SHOWN)}…` : kid;
}

/** Tell whether an event is a successful read by the caller of the console. */
function isOwnRead({ who, operation, outcome }) {
  return outcome === "success" && READS.includes(operation) && (who ?? "") === (caller().name ?? "");
}

/** The content of the page. */
export async function audit({ query, signal }) {
  const wanted = Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? ""]));
  const isWhole = query.has("own") || wanted.operation !== "";
  const search = form(
    { class: "filters", role: "search" },
    ({ since, until, ...others }) => {
      go(address("audit", undefined, { ...others, since: moment(since), until: moment(until) }));
    },
    field("Key", input("kid", { value: wanted.kid }), "Its alias or kid."),
    field("Who", input("who", { value: wanted.who }), "The name of a token."),
    field("Operation", input("operation", { value: wanted.operation, placeholder: "sign" })),
    field("Outcome", input("outcome", { value: wanted.outcome, list: "outcomes" }), "ok, failed, or the name of a problem."),
    h("datalist", { id: "outcomes" }, ["ok", "failed", "forbidden", "key-not-found"].map((value) => h("option", { value }))),
    field("Profile", input("profile", { value: wanted.profile })),
    field("Since (UTC)", input("since", { type: "datetime-local", value: wanted.since.slice(0, 16) })),
    field("Until (UTC)", input("until", { type: "datetime-local", value: wanted.until.slice(0, 16) })),
    h("label", { class: "box" }, h("input", { type: "checkbox", name: "own", checked: isWhole }), h("span", {}, "With your own reads")),
    h("div", { class: "buttons" }, submit("Search"))
  );
  let read = 0;
  const source = (async function* () {
    const { kid: key, ...others } = wanted;
    const query = { ...others, ...(key && naming(key)), limit: SHOWN };
    for await (const { items, isLast } of listing("audit", { query, signal })) {
      read += items.length;
      yield { items: isWhole ? items : items.filter((event) => !isOwnRead(event)), isLast };
    }
  })();
  const results = new Results({
    label: "Events, newest first",
    columns: COLUMNS,
    noun: "event",
    empty: query.size === 0 ? NO_EVENT : ["No event is like this. ", link("#/audit", "Show all events")],
    source,
    seen: () => read,
  });
  results.begin();
  return [h("h1", {}, "Audit"), search, results.element];
}

/** Convert a field's local time to RFC 3339 in UTC. */
function moment(text) {
  return text && `${text.length === 16 ? `${text}:00` : text}Z`;
}
