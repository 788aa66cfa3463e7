// The facts of X.509 certificates (RFC 5280) that the console shows. The service has checked them.

import { decode } from "./bytes.js";

const SEQUENCE = 0x30;
const SET = 0x31;
const OID = 0x06;
const UTC_TIME = 0x17;
const VERSION = 0xa0;
const EXTENSIONS = 0xa3;

const DAY = 86_400_000; // milliseconds
const WARNED = 30; // days before an end from which it is near

// Attributes of names, by their object identifier in hexadecimal digits (RFC 4514 section 3).
const ATTRIBUTES = {
  550403: "CN",
  550404: "SN",
  550405: "serialNumber",
  550406: "C",
  550407: "L",
  550408: "ST",
  "55040a": "O",
  "55040b": "OU",
  "55042a": "givenName",
  550461: "organizationIdentifier",
};

const CONSTRAINTS = "551d13";
const POLICIES = "551d20";
const PURPOSES = "551d25";
const STATEMENTS = "2b06010505070103";

// The profiles of POST /certificate by an object identifier in an extension, and of CAs by their constraints.
const PROFILES = [
  ["pid-provider", STATEMENTS, "04008bec4e0101"],
  ["access", POLICIES, "04008bec4601"],
  ["document-signer", PURPOSES, "28818c5d050102"],
  ["reader", PURPOSES, "28818c5d050106"],
  ["client", PURPOSES, "2b06010505070302"],
  ["document", PURPOSES, "2b06010505070304"],
  ["iaca", CONSTRAINTS, "0101ff020100"],
  ["CA", CONSTRAINTS, "0101ff"],
];

/** Facts of a certificate in DER as base64; null if it cannot be read. `profile` is null for another kind. */
export function readCertificate(text) {
  try {
    const [body] = children(only(decode(text)));
    const parts = children(body);
    if (parts[0].tag === VERSION) parts.shift();
    const [serial, , issuer, validity, subject] = parts;
    const [starts, ends] = children(validity).map(time);
    const names = { subject: name(subject), issuer: name(issuer) };
    return { ...names, starts, ends, serial: hex(serial.content).replace(/^0+/, ""), profile: profile(parts) };
  } catch {
    return null;
  }
}

/** Tell whether a time to come is near enough for a warning. */
export function isNear(at) {
  return Date.parse(at) < Date.now() + WARNED * DAY;
}

/** A warning of the certificate of a chain that ends first, or null. `kind` is that of a badge. */
export function warning(chain = []) {
  const ends = chain.map(readCertificate).filter(Boolean).map((one) => Date.parse(one.ends));
  const days = Math.floor((Math.min(...ends) - Date.now()) / DAY); // Infinity without a certificate
  if (days < 0) return { text: "a certificate has ended", kind: "bad" };
  if (days >= WARNED) return null;
  return { text: `a certificate ends ${days === 0 ? "today" : days === 1 ? "in 1 day" : `in ${days} days`}`, kind: "warn" };
}

/** The profile of a certificate, by its extensions. */
function profile(parts) {
  const given = parts.find(({ tag }) => tag === EXTENSIONS);
  const extensions = new Map(
    (given ? children(elements(given.content)[0]) : []).map((extension) => {
      const [type, ...rest] = children(extension);
      return [hex(type.content), hex(rest.at(-1).content)];
    })
  );
  return PROFILES.find(([, extension, value]) => extensions.get(extension)?.includes(value))?.[0] ?? null;
}

function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The element at the beginning of bytes. */
function only(bytes) {
  return elements(bytes)[0];
}

/** The elements in a constructed one. */
function children({ tag, content }) {
  if (![SEQUENCE, SET].includes(tag)) throw new TypeError("not a sequence");
  return elements(content);
}

function elements(bytes) {
  const found = [];
  for (let place = 0; place < bytes.length; ) {
    const tag = bytes[place];
    let length = bytes[place + 1];
    place += 2;
    if (length >= 0x80) {
      const size = length & 0x7f;
      if (size < 1 || size > 3) throw new RangeError("length");
      length = bytes.slice(place, place + size).reduce((sum, byte) => sum * 256 + byte, 0);
      place += size;
    }
    if (place + length > bytes.length) throw new RangeError("length");
    found.push({ tag, content: bytes.slice(place, place + length) });
    place += length;
  }
  return found;
}

/** A time as RFC 3339. */
function time({ tag, content }) {
  let digits = String.fromCharCode(...content);
  if (tag === UTC_TIME) digits = (Number(digits.slice(0, 2)) < 50 ? "20" : "19") + digits;
  const [, ...parts] = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(digits);
  const [year, month, day, hour, minute, second] = parts;
  return `${year}-${month}-${day}T${hour}:${minute}:${second}Z`;
}

/** A name as text for people, the last attribute first, as in RFC 4514. */
function name(element) {
  const decoder = new TextDecoder();
  const attributes = children(element).flatMap(children).map((pair) => {
    const [type, value] = children(pair);
    if (type.tag !== OID) throw new TypeError("not an attribute");
    const digits = hex(type.content);
    return `${ATTRIBUTES[digits] ?? `#${digits}`}=${decoder.decode(value.content)}`;
  });
  return attributes.reverse().join(", ");
}
