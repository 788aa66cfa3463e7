// What an approval allows, in words: read from its document and the signed bytes alone, never from what the asker says.
// `mkms approve` uses the same words.

import { decode, encode, sha256 } from "./bytes.js";

// The claims of a JWS that tell what it is for.
const CLAIMS = ["iss", "sub", "aud", "vct", "exp"];
const TOGETHER = { sign: "sign with", mac: "make a MAC with" };
const LONGEST = 200; // characters of a value
const DAY = 86_400; // seconds

const COSE_SIGN1 = "\x84\x6aSignature1"; // the start of a Sig_structure (RFC 9052 section 4.4)

/** The parts of an approval do not belong together: nobody should sign it. */
export class Mismatch extends Error {}

/**
 * The document of an approval, and the lines that say what it allows with a key of this name. Without `crypto.subtle`,
 * the bytes cannot be checked, and are not read. Throws Mismatch.
 */
export async function inWords(approval, name) {
  const signed = decode(approval.document);
  const isChecked = crypto.subtle !== undefined;
  if (isChecked && (await sha256(signed)) !== approval.challenge) throw new Mismatch("The challenge does not match the document.");
  const document = JSON.parse(utf8(signed));
  if (document.sub !== approval.kid) throw new Mismatch("The document is for another key.");
  const { operation, what } = document;
  const data = isChecked ? approval.data : [];
  const key = value(name);
  if (!Object.hasOwn(TOGETHER, operation)) return { document, lines: [visible(other(operation, key, what[0]))] };
  if (data.length > 0 && data.length !== what.length) throw mismatch();
  const each = await Promise.all(what.map((one, place) => signature(one, data[place] === undefined ? null : decode(data[place]))));
  const begin = `${TOGETHER[operation]} ${key}`;
  const lines = each.length === 1 ? [`${begin}: ${each[0]}`] : [`${begin}, ${each.length} times:`, ...each];
  return { document, lines: lines.map(visible) };
}

/** Show characters without a glyph by their number: they could change the order in which a text is read. */
export function visible(text) {
  return text.replace(/[^\P{C}\n]|[^\P{Z} ]/gu, (one) => `\\u{${one.codePointAt(0).toString(16)}}`);
}

/** Show a value so that it cannot pass for words around it; a long one is cut. */
export function value(given) {
  if (typeof given === "string" && /^[!-~]+$/.test(given) && given.length <= LONGEST) return given;
  const shown = JSON.stringify(given);
  return shown.length <= LONGEST ? shown : `${shown.slice(0, LONGEST)}… (${shown.length} characters)`;
}

function mismatch() {
  return new Mismatch("The bytes do not match the document.");
}

function other(operation, key, what) {
  switch (operation) {
    case "export":
      return `export the private key of ${key}`;
    case "delete":
      if (what.after === 0) return `delete ${key}`;
      return `delete ${key} after ${duration(what.after)}`;
    case "change": {
      const names = [...new Set(what.approval.approvers.map((one) => value(one.name)))];
      return `change the approval rule of ${key} to ${what.approval.threshold} of ${names.length}: ${names.join(", ")}`;
    }
    default:
      return `${operation} with ${key}: ${JSON.stringify(what)}`;
  }
}

function duration(seconds) {
  const [number, word] = seconds % DAY === 0 ? [seconds / DAY, "day"] : [seconds, "second"];
  return `${number} ${word}${number === 1 ? "" : "s"}`;
}

async function signature(what, data) {
  if ("type" in what) {
    const { type, ...facts } = what;
    return `${type}: ${Object.entries(facts).map(([name, given]) => `${name} ${value(given)}`).join(", ")}`;
  }
  if ("prehashed" in what) {
    if (data !== null && encode(data) !== what.prehashed) throw mismatch();
    return `the digest ${what.prehashed}`;
  }
  if (data === null) return `bytes with the SHA-256 ${what.sha256}`;
  if ((await sha256(data)) !== what.sha256) throw mismatch();
  return message(data, what.sha256);
}

/** Describe the bytes that a key signs; `digest` is their SHA-256. */
async function message(data, digest) {
  const bytes = `${data.length} bytes with the SHA-256 ${digest}`;
  let text;
  try {
    text = utf8(data);
  } catch {
    const start = String.fromCharCode(...data.subarray(0, COSE_SIGN1.length));
    return start === COSE_SIGN1 ? `COSE_Sign1, ${bytes}` : bytes;
  }
  // A signing input (RFC 7515 section 5.1).
  const parts = /^[\w-]+\.[\w-]+$/.test(text) ? text.split(".") : [];
  try {
    const [header, payload] = parts.map(decode);
    if (header) return await jws(object(header), payload);
  } catch {
    // It is something else.
  }
  const isReadable = text.length <= LONGEST && !/[^\P{Cc}\t\n\r]/u.test(text);
  return isReadable ? `the text ${value(text)}` : bytes;
}

async function jws(header, payload) {
  const begin = "typ" in header ? `JWS of type ${value(header.typ)}` : "JWS";
  let claims = {};
  try {
    claims = object(payload);
  } catch {
    // It has no claims.
  }
  const found = CLAIMS.filter((name) => name in claims).map((name) => `${name} ${claim(name, claims[name])}`);
  if (found.length === 0) found.push(`${payload.length} bytes with the SHA-256 ${await sha256(payload)}`);
  return [begin, ...found].join(", ");
}

function claim(name, given) {
  const isTime = name === "exp" && typeof given === "number" && given >= 0 && given < 253402300800; // the year 10000
  return isTime ? `${new Date(given * 1000).toISOString().slice(0, 19)}Z` : value(given);
}

/** Parse a JSON object whose names differ, since readers take one or the other of two with the same name. */
function object(bytes) {
  const text = utf8(bytes);
  const found = JSON.parse(text);
  const isObject = found !== null && typeof found === "object" && !Array.isArray(found);
  const written = [...text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?/g)].filter(([, colon]) => colon).length;
  if (!isObject || written !== names(found)) throw new TypeError("not such an object");
  return found;
}

/** The number of names in a value. */
function names(found) {
  if (found === null || typeof found !== "object") return 0;
  const inside = Object.values(found).reduce((sum, one) => sum + names(one), 0);
  return Array.isArray(found) ? inside : inside + Object.keys(found).length;
}

function utf8(bytes) {
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
}
