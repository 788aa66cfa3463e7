// The page of tokens: made and shown once, listed, revoked.

import { fill, foreign, h } from "../dom.js";
import { segment } from "../api.js";
import { SCOPES } from "../scopes.js";
import { caller, listing, may, mayAuditAll, request } from "../session.js";
import { tell } from "../notices.js";
import { address, ask, block, boxes, button, endTime, field, form, input, section, submit, table, ticked, time } from "../widgets.js";

const MINUTE = 60_000; // milliseconds

/** The content of the page. */
export async function tokens({ signal }) {
  const list = h("div", {});
  const read = async () => {
    const found = [];
    for await (const { items } of listing("tokens", { profile: null, signal })) found.push(...items);
    fill(list, table("Tokens", columns(found, read), found, "There is no token yet. Make one below for each program."));
  };
  await read();
  const made = h("div", { "aria-live": "polite" });
  return [
    h("h1", {}, "Tokens"),
    made,
    section("Tokens of your profiles", list),
    section("New token", newToken(made, read)),
  ];
}

/** The columns of tokens; `read` reads them again after a change, and leaves a new token in its place. */
function columns(found, read) {
  const isMakerKnown = mayAuditAll(); // these calls are in no profile
  const isUseKnown = found.some((token) => "last_used" in token);
  return [
    ["Name", ({ name }) => foreign(name)],
    ["Scopes", ({ scopes }) => scopes.join(", ")],
    ["Profiles", ({ profiles }) => (profiles ? profiles.map((name) => [foreign(name), " "]) : "all")],
    ["Made (UTC)", (token) => [time(token.created), isMakerKnown && [" ", madeBy(token)]]],
    ["Ends (UTC)", ({ expires }) => (expires ? endTime(expires, "ended") : "never")],
    ...(isUseKnown ? [["Last used (UTC)", (token) => (token.last_used ? time(token.last_used) : "never")]] : []),
    ["Id", ({ id }) => h("code", {}, id)],
    ["Actions", (token) => button("Revoke", () => askRevocation(token, read), { class: "small danger", "aria-label": `Revoke the token ${token.name}` })],
  ];
}

/** A link to the call that made a token, found in the audit log within a minute of its creation. */
function madeBy({ name, created }) {
  const start = Date.parse(`${created.slice(0, 16)}Z`);
  const [since, until] = [start, start + 2 * MINUTE].map((moment) => new Date(moment).toISOString());
  const query = { operation: "createToken", since, until };
  return h("a", { href: address("audit", undefined, query), "aria-label": `by whom the token ${name} was made` }, "by whom");
}

function askRevocation({ id, name, scopes }, read) {
  ask({
    title: "Revoke this token?",
    lost: [
      ["Programs that send the token ", foreign(name), ` are refused from their next call on: they lose ${scopes.join(", ")}.`],
      id === caller().id && "It is the token of this console, which ends with it.",
      "This cannot be undone.",
    ].filter(Boolean),
    action: "Revoke",
    run: async () => {
      await request("DELETE", `tokens/${segment(id)}`);
      tell("The token is revoked.");
      await read();
    },
  });
}

/** The scopes that a token may have, each with its description. */
function scopes() {
  return Object.entries({ ...Object.fromEntries(caller().scopes.map((scope) => [scope, ""])), ...SCOPES });
}

/** The form of a new token, which is shown once, in `place`; `read` reads the list again. */
function newToken(place, read) {
  const known = caller().profiles;
  const send = async (values, form) => {
    const scopes = ticked(form, "scopes");
    const profiles = values.profiles.split(/\s+/).filter(Boolean);
    const body = { name: values.name, scopes };
    if (profiles.length > 0) body.profiles = profiles;
    if (values.expires) body.expires = `${values.expires}T00:00:00Z`;
    const { token } = await request("POST", "tokens", { body });
    form.reset();
    const isDone = button("I have kept it", () => fill(place), { class: "small" });
    fill(
      place,
      section(
        "The new token",
        h("p", {}, "Keep it now: it is shown this once. Whoever has it may do what its scopes allow."),
        block(token, "token"),
        isDone
      )
    );
    place.querySelector("pre").focus();
    await read();
  };
  return form(
    { class: "stack narrow" },
    send,
    field("Name", input("name", { required: true, maxlength: 128 }), "The caller in the audit log."),
    boxes("Scopes", "scopes", scopes().map(([scope, words]) => [scope, [h("code", {}, scope), words && `: ${words}`], false])),
    field(
      "Profiles",
      input("profiles", { placeholder: known ? known.join(" ") : "" }),
      known ? "With spaces between them. Without any, all of your token's." : "With spaces between them. Without any, it is for all profiles, also later ones."
    ),
    field("Ends on", input("expires", { type: "date" }), "In UTC. Without a date it ends only when it is revoked."),
    h("div", { class: "buttons" }, submit("Make the token"))
  );
}
