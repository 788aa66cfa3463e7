// Bytes as text: base64url (RFC 4648 section 5), and the parts of a JWS (RFC 7515).

/** Bytes as base64url without padding. */
export function encode(bytes) {
  const binary = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** The bytes of a text in UTF-8, as base64url. */
export function encodeText(text) {
  return encode(new TextEncoder().encode(text));
}

/** The SHA-256 of bytes, as base64url. A browser has it only on pages over HTTPS and of this machine. */
export async function sha256(bytes) {
  return encode(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
}

/** The bytes of base64url or base64; throws an error for anything else. */
export function decode(text) {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

/** Show bytes as text if they are UTF-8, otherwise in hexadecimal digits. */
export function shown(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }
}

/** A value as JSON for people. */
export function pretty(value) {
  return JSON.stringify(value, null, 2);
}

/** The header and the payload of a compact JWS for people, and the length of its signature; null for another text. */
export function decodeJws(text) {
  const parts = text.trim().split(".");
  if (parts.length !== 3) return null;
  try {
    const [header, payload, signature] = parts.map(decode);
    return { header: asJson(header), payload: asJson(payload), length: signature.length };
  } catch {
    return null;
  }
}

function asJson(bytes) {
  const text = shown(bytes);
  try {
    return pretty(JSON.parse(text));
  } catch {
    return text;
  }
}
