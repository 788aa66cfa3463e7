// The facts of X.509 certificates (RFC 5280) that the console shows. The service has checked them.

import { decode } from "./bytes.js";

const SEQUENCE = 0x30;
const SET = 0x31;
const OID = 0x06;
const UTC_TIME = 0x17;
const VERSION = 0xa0;

// Attributes of names, by their object identifier in hexadecimal digits (RFC 4514 section 3).
const ATTRIBUTES = {
  550403: "CN",
  550406: "C",
  550407: "L",
  550408: "ST",
  "55040a": "O",
  "55040b": "OU",
};

/** Subject, issuer and validity of a certificate in DER as base64; null if it cannot be read. */
export function readCertificate(text) {
  try {
    const [body] = children(only(decode(text)));
    const parts = children(body);
    if (parts[0].tag === VERSION) parts.shift();
    const [, , issuer, validity, subject] = parts;
    const [starts, ends] = children(validity).map(time);
    return { subject: name(subject), issuer: name(issuer), starts, ends };
  } catch {
    return null;
  }
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

/** A name as text, the last attribute first (RFC 4514). */
function name(element) {
  const decoder = new TextDecoder();
  const attributes = children(element).flatMap(children).map((pair) => {
    const [type, value] = children(pair);
    if (type.tag !== OID) throw new TypeError("not an attribute");
    const digits = Array.from(type.content, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return `${ATTRIBUTES[digits] ?? `#${digits}`}=${decoder.decode(value.content)}`;
  });
  return attributes.reverse().join(",");
}
