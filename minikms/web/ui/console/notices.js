// Notices above the page: what was done, or why it was not.

import { Problem } from "./api.js";
import { h } from "./dom.js";

const place = document.getElementById("notices");

/** Tell that something is done. */
export function tell(text) {
  notice("status", "good", text);
}

/**
 * Tell why something was not done; errors of the console itself go on. `question` is the title of a dialog that asked
 * for it, and is closed.
 */
export function tellProblem(error, question) {
  if (error.name === "AbortError") return;
  if (!(error instanceof Problem)) {
    notice("alert", "bad", "The console has a fault.");
    throw error;
  }
  notice("alert", "bad", question && `${question} `, ...sentences(error));
}

/** Remove the notice of an earlier action. */
export function dropNotice() {
  place.replaceChildren();
}

/** Remove a refusal when another page is shown. A success stays, since it may have led to that page. */
export function dropRefusal() {
  place.querySelector(".bad")?.remove();
}

/** Scroll the element that has the focus out from under a notice. */
export function uncover() {
  const focused = document.activeElement;
  const notice = place.firstElementChild;
  if (notice === null || notice.contains(focused)) return;
  const [one, other] = [focused, notice].map((each) => each.getBoundingClientRect());
  if (one.bottom > other.top && one.top < other.bottom) focused.scrollIntoView({ block: "nearest" });
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
  place.replaceChildren(shown);
  uncover();
}
