// The uses of keys that wait for approvals, for the menu and their page.

import { Problem } from "./api.js";
import { currentProfile, may, request } from "./session.js";

const INTERVAL = 30_000; // milliseconds between two readings, each of which is a line in the audit log

const listeners = new Set();
let readings = 0;

/** Call `listener` with the approvals of the profile after each reading, until `signal`. */
export function onWaiting(listener, signal) {
  listeners.add(listener);
  signal?.addEventListener("abort", () => listeners.delete(listener));
}

/** Read the approvals of the current profile, and return once all listeners have them. */
export async function readWaiting() {
  readings += 1;
  const [reading, profile] = [readings, currentProfile()];
  const found = may("approvals") ? await request("GET", "approvals") : [];
  if (reading !== readings || profile !== currentProfile()) return; // a later reading has them
  await Promise.all([...listeners].map((listener) => listener(found)));
}

/** Read them, if it works. */
export function lookForWaiting() {
  readWaiting().catch((error) => {
    if (!(error instanceof Problem) && error.name !== "AbortError") throw error;
  });
}

/** Read them from now on while the tab is visible. */
export function watchWaiting() {
  const look = () => document.visibilityState === "visible" && may("approvals") && lookForWaiting();
  setInterval(look, INTERVAL);
  document.addEventListener("visibilitychange", look);
}
