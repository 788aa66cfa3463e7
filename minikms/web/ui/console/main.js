// The console: finds the page of the address, and shows it to callers who may see it.
// The address is `#/page/argument?query`; browsers do not send it to servers.

import { fill, foreign, h } from "./dom.js";
import { approvals } from "./pages/approvals.js";
import { audit } from "./pages/audit.js";
import { due } from "./pages/due.js";
import { health } from "./pages/health.js";
import { key } from "./pages/key.js";
import { keys } from "./pages/keys.js";
import { make } from "./pages/make.js";
import { profiles } from "./pages/profiles.js";
import { signIn } from "./pages/sign-in.js";
import { tokens } from "./pages/tokens.js";
import { tryOut } from "./pages/try.js";
import * as session from "./session.js";
import { dropNotice, dropRefusal, sentences, tellProblem } from "./notices.js";
import { lookForWaiting, onWaiting, watchWaiting } from "./waiting.js";
import { badge, button, choice, field, input, remark } from "./widgets.js";

// Name, text in the menu, scope that callers need, and the function that makes the content. A page that is not in the
// menu is reached from others. `title` is its heading, if it has no text in the menu or another one.
const PAGES = [
  { name: "keys", menu: "Keys", scope: "keys:read", show: keys },
  { name: "key", title: "Key", scope: "keys:read", show: key },
  { name: "make", menu: "New key", scope: "keys:write", show: make },
  { name: "due", menu: "Due", scope: "keys:read", show: due },
  { name: "approvals", menu: "Approvals", title: "Waiting for approval", scope: "approvals", show: approvals },
  { name: "try", menu: "Try it", scopes: ["sign", "verify"], show: tryOut },
  { name: "profiles", menu: "Profiles", scope: "profiles", show: profiles },
  { name: "tokens", menu: "Tokens", scope: "admin", show: tokens },
  { name: "audit", menu: "Audit", scope: "audit", show: audit },
  { name: "health", menu: "Health", scopes: [], show: health },
];
const MOST_OPTIONS = 200; // beyond it, a profile is typed

const main = document.getElementById("main");
const menu = document.getElementById("menu");
const caller = document.getElementById("caller");
let shown = new AbortController();
let place = ""; // the page that is shown, its argument and its profile

function scopesOf(page) {
  return page.scopes ?? [page.scope];
}

function isPermitted(page) {
  const scopes = scopesOf(page);
  return scopes.length === 0 || scopes.some(session.may);
}

/** The page, the argument and the query of the address. */
function wanted() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, argument] = path.split("/");
  const page = PAGES.find((one) => one.name === name) ?? PAGES.find(isPermitted);
  return { page, argument: decoded(argument), query: new URLSearchParams(query) };
}

function decoded(text) {
  try {
    return text && decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Show the page of the address, and cancel pending calls of the previous page. */
async function show() {
  dropRefusal();
  shown.abort();
  shown = new AbortController();
  const { signal } = shown;
  if (session.caller() === null) {
    showSignIn();
    return;
  }
  const { page, argument, query } = wanted();
  for (const item of menu.children) {
    if (item.dataset.page === page.name) item.setAttribute("aria-current", "page");
    else item.removeAttribute("aria-current");
  }
  const before = place;
  place = JSON.stringify([page.name, argument, session.currentProfile()]);
  if (place !== before) present([h("h1", {}, page.title ?? page.menu), remark("Loading…")]);
  main.setAttribute("aria-busy", "true");
  let content;
  try {
    content = isPermitted(page)
      ? await page.show({ argument, query, signal, refresh: show })
      : [h("h1", {}, "Not permitted"), h("p", {}, `This token lacks the scope ${scopesOf(page).join(" or ")}.`)];
  } catch (error) {
    if (signal.aborted) return;
    if (!("status" in error)) throw error;
    content = [h("h1", {}, "Not to be shown"), h("p", { role: "alert" }, sentences(error))];
  }
  if (signal.aborted) return;
  present(content);
}

/** Show content on the page, and focus its heading. */
function present(content) {
  const focused = document.activeElement;
  const isFirst = focused === document.body;
  fill(main, content);
  main.removeAttribute("aria-busy");
  const heading = main.querySelector("h1");
  document.title = `${heading.textContent} · Mini KMS`;
  heading.tabIndex = -1;
  if (!isFirst && !focused.isConnected) heading.focus();
  else if (menu.contains(focused)) heading.focus();
}

function showSignIn(remark) {
  shown.abort();
  session.end();
  place = "";
  dropNotice();
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  fill(menu);
  fill(caller);
  present(signIn(enter, remark));
  main.querySelector("[name=token]").focus();
}

/** Begin with a token, or without one; throws Problem. */
async function enter(token) {
  await session.begin(token);
  await showCaller();
  showMenu();
  await show();
}

/** Show links to the pages that the caller may see in the current profile. */
function showMenu() {
  fill(
    menu,
    PAGES.filter((page) => page.menu && isPermitted(page)).map((page) =>
      h("a", { href: `#/${page.name}`, "data-page": page.name }, page.menu)
    )
  );
  lookForWaiting();
}

/** Show beside the link to the approvals how many wait. */
function showWaiting(found) {
  const item = menu.querySelector("[data-page=approvals]");
  const number = found.filter(({ state }) => state === "pending").length;
  if (item) fill(item, "Approvals", number > 0 && [" ", badge(number, "warn")]);
}

/** Show the caller and the current profile. */
async function showCaller() {
  const { name } = session.caller();
  const names = (await session.knownProfiles()) ?? [];
  if (names.length > 0 && !names.includes(session.currentProfile())) {
    session.chooseProfile(names.includes("default") ? "default" : names[0]);
  }
  const current = session.currentProfile();
  const control =
    names.length > 0 && names.length <= MOST_OPTIONS
      ? choice("profile", names.map((each) => [each, each]), current)
      : input("profile", { value: current, required: true, pattern: "[!-~]{1,128}" });
  control.addEventListener("change", () => {
    if (!control.reportValidity()) return;
    session.chooseProfile(control.value);
    showMenu();
    if (wanted().page.name === "key") location.hash = "#/keys";
    else show();
  });
  const signOut = button("Sign out", () => showSignIn("The token is forgotten."), { class: "small" });
  fill(caller, field("Profile", control), name ? [h("span", {}, foreign(name)), signOut] : null);
}

/** Begin at once if callers need no token. A call without one would leave a line in the audit log. */
async function start() {
  if (document.documentElement.dataset.token === "needed") {
    showSignIn();
    return;
  }
  try {
    await enter(null);
  } catch (problem) {
    if (problem.name === "AbortError") return;
    present([h("h1", {}, "Not reached"), h("p", {}, "The service does not answer as it should.")]);
    tellProblem(problem);
  }
}

onWaiting(showWaiting);
watchWaiting();
session.onEnd(() => showSignIn("The token is no longer valid."));
window.addEventListener("hashchange", show);
window.addEventListener("profileschange", () => showCaller().catch(tellProblem));
// A browser may keep a page after it is left, and show it to whoever goes back.
window.addEventListener("pagehide", () => showSignIn());
window.addEventListener("pageshow", (event) => event.persisted && start());
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

await start();
