// Uses the types that openapi-typescript makes of the document: generates a key, signs, verifies.
import type { components, operations } from "./kms.js";

declare const process: { argv: string[] };

type Schemas = components["schemas"];
type Name = keyof operations;
type Answer<N extends Name> = operations[N] extends {
  responses: { 200: { content: { "application/json": infer A } } };
}
  ? A
  : never;
type Body<N extends Name> = operations[N] extends {
  requestBody: { content: { "application/json": infer B } };
}
  ? B
  : never;
type Failure<N extends Name> = operations[N] extends {
  responses: { default: { content: { "application/problem+json": infer P } } };
}
  ? P
  : never;

async function post<N extends Name>(_: N, path: string, body: Body<N>): Promise<Answer<N>> {
  const answer = await fetch(new URL(path, process.argv[2]), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!answer.ok) {
    const problem = (await answer.json()) as Failure<N> & Schemas["Problem"];
    throw new Error(problem.type);
  }
  return (await answer.json()) as Answer<N>;
}

const data = "aGVsbG8=";
const key = await post("generateKey", "/key/generate", { alg: "ed25519", alias: "a" });
const { sig } = await post("sign", "/sign", { alias: "a", data });
if (key.jwk === null) throw new Error("a key pair has a public JWK");
const { valid } = await post("verify", "/verify", { jwk: key.jwk, data, sig });
await post("encrypt", "/encrypt", { kid: key.kid, plaintext: data }).catch((error: Error) =>
  console.log(error.message),
);
const secret = "A".repeat(43);
await post("importKey", "/key/import", { alg: "hs256", secret, labels: { use: "test" } });
await post("createToken", "/tokens", { name: "issuer", scopes: ["sign"] });
console.log(valid);

// What the service would refuse is not compiled.
const wrong = () => [
  // @ts-expect-error: no kid, alias or JWK
  post("verify", "/verify", { data, sig }),
  // @ts-expect-error: no data
  post("sign", "/sign", { alias: "a" }),
  // @ts-expect-error: an algorithm that is not there
  post("generateKey", "/key/generate", { alg: "rot13" }),
  // @ts-expect-error: a secret of no algorithm
  post("importKey", "/key/import", { secret: data }),
  // @ts-expect-error: a field that is not there
  post("random", "/random", { length: 1, seed: data }),
];
void wrong;
