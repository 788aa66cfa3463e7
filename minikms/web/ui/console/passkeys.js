// Passkeys (Web Authentication): the assertion that approves a use of a key, and the registration of a new one.

import { Problem } from "./api.js";
import { decode, encode } from "./bytes.js";

// How keys of passkeys are read, by their COSE numbers, in the order of preference.
const ALGORITHMS = new Map([
  [-7, { name: "ECDSA", namedCurve: "P-256" }],
  [-8, { name: "Ed25519" }],
  [-257, { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }],
]);
const MEMBERS = ["kty", "crv", "x", "y", "n", "e"]; // of a public JWK

const REASONS = {
  NotAllowedError: "It was cancelled, took too long, or this device does not have it.",
  NotSupportedError: "This device makes no key that Mini KMS can check.",
  SecurityError: "The browser refuses it on this page.",
};

/** The sentence that says why no passkey can be used on this page; null if one can. */
export function obstacle() {
  const { hostname } = location;
  if (/^\[|^[\d.]+$/.test(hostname)) {
    return "Browsers use passkeys at a name, not at an IP address: open the console on a domain over HTTPS, or at localhost.";
  }
  if (!window.isSecureContext) return "Browsers use passkeys over HTTPS only: open the console on a domain over HTTPS, or at localhost.";
  if (!window.PublicKeyCredential) return "This browser has no passkeys.";
  return null;
}

/** Tell whether passkeys of a relying party can be used on this page. */
export function isOfPage(rpId) {
  return location.hostname === rpId || location.hostname.endsWith(`.${rpId}`);
}

/** Sign a challenge by one of the passkeys with these ids; gives an AuthenticationResponseJSON. Throws Problem. */
export async function assertion(challenge, rpId, ids, signal) {
  const publicKey = {
    challenge,
    rpId,
    allowCredentials: ids.map((id) => ({ type: "public-key", id: decode(id) })),
    userVerification: "required",
  };
  const made = await attempt(() => navigator.credentials.get({ publicKey, signal }));
  const response = {};
  for (const name of ["clientDataJSON", "authenticatorData", "signature"]) response[name] = bytesOf(made.response[name]);
  return { id: made.id, rawId: made.id, type: made.type, clientExtensionResults: made.getClientExtensionResults(), response };
}

/** Make a passkey for this page; gives the approver of a rule. Throws Problem. */
export async function register(name, signal) {
  const publicKey = {
    rp: { id: location.hostname, name: "Mini KMS" },
    user: { id: crypto.getRandomValues(new Uint8Array(16)), name, displayName: name },
    challenge: crypto.getRandomValues(new Uint8Array(32)), // of no use: nothing trusts the registration itself
    pubKeyCredParams: (await offered()).map((alg) => ({ type: "public-key", alg })),
    authenticatorSelection: { residentKey: "preferred", userVerification: "required" },
  };
  const { id, response } = await attempt(() => navigator.credentials.create({ publicKey, signal }));
  const algorithm = ALGORITHMS.get(response.getPublicKeyAlgorithm());
  const key = await attempt(() => crypto.subtle.importKey("spki", response.getPublicKey(), algorithm, true, ["verify"]));
  const exported = await crypto.subtle.exportKey("jwk", key);
  const jwk = Object.fromEntries(MEMBERS.filter((member) => member in exported).map((member) => [member, exported[member]]));
  return { name, jwk, passkey: { id, rp_id: location.hostname, origins: [location.origin] } };
}

/** The algorithms whose keys this browser can read. */
async function offered() {
  const makes = (alg) => crypto.subtle.generateKey(ALGORITHMS.get(alg), false, ["sign", "verify"]).then(() => true, () => false);
  return (await makes(-8)) ? [...ALGORITHMS.keys()] : [-7, -257];
}

async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (error.name === "AbortError" || !(error instanceof DOMException)) throw error;
    throw new Problem(0, { detail: `The passkey was not used. ${REASONS[error.name] ?? error.name}` }, null);
  }
}

function bytesOf(buffer) {
  return encode(new Uint8Array(buffer));
}
