// A verifier of status.jwt and status.cwt, with the key from the JWK Set of MINIKMS_URL.
import { readFileSync } from "node:fs";
import { Sign1 } from "@auth0/cose";
import { StatusList, getListFromStatusListJWT } from "@sd-jwt/jwt-status-list";
import { decode } from "cbor-x";
import { compactVerify, importJWK } from "jose";

const { keys } = await (await fetch(`${process.env.MINIKMS_URL}/jwks.json`)).json();
const key = await importJWK(keys.find(({ kid }) => kid === "status"), "ES256");

const jwt = readFileSync("status.jwt", "utf8");
await compactVerify(jwt, key);
const ofJwt = getListFromStatusListJWT(jwt);
console.log("JWT", ofJwt.getStatus(420), ofJwt.getStatus(421));

const cwt = Sign1.decode(readFileSync("status.cwt"));
await cwt.verify(key);
const { lst, bits } = decode(cwt.payload)[65533];
const ofCwt = StatusList.decompressStatusList(Buffer.from(lst).toString("base64url"), bits);
console.log("CWT", ofCwt.getStatus(420), ofCwt.getStatus(421));
