// The steps of a key's rotation: published, signing, replaced, retired; and the settings of their times.

import { foreign, h } from "../dom.js";
import { keyPath, request } from "../session.js";
import { address, badge, field, input, link, section, time } from "../widgets.js";

export const DAY = 86_400; // seconds
const USES = ["sign", "mac", "encrypt", "wrap", "derive", "encapsulate", "hpke-seal", "box", "jwe-encrypt"];

// Members of a key, each with its label and hint; the fields are in days.
const SETTINGS = [
  ["rotate_every", "Days between rotations", "Empty: it is not rotated by itself."],
  ["publish_ahead", "Days for which the next key is published before", "At least as long as verifiers keep the JWK Set. Empty: a new key signs at once."],
  ["retire_after", "Days until a replaced key retires", "Longer than what it signed is valid. Empty: it stays published."],
];

/** The fields of the times of a key. */
export function scheduleFields(key) {
  const days = (name) => input(name, { type: "number", min: 0, max: 3650, step: "any", value: key[name] && key[name] / DAY });
  return SETTINGS.map(([name, label, hint]) => field(label, days(name), hint));
}

/** The times of these fields in seconds, null for none. */
export function scheduleOf(values) {
  return Object.fromEntries(SETTINGS.map(([name]) => [name, values[name] ? Math.round(Number(values[name]) * DAY) : null]));
}

/** A number of seconds in words. */
export function days(seconds) {
  const [number, word] = seconds < DAY ? [seconds, "second"] : [Number((seconds / DAY).toFixed(1)), "day"];
  return `${number} ${word}${number === 1 ? "" : "s"}`;
}

/** The next key of a key, or the key that a next key follows; null for none. */
export async function neighbour({ next, follows }, signal) {
  if (!next && !follows) return null;
  try {
    return await request("GET", keyPath(next ?? follows), { signal });
  } catch (problem) {
    if (problem.status === 404) return null; // it was deleted meanwhile
    throw problem;
  }
}

/** The time at which the service publishes the next key of a key; null without a schedule, or if it has one. */
export function publishes(key) {
  return key.rotates && key.publish_ahead && !key.next ? after(key.rotates, -key.publish_ahead) : null;
}

/** Tell whether a key was replaced and will retire. */
export function isLeft(key) {
  return Boolean(key.retires) && key.state !== "disabled";
}

function after(text, seconds) {
  return new Date(Date.parse(text) + seconds * 1000).toISOString();
}

/** A section with the line of a key in time, or null for a key that is in no rotation. */
export function steps(key, other) {
  const shown = lineOf(key, other);
  if (!shown) return null;
  const present = shown.findIndex(([when]) => when === "now"); // its own step, before that of its next key
  const rows = shown.map(([when, name, at, note], place) =>
    h(
      "li",
      { class: when, "aria-current": place === present && "step" },
      h("div", { class: "line" }, h("strong", {}, name), badge(WORDS[when], when === "now" ? "good" : "plain")),
      at && h("div", {}, time(at)),
      note && h("div", { class: "quiet" }, note)
    )
  );
  return section("In time (UTC)", h("ol", { class: "steps" }, rows));
}

const WORDS = { past: "past", now: "now", later: "to come" };

/** The steps of a key as when, name, time and note; null if it has none. */
function lineOf(key, other) {
  const published = key.jwk ? "Published" : "Made";
  const uses = key.operations.includes("sign") ? "Signing" : "In use";
  const retires = (when, at, note) => [when, "Retired", at, note];
  if (key.state === "next") {
    const named = link(address("key", key.follows), other ? foreign(other.aliases[0] ?? shortened(key.follows)) : "its key");
    return [
      ["now", published, key.created, ["follows ", named]],
      ["later", uses, other?.rotates, !other?.rotates && "after a rotation by hand"],
      ["later", "Replaced"],
      retires("later", null, other?.retire_after ? `${days(other.retire_after)} later` : "not scheduled"),
    ];
  }
  const begun = ["past", published, key.created];
  if (key.retires) {
    const isOver = key.state === "disabled";
    if (isOver && Date.parse(key.retires) > Date.now()) return null; // somebody has disabled it
    return [
      begun,
      ["past", uses],
      [isOver ? "past" : "now", "Replaced", null, key.state === "verify-only" && "only verifies and decrypts"],
      retires(isOver ? "now" : "later", key.retires, isOver ? "disabled" : "disabled then"),
    ];
  }
  if (key.state === "verify-only" && key.aliases.length === 0 && !key.next) {
    return [begun, ["past", uses], ["now", "Replaced", null, "only verifies and decrypts"], retires("later", null, "not scheduled")];
  }
  if (key.state !== "enabled" || key.deletes || !key.operations.some((name) => USES.includes(name))) return null;
  const next = key.next
    ? [["now", `Next key ${key.jwk ? "published" : "made"}`, other?.created, link(address("key", key.next), foreign(shortened(key.next)))]]
    : publishes(key)
      ? [["later", `Next key ${key.jwk ? "published" : "made"}`, publishes(key)]]
      : [];
  const end = key.retire_after && key.rotates && after(key.rotates, key.retire_after);
  return [
    begun,
    ["now", uses],
    ...next,
    ["later", "Replaced", key.rotates, !key.rotates && "by hand: no schedule"],
    retires("later", end, end ? null : key.retire_after ? `${days(key.retire_after)} later` : "not scheduled"),
  ];
}

function shortened(kid) {
  return `${kid.slice(0, 10)}…`;
}
