// The page of profiles: the tenants.

import { fill, foreign, h } from "../dom.js";
import { segment } from "../api.js";
import { Results } from "../results.js";
import { chooseProfile, knownProfiles, listing, may, request } from "../session.js";
import { tell } from "../notices.js";
import { ask, badge, boxes, button, field, form, input, remark, submit, table } from "../widgets.js";

const DAY = 86_400; // seconds

/** The content of the page. */
export async function profiles({ signal, refresh }) {
  const results = new Results({
    label: "Profiles",
    columns: columns(refresh),
    noun: "profile",
    empty: "This token is for no profile.",
    source: listed(signal),
  });
  results.begin();
  const make = async ({ name }) => {
    await request("POST", "profile", { body: { name } });
    tell("The profile is made.");
    tellMenu();
    await refresh();
  };
  return [
    h("h1", {}, "Profiles"),
    h("p", {}, "A profile is a tenant: its keys, aliases and labels are not seen from another one."),
    results.element,
    may("keys:read") && counted(signal),
    form({ class: "filters" }, make, field("New profile", input("name", { required: true, maxlength: 128 })), h("div", { class: "buttons" }, submit("Make"))),
  ];
}

/** Yield the profiles page by page, each with its settings; undefined stands for the defaults. */
async function* listed(signal) {
  for await (const { items, isLast } of listing("profiles", { query: { include: "jwks", limit: 50 }, signal })) {
    const settings = new Map(Object.entries(items.settings));
    yield { items: items.profiles.map((name) => ({ name, given: settings.get(name) })), isLast };
  }
}

/** The numbers of keys by profile, largest first, loaded on request since all keys are read. */
function counted(signal) {
  const place = h("div", { "aria-live": "polite" });
  const count = async () => {
    const found = [];
    for (const name of await knownProfiles()) {
      let keys = 0;
      for await (const { items } of listing("keys", { profile: name, query: { limit: 1000 }, signal })) keys += items.length;
      found.push({ name, keys });
      fill(place, remark(`Counted the keys of ${found.length} profiles …`));
    }
    found.sort((one, other) => other.keys - one.keys);
    fill(place, table("Keys by profile", [["Profile", ({ name }) => foreign(name)], ["Keys", ({ keys }) => keys]], found));
  };
  return [h("div", { class: "buttons" }, button("Count the keys", count)), place];
}

/** Update the profiles in the menu. */
function tellMenu() {
  window.dispatchEvent(new Event("profileschange"));
}

function columns(refresh) {
  return [
    ["Profile", ({ name }) => foreign(name)],
    ["Settings", ({ given }) => inWords(given)],
    ["Public keys", ({ given }) => (isPublic(given) ? badge("published") : "for callers only")],
    [
      "Actions",
      ({ name, given }) =>
        h(
          "div",
          { class: "buttons" },
          button("Show keys", () => open(name), { class: "small", "aria-label": `Show keys of ${name}` }),
          button("Settings", () => askSettings(name, given ?? {}, refresh), {
            class: "small",
            "aria-label": `Settings of ${name}`,
          }),
          isPublic(given)
            ? button("Withdraw keys", () => askPublishing(name, false, refresh), { class: "small", "aria-label": `Withdraw keys of ${name}` })
            : button("Publish keys", () => askPublishing(name, true, refresh), { class: "small", "aria-label": `Publish keys of ${name}` }),
          name !== "default" &&
            button("Delete", () => askDeletion(name, refresh), { class: "small danger", "aria-label": `Delete the profile ${name}` })
        ),
    ],
  ];
}

/** Tells whether everyone may read the public keys of a profile with these settings. */
function isPublic(given) {
  return given?.jwks === "public";
}

function open(name) {
  chooseProfile(name);
  tellMenu();
  location.hash = "#/keys";
}

/** Describe the settings of a profile; undefined means the defaults. */
function inWords(given) {
  if (!given) return "none";
  const { max_keys: keys, min_deletion_delay: delay, calls_per_second: rate, delete_scope: scope, frozen, jwks_max_age: age } = given;
  const words = [
    frozen && "frozen",
    keys !== null && `at most ${keys} keys`,
    delay !== null && `deletions after ${Number((delay / DAY).toFixed(1))} days`,
    rate !== null && `at most ${rate} calls a second`,
    scope && "deletions by keys:delete only",
    age !== null && `JWK Set kept for ${age} seconds`,
  ]
    .filter(Boolean)
    .join(", ");
  return words || "none";
}

function askSettings(name, given, refresh) {
  const number = (value) => (value === "" ? null : Number(value));
  const whole = (member, value, most) => input(member, { type: "number", min: 0, max: most, value: value ?? "" });
  const delay = given.min_deletion_delay ? given.min_deletion_delay / DAY : "";
  ask({
    title: "Settings of this profile",
    lost: [["They hold for all callers in ", foreign(name), ". Callers over a bound are refused."]],
    fields: [
      field("Most keys", whole("keys", given.max_keys, 1e9), "Empty for no bound."),
      field("Days until a deletion", whole("days", delay, 365), "At least, from the call on."),
      field("Most calls a second", whole("rate", given.calls_per_second, 1e6), "Empty for no bound."),
      field(
        "Seconds for which readers may keep the JWK Set",
        whole("age", given.jwks_max_age, 90 * DAY),
        "Empty: they ask each time. Keys must publish their next keys for at least so long."
      ),
      boxes("Deletions", "scope", [["scope", "need the scope keys:delete: keys:write is not enough", given.delete_scope]]),
      boxes("All changes", "frozen", [["frozen", "are refused: the profile is frozen", given.frozen]]),
    ],
    action: "Save",
    run: async ({ keys, days, rate, age, scope, frozen }) => {
      const body = {
        max_keys: number(keys),
        min_deletion_delay: days === "" ? null : Number(days) * DAY,
        calls_per_second: number(rate),
        jwks_max_age: number(age),
        delete_scope: scope !== undefined,
        frozen: frozen !== undefined,
      };
      await request("PATCH", `profile/${segment(name)}`, { body });
      tell("The settings are saved.");
      await refresh();
    },
  });
}

function askPublishing(name, isPublic, refresh) {
  const jwks = isPublic ? "public" : "private";
  ask({
    title: isPublic ? "Publish the public keys?" : "Withdraw the public keys?",
    lost: [
      isPublic
        ? ["Everyone who reaches the service can then read the JWK Set of ", foreign(name), " without a token: its public keys, kids and aliases."]
        : ["Verifiers without a token can then no longer read the JWK Set of ", foreign(name), "."],
    ],
    action: isPublic ? "Publish" : "Withdraw",
    run: async () => {
      await request("PATCH", `profile/${segment(name)}`, { body: { jwks } });
      tell(`The JWK Set is ${jwks}.`);
      await refresh();
    },
  });
}

function askDeletion(name, refresh) {
  ask({
    title: "Delete this profile?",
    lost: [
      ["Lost are all keys, aliases and labels of ", foreign(name), ", and the tokens that are for it alone."],
      "What was encrypted to these keys can never be read again. This cannot be undone.",
    ],
    typed: name,
    action: "Delete",
    run: async () => {
      await request("DELETE", `profile/${segment(name)}`);
      tell("The profile is deleted.");
      tellMenu();
      await refresh();
    },
  });
}
