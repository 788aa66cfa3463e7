// The use of a key, as the audit log has it.

import { bars } from "../charts.js";
import { fill, h } from "../dom.js";
import { sentences } from "../notices.js";
import { currentProfile, listing, request } from "../session.js";
import { address, button, link, remark, section, table } from "../widgets.js";
import { EVENTS } from "./audit.js";

const MOST_EVENTS = 5000; // that the picture of its use counts
const SHOWN_EVENTS = 20;
const HOUR = 3600 * 1000;
// Name of a span, its length in hours, and the hours of a bar.
const SPANS = [
  ["24 hours", 24, 1],
  ["7 days", 168, 6],
  ["30 days", 720, 24],
];

/** A section with the calls of a key over time. */
export function use(kid, signal) {
  const picture = h("div", {}, remark("Reading the audit log …"));
  let chosen = null;
  const show = async (span) => {
    const [, hours, step] = (chosen = span);
    SPANS.forEach((each, number) => choices[number].setAttribute("aria-pressed", each === span));
    let content;
    try {
      content = await drawn(kid, hours, step, signal);
    } catch (error) {
      if (error.name === "AbortError") return;
      content = h("p", { role: "alert" }, sentences(error));
    }
    if (chosen === span) fill(picture, content); // not if another one was chosen meanwhile
  };
  const choices = SPANS.map((span) => button(span[0], () => show(span), { class: "small" }));
  show(SPANS[1]);
  return section("Use", h("div", { class: "buttons" }, choices), picture);
}

async function drawn(kid, hours, step, signal) {
  const end = Math.ceil(Date.now() / (step * HOUR)) * step * HOUR;
  const start = end - hours * HOUR;
  const bins = Array.from({ length: hours / step }, (_, place) => ({
    start: new Date(start + place * step * HOUR).toISOString().slice(0, 16).replace("T", " "),
    good: 0,
    bad: 0,
  }));
  const since = new Date(start).toISOString();
  let number = 0;
  for await (const { items } of listing("audit", { query: { kid, profile: currentProfile(), since, limit: 1000 }, signal })) {
    for (const event of items) {
      const bin = bins[Math.floor((Date.parse(event.time) - start) / (step * HOUR))];
      if (!bin) continue;
      number += 1;
      bin[event.outcome === "success" ? "good" : "bad"] += 1;
    }
    if (number >= MOST_EVENTS) break;
  }
  const failed = bins.reduce((sum, { bad }) => sum + bad, 0);
  const counted = number >= MOST_EVENTS ? `The newest ${number} calls` : `${number} calls`;
  return bars(`${counted} since ${bins[0].start} UTC, ${failed} of them failed. A bar is ${step === 1 ? "an hour" : `${step} hours`}.`, bins);
}

/** A section with the newest events of a key. */
export function events(kid, signal) {
  const rows = h("div", {}, remark("Reading the audit log …"));
  const read = async () => {
    try {
      const found = await request("GET", "audit", { query: { kid, profile: currentProfile(), limit: SHOWN_EVENTS }, signal });
      fill(rows, table("Newest events", EVENTS, found, "No call with this key is recorded. A service records calls if it is started with --audit-log FILE."));
    } catch (error) {
      if (error.name === "AbortError") return;
      fill(rows, h("p", { role: "alert" }, sentences(error)));
    }
  };
  read();
  return section("Events", rows, h("p", {}, link(address("audit", undefined, { kid, profile: currentProfile() }), "All events of this key")));
}
