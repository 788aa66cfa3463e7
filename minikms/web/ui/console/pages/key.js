// The page of one key: its facts, its use, and its changes.

import { readCertificate } from "../certificates.js";
import { foreign, h } from "../dom.js";
import { keyPath, may, request } from "../session.js";
import { pretty } from "../bytes.js";
import { tell } from "../notices.js";
import {
  address,
  ask,
  block,
  button,
  choice,
  code,
  ending,
  facts,
  field,
  form,
  input,
  labels,
  link,
  nameOf,
  remark,
  section,
  state,
  submit,
  table,
  time,
} from "../widgets.js";
import { DAY, days, neighbour, scheduleFields, scheduleOf, steps } from "./key_steps.js";
import { events, use } from "./key_use.js";
import { parseLabels, parseRules } from "./make.js";

// Operations that decrypt or open messages made by others.
const OPENING = ["decrypt", "unwrap", "derive", "box-open", "jwe-decrypt", "decapsulate", "hpke-open"];

/** The content of the page. */
export async function key({ argument, signal, refresh }) {
  const found = await request("GET", keyPath(argument), { signal });
  const kid = found.kid;
  const other = await neighbour(found, signal);
  return [
    h("h1", {}, foreign(nameOf(found))),
    h("p", { class: "line" }, state(found), ending(found.certificates), found.alg, labels(found.labels)),
    actions(found, other, refresh),
    steps(found, other),
    section("Facts", facts(factsOf(found))),
    !found.follows && section("Aliases", aliases(found, refresh)),
    found.predecessors && section("Earlier keys", earlier(found.predecessors)),
    found.jwk && section("Public JWK", block(pretty(found.jwk), "JWK")),
    found.certificates && section("Certificate", certificates(found.certificates)),
    found.rules && section("Rules", block(pretty(found.rules), "Rules")),
    may("audit")
      ? [use(kid, signal), events(kid, signal)]
      : remark("Its use and its audit events need the scope audit."),
  ];
}

function factsOf(key) {
  return [
    ["kid", code(key.kid, "kid")],
    ["DID", key.did && code(key.did, "DID")],
    ["Multikey", key.multikey && code(key.multikey, "Multikey")],
    ["COSE_Key", key.cose_key && code(key.cose_key, "COSE_Key")],
    ["Operations", key.operations.join(", ")],
    ["Made (UTC)", [time(key.created), key.imported ? " by import" : ""]],
    ["Verifies only from", key.expires ? time(key.expires) : "never"],
    ["Deleted on", key.deletes && time(key.deletes)],
    ["Last used", "last_used" in key ? (key.last_used ? time(key.last_used) : "never, as far as it is known") : null],
    ["Rotated every", key.rotate_every && days(key.rotate_every)],
    ["Next key", key.next && link(address("key", key.next), foreign(key.next))],
    ["Follows", key.follows && link(address("key", key.follows), foreign(key.follows))],
    ["Next key published", key.publish_ahead && `${days(key.publish_ahead)} before each rotation`],
    ["Rotated next", key.rotates && time(key.rotates)],
    ["Retires", key.retire_after && `${days(key.retire_after)} after its rotation`],
    ["Provider", key.provider && foreign(key.provider)],
    ["Private part", key.exportable ? "can be exported, by holders of keys:export" : `never leaves the ${key.provider ? "provider" : "service"}`],
    ["Algorithm", key.installed === false ? "not installed, so the key cannot be used" : null],
  ];
}

/** The buttons that change a key. */
function actions(key, other, refresh) {
  const path = keyPath(key.kid);
  if (key.follows) {
    const deletes = may("keys:write") || may("keys:delete");
    return h("div", { class: "buttons" }, deletes && button("Delete", () => askDropping(key), { class: "danger" }));
  }
  const change = (text, body) => async () => {
    await request("PATCH", path, { body });
    tell(text);
    await refresh();
  };
  // A scheduled deletion has disabled the key or, if it deletes itself, perhaps a change, which keeps its time.
  const restore = async () => {
    const { deletes } = await request("POST", `${path}/restore`);
    if (deletes === key.deletes) await request("PATCH", path, { body: { state: "enabled" } });
    tell("The key is restored.");
    await refresh();
  };
  const makeNext = async () => {
    await request("POST", `${path}/next`);
    tell("The next key is made and published. A rotation puts it in this key's place.");
    await refresh();
  };
  const writes = may("keys:write");
  const isEnabled = writes && key.state === "enabled";
  const isRestored = key.deletes && key.state === "disabled";
  const tries = key.operations.includes("sign") && (may("sign") || may("verify"));
  return h(
    "div",
    { class: "buttons" },
    isEnabled && [
      !key.deletes && button("Rotate", () => askRotation(key, other)),
      !key.deletes && !key.next && button("Make the next key", makeNext),
      button("Disable", () => askDisabling(key, change)),
      button("Verify only", change("The key only verifies and decrypts now.", { state: "verify-only" })),
    ],
    writes && key.state !== "enabled" && !isRestored && button("Enable", change("The key is enabled.", { state: "enabled" })),
    writes && isRestored && button("Restore", restore),
    writes && button("Labels", () => askLabels(key, refresh)),
    isEnabled && [
      !key.deletes && button("Schedule", () => askSchedule(key, refresh)),
      button("Rules", () => askRules(key, refresh)),
    ],
    (writes || may("keys:delete")) && button("Delete", () => askDeletion(key, refresh), { class: "danger" }),
    tries && link(address("try", key.kid), "Try it")
  );
}

function askRotation(key, next) {
  const end = key.retire_after ? `, and ${days(key.retire_after)} later it is disabled` : "";
  ask({
    title: "Rotate this key?",
    lost: [
      key.next
        ? ["Its next key ", foreign(key.next), " takes over all aliases", next && [". It is published since ", time(next.created), " UTC"], "."]
        : "A new key of the same algorithm, labels and operations takes over all aliases. Verifiers that keep the JWK Set do not know it yet.",
      `This key then only verifies and decrypts${end}. What names it by its kid goes on with the old key.`,
      key.certificates ? "Its certificates stay with this key: the new one has none of them." : "It keeps its kid, and cannot be rotated again.",
    ],
    fields: key.next ? [field("Only if the next key is published for", choice("published", waits(key), String(key.publish_ahead ?? "")))] : [],
    action: "Rotate",
    run: async ({ published }) => {
      const made = await request("POST", keyPath(key.kid, "rotate"), { query: { if_published: published } });
      tell("The key is rotated. This is the new one.");
      location.hash = address("key", made.kid);
    },
  });
}

/** The times for which a next key may have to be published, as options in seconds. */
function waits(key) {
  const known = [3600, DAY, 2 * DAY, 7 * DAY];
  if (key.publish_ahead) known.push(key.publish_ahead);
  const given = [...new Set(known)].sort((one, other) => one - other);
  return [["", "any time, as after a leak"], ...given.map((seconds) => [String(seconds), days(seconds)])];
}

/** Deletes a next key. */
function askDropping(key) {
  ask({
    title: "Delete this next key?",
    lost: ["It leaves the JWK Set at once, and cannot be brought back. Before a scheduled rotation, the service makes another one."],
    action: "Delete",
    run: async () => {
      await request("DELETE", keyPath(key.kid));
      tell("The next key is deleted.");
      location.hash = address("key", key.follows);
    },
  });
}

function askDisabling(key, change) {
  ask({
    title: "Disable this key?",
    lost: [
      "Until it is enabled again, nobody can sign, verify, encrypt or decrypt with it, and the JWK Set leaves it out: verifiers " +
        "that read it there refuse its signatures.",
    ],
    action: "Disable",
    run: change("The key is disabled.", { state: "disabled" }),
  });
}

function askDeletion(key, refresh) {
  const number = key.aliases.length;
  const names = [number === 0 ? "no alias" : number === 1 ? "its alias " : `${number} aliases, such as `, ...key.aliases.slice(0, 1).map(foreign)];
  ask({
    title: "Delete this key?",
    lost: [
      ["Lost are the ", key.alg, " key ", h("code", {}, key.kid), " and ", names, "."],
      key.operations.some((name) => OPENING.includes(name)) && "What was encrypted to it, or wrapped by it, can never be read again.",
      key.operations.includes("sign") &&
        "Nobody can sign with it again. Its signatures can be checked only by copies of the public key.",
      "A scheduled deletion disables the key at once, and Restore cancels it until its time. A deletion now cannot be undone.",
    ].filter(Boolean),
    fields: [
      field("When", choice("after", [["7d", "in 7 days"], ["30d", "in 30 days"], ["1d", "in 1 day"], ["", "now"]], "7d")),
    ],
    typed: key.kid.slice(0, 8),
    action: "Delete",
    run: async ({ after }) => {
      const { deletes } = await request("DELETE", keyPath(key.kid), { query: { after } });
      if (deletes) {
        tell(`The deletion is scheduled for ${deletes.slice(0, 10)}.`); // the profile may ask for a delay
        await refresh();
      } else {
        tell("The key is deleted.");
        location.hash = "#/keys";
      }
    },
  });
}

function askSchedule(key, refresh) {
  ask({
    title: "Rotate on a schedule?",
    lost: [
      "The service then rotates the key itself, with its aliases, labels and rules. The old key verifies and decrypts until it retires.",
      key.certificates && "The new key has no certificates.",
    ].filter(Boolean),
    fields: scheduleFields(key),
    action: "Save",
    run: async (values) => {
      await request("PATCH", keyPath(key.kid), { body: scheduleOf(values) });
      tell("The schedule is saved.");
      await refresh();
    },
  });
}

function askRules(key, refresh) {
  const rules = h("textarea", { name: "rules", rows: 10, spellcheck: "false" }, pretty(key.rules ?? {}));
  ask({
    title: "Tighten the rules?",
    lost: ["Rules can only become tighter. What they exclude once, this key never signs again, at any door."],
    fields: [field("Rules", rules, "As JSON, or the name of a preset.")],
    action: "Save",
    run: async (values) => {
      await request("PATCH", keyPath(key.kid), { body: { rules: parseRules(values.rules) } });
      tell("The rules are saved.");
      await refresh();
    },
  });
}

function askLabels(key, refresh) {
  const lines = Object.entries(key.labels).map(([name, value]) => `${name}:${value}`);
  ask({
    title: "Labels",
    lost: ["These lines replace all labels of the key."],
    fields: [field("Labels", h("textarea", { name: "labels", rows: 4 }, lines.join("\n")), "One on each line, as name:value.")],
    action: "Save",
    run: async (values) => {
      await request("PATCH", keyPath(key.kid), { body: { labels: parseLabels(values.labels) } });
      tell("The labels are saved.");
      await refresh();
    },
  });
}

function aliases(key, refresh) {
  const path = keyPath(key.kid, "associate");
  const remove = (alias) =>
    ask({
      title: "Remove this alias?",
      lost: [["Calls that name the key by ", foreign(alias), " will find no key. The key stays."]],
      action: "Remove",
      run: async () => {
        await request("DELETE", path, { query: { alias } });
        tell("The alias is removed.");
        await refresh();
      },
    });
  const add = async ({ alias }) => {
    await request("POST", path, { body: { alias, alias_taken: "refuse" } });
    tell("The key has the alias.");
    await refresh();
  };
  const columns = [["Alias", foreign]];
  if (may("keys:write")) {
    columns.push(["Actions", (alias) => button("Remove", () => remove(alias), { class: "small", "aria-label": `Remove the alias ${alias}` })]);
  }
  return [
    table("Aliases", columns, key.aliases, "It has no alias."),
    may("keys:write") &&
      form({ class: "filters" }, add, field("New alias", input("alias", { required: true })), h("div", { class: "buttons" }, submit("Add"))),
  ];
}

/** Its predecessors, which may be deleted by now. */
function earlier(kids) {
  return table("Keys that it has replaced, newest first", [["Key", (kid) => link(address("key", kid), foreign(kid))]], kids);
}

function certificates(chain) {
  const rows = chain.map((text) => readCertificate(text) ?? { subject: "not readable", issuer: "", starts: "", ends: "" });
  const [own] = rows;
  const columns = [
    ["Subject", ({ subject }) => foreign(subject)],
    ["Issuer", ({ issuer }) => foreign(issuer)],
    ["Profile", ({ profile }) => profile],
    ["From (UTC)", ({ starts }) => time(starts)],
    ["To (UTC)", ({ ends }) => time(ends)],
  ];
  return [
    facts([
      ["Subject", foreign(own.subject)],
      ["Issuer", own.issuer === own.subject ? "itself" : foreign(own.issuer)],
      ["Profile", own.profile ?? "not one of this service's"],
      ["Valid until (UTC)", [time(own.ends), " ", ending(chain.slice(0, 1))]],
      ["Serial number", own.serial && code(own.serial, "serial number")],
    ]),
    h("h3", {}, "Chain"),
    table("Certificates, its own first", columns, rows),
  ];
}
