// The page of due dates: scheduled deletions, expiries, steps of rotations and certificates, in order of time.

import { fill, foreign, h } from "../dom.js";
import { readCertificate } from "../certificates.js";
import { listing } from "../session.js";
import { address, endTime, link, nameOf, table } from "../widgets.js";
import { isLeft, publishes } from "./key_steps.js";

const SHOWN = 200;

/** The due dates of a key, each with its time. */
function endsOf(key) {
  const chain = (key.certificates ?? []).map(readCertificate);
  return [
    key.deletes && { at: key.deletes, event: "the key is deleted", key },
    key.expires && { at: key.expires, event: "the key verifies only", key },
    publishes(key) && { at: publishes(key), event: "its next key is published", key },
    key.rotates && { at: key.rotates, event: "the key is rotated", key },
    isLeft(key) && { at: key.retires, event: "the key retires", key },
    ...chain.map(
      (one, place) =>
        one && { at: one.ends, event: place ? "a certificate above it ends" : "its certificate ends", of: one.subject, key }
    ),
  ].filter(Boolean);
}

/** The content of the page. */
export async function due({ signal }) {
  const status = h("p", { role: "status", class: "quiet" }, "Looking through the keys …");
  const results = h("div", {});
  look(results, status, signal);
  return [h("h1", {}, "Due"), h("p", {}, "Deletions, expiries, steps of rotations and ends of certificates in this profile."), status, results];
}

async function look(results, status, signal) {
  const ends = [];
  let number = 0;
  try {
    for await (const { items } of listing("keys", { query: { limit: 1000 }, signal })) {
      number += items.length;
      ends.push(...items.flatMap(endsOf));
      fill(status, `Looked through ${number} keys …`);
    }
  } catch (error) {
    if (error.name !== "AbortError") fill(status, `Not all keys were read: ${error.message}`);
    return;
  }
  ends.sort((one, other) => Date.parse(one.at) - Date.parse(other.at));
  fill(status, `${ends.length} dates in ${number} keys${ends.length > SHOWN ? `; the first ${SHOWN} are shown` : ""}.`);
  fill(results, table("What ends", COLUMNS, ends.slice(0, SHOWN), "Nothing ends in this profile."));
}

const COLUMNS = [
  ["When (UTC)", ({ at }) => endTime(at)],
  ["Event", ({ event, of }) => (of ? [`${event}: `, foreign(of)] : event)],
  ["Key", ({ key }) => link(address("key", key.kid), foreign(nameOf(key)))],
];
