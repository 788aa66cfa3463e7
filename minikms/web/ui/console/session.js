// The caller of this tab: its permissions, and its current profile.

import { Problem, call, pages, readText, segment, useToken } from "./api.js";

// The scopes of calls that are in no profile.
const IN_NO_PROFILE = new Set(["profiles", "audit", "admin"]);

let own = null;
let profile = "default";
let ended = () => {};
let session = new AbortController(); // aborted at its end, with all that it waits for

/** Call `listener` when the service no longer accepts the token. */
export function onEnd(listener) {
  ended = listener;
}

/** Begin as the holder of a token, or without one; throws Problem if it is not valid. */
export async function begin(text) {
  end();
  useToken(text);
  const { signal } = session;
  try {
    own = await call("GET", "tokens/self", { signal });
  } catch (problem) {
    if (!signal.aborted) end();
    throw problem;
  }
  const { profiles } = own;
  profile = !profiles || profiles.includes("default") ? "default" : (profiles[0] ?? "default");
}

/** Forget the token, and drop answers that arrive later. */
export function end() {
  session.abort();
  session = new AbortController();
  useToken(null);
  own = null;
}

/** The caller's permissions from `GET /tokens/self`; null before `begin`. */
export function caller() {
  return own;
}

/** Tell whether the caller has a scope in the current profile; true if callers need no token. */
export function may(scope) {
  const isValid = ({ profiles }) => own.roles.length === 0 || IN_NO_PROFILE.has(scope) || !profiles || profiles.includes(profile);
  return own !== null && granting(scope).some(isValid);
}

/** Tell whether the caller may read the audit log and the metrics of all profiles. */
export function mayAuditAll() {
  return own !== null && granting("audit").some(({ profiles }) => profiles === null);
}

/** The roles of the caller, each with its own scopes and profiles, or its token. */
function grants() {
  return own.roles.length > 0 ? own.roles : [own];
}

function granting(scope) {
  return grants().filter(({ scopes }) => scopes.includes(scope));
}

/** The profile of calls. */
export function currentProfile() {
  return profile;
}

export function chooseProfile(name) {
  profile = name;
}

/** The names of the profiles that the caller may use, or null if it cannot know them. */
export async function knownProfiles() {
  // A listing has the profiles of the roles with this scope alone.
  if (granting("profiles").length < grants().length) return own.profiles;
  const names = [];
  for await (const { items } of listing("profiles", { query: { limit: 1000 } })) names.push(...items.profiles);
  return names;
}

/** Call the API in the current profile. */
export async function request(method, path, options) {
  return checked(() => call(method, path, { profile, ...options, ...ending(options) }));
}

/** Read a text document of the service. */
export async function requestText(path, options) {
  return checked(() => readText(path, { ...options, ...ending(options) }));
}

/** Read a listing in the current profile, page by page. */
export async function* listing(path, options) {
  try {
    yield* pages(path, { profile, ...options, ...ending(options) });
  } catch (problem) {
    checkEnd(problem);
    throw problem;
  }
}

/** A signal that aborts a call at the end of its session, or by its own signal. */
function ending({ signal } = {}) {
  return { signal: signal ? AbortSignal.any([session.signal, signal]) : session.signal };
}

/** A typed name of a key as the member or the parameter of a call: its kid, which is a thumbprint, or an alias. */
export function naming(text) {
  return { [/^[\w-]{43}$/.test(text) ? "kid" : "alias"]: text };
}

/** The path of a key, or of a call on it. */
export function keyPath(kid, part = "") {
  return `key/${segment(kid)}${part && `/${part}`}`;
}

async function checked(work) {
  try {
    return await work();
  } catch (problem) {
    checkEnd(problem);
    throw problem;
  }
}

function checkEnd(problem) {
  if (problem instanceof Problem && problem.status === 401 && own !== null) {
    end();
    ended();
  }
}
