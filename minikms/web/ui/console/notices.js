// Notices above the page: what was done, or why it was not.

import { Problem } from "./api.js";
import { h } from "./dom.js";

/** Tell that something is done. */
export function tell(text) {
  notice("status", "good", text);
}

/** Tell why something was not done; errors of the console itself go on. */
export function tellProblem(error) {
  if (error.name === "AbortError") return;
  if (!(error instanceof Problem)) {
    notice("alert", "bad", "The console has a fault.");
    throw error;
  }
  notice("alert", "bad", ...sentences(error));
}

/** A problem in words. */
export function sentences(problem) {
  return [
    problem.message,
    problem.isUnknown && " The change may have been made: look before you try again.",
    problem.faults.length > 0 && h("ul", {}, problem.faults.map((fault) => h("li", {}, fault))),
    problem.requestId && h("small", {}, ` Request id: ${problem.requestId}`),
  ];
}

function notice(role, kind, ...children) {
  const close = h("button", { type: "button", class: "small", "aria-label": "Close the notice" }, "Close");
  const shown = h("div", { role, class: `notice ${kind}` }, h("div", {}, children), close);
  close.addEventListener("click", () => shown.remove());
  document.getElementById("notices").replaceChildren(shown);
}
