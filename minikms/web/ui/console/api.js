// Calls of the REST API, which docs/http-api.md describes.

// The page may be below a path of a proxy.
const ROOT = new URL("../", new URL(".", document.location));

// In memory alone: it ends with the tab, or when the page is loaded again. No storage, cookie or URL has it.
let token = null;

/** Send this token with each call; null for none. */
export function useToken(text) {
  token = text;
}

/** A call that the service refused, or did not answer. */
export class Problem extends Error {
  constructor(status, body, requestId) {
    super(body.detail || body.title);
    this.status = status;
    this.slug = (body.type ?? "").split(":").at(-1);
    this.faults = (body.errors ?? []).map(({ pointer, detail }) => `${pointer.slice(2)}: ${detail}`);
    this.isUnknown = body.outcome === "unknown";
    this.requestId = requestId;
  }
}

/**
 * Call the API, and return the response. `query` is an object, whose lists repeat a parameter and whose
 * empty values are left out, or URLSearchParams.
 */
async function send(method, path, { query, body, profile, signal } = {}) {
  const url = new URL(path, ROOT);
  url.search = query instanceof URLSearchParams ? query : parameters(query);
  const headers = {};
  if (profile) headers["X-Profile"] = profile;
  if (token) headers.Authorization = `Bearer ${token}`;
  if (method !== "GET") headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(url, {
      method,
      headers,
      signal,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The service does not answer." }, null);
  }
  if (!response.ok) {
    const body = await response.json().catch(() => ({}));
    const title = body.title ?? `The answer has the status ${response.status}.`;
    throw new Problem(response.status, { ...body, title }, response.headers.get("X-Request-Id"));
  }
  return response;
}

/** Call the API, and return the body of its answer. */
export async function call(method, path, options) {
  return (await send(method, path, options)).json();
}

/** Read a text, such as the metrics. */
export async function readText(path, options) {
  return (await send("GET", path, options)).text();
}

/** Read the pages of a listing, one by one, by the `Link` of each (RFC 8288); yields `{ items, isLast }`. */
export async function* pages(path, { query, ...options } = {}) {
  for (let next = query ?? {}; next; ) {
    const response = await send("GET", path, { ...options, query: next });
    const items = await response.json();
    const link = /<([^>]*)>;\s*rel="next"/.exec(response.headers.get("Link") ?? "");
    next = link && new URL(link[1], ROOT).searchParams;
    yield { items, isLast: !next };
  }
}

/** A part of a path. */
export const segment = encodeURIComponent;

function parameters(query = {}) {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    [value].flat().map((each) => [name, each])
  );
  return new URLSearchParams(
    pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined)
  );
}
