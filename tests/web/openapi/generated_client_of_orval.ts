// Makes ten calls by the functions that orval makes of the document.
import * as kms from "./kms.js";

/** The body of a success; throws the type of the problem if there is one. */
function body<T extends { status: number; data: unknown }>(answer: T): Extract<T, { status: 200 }>["data"] {
  if (answer.status !== 200) throw new Error((answer.data as kms.Problem).type);
  return (answer as Extract<T, { status: 200 }>)["data"];
}

const text = (value: string) => atob(value.replace(/-/g, "+").replace(/_/g, "/"));
const data = "aGVsbG8=";

const { kid, jwk } = body(await kms.generateKey({ alg: kms.AlgorithmName.p256, alias: "a" }));
const { sig } = body(await kms.sign({ alias: "a", data }));
if (jwk === null) throw new Error("a key pair has a public JWK");
const { valid } = body(await kms.verify({ jwk, data, sig }));
console.log(valid);

const signed = body(await kms.signJws({ kid, payload: data, alg: null }));
if (!("jws" in signed)) throw new Error("a payload is signed as a JWS");
const { jws } = signed;
if (!body(await kms.verifyJws({ kid, jws })).valid) throw new Error("the JWS is valid");

const secret = body(await kms.generateKey({ alg: kms.AlgorithmName.a256gcm }));
if (secret.jwk !== null) throw new Error("a symmetric key has no public JWK");
const { ciphertext, nonce, tag } = body(await kms.encrypt({ kid: secret.kid, plaintext: data }));
console.log(text(body(await kms.decrypt({ kid: secret.kid, ciphertext, nonce, tag })).plaintext));

const { jwe } = body(
  await kms.encryptJwe({ recipients: [{ jwk, alg: "ECDH-ES" }], enc: "A256GCM", plaintext: data, serialization: "compact", from: null }),
);
console.log(text(body(await kms.decryptJwe({ kid, jwe, from: null })).plaintext));

body(await kms.updateKey(kid, { expires: null }));
body(await kms.deleteKey(kid));
await kms.getKey(kid).then(body).catch((error: Error) => console.log(error.message));
