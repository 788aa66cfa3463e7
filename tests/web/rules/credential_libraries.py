"""Libraries of npm and PyPI that verify credentials, each with a program that asks it."""

import json
from pathlib import Path

from node import install

# Versions of both @sd-jwt/core and @sd-jwt/sd-jwt-vc, by their folder.
SD_JWT = {"0.19": "0.19.0", "0.20": "0.20.0"}
NPM = ("@meeco/sd-jwt@1.2.1", "njwt@2.0.1", "@auth0/mdl@3.0.1")
# 0.20.0 asks for alpha versions, which registries do not keep.
OVERRIDES = {
    "@owf/identity-common": "0.2.0",
    "@owf/token-status-list": "0.3.0-alpha-20260508181749",
}
PYPI = ("python-jose==3.5.0", "cwt==3.3.0")

# Each reads a public JWK and a credential, and writes its claims if the library verifies them.
BEGIN = """
import { createHash, createPublicKey, verify } from "node:crypto";
import { text } from "node:stream/consumers";
const { jwk, credential } = JSON.parse(await text(process.stdin));
const key = createPublicKey({ key: jwk, format: "jwk" });
const verifier = async (data, signature) =>
  verify("sha256", data, { key, dsaEncoding: "ieee-p1363" }, Buffer.from(signature, "base64url"));
const say = (claims) => console.log(JSON.stringify(claims));
"""
OF_SD_JWT = """
const hasher = (data, alg) => createHash(alg.replace("-", "")).update(data).digest();
const { payload } = await new CLASS({ verifier, hasher }).verify(credential);
say(payload);
"""
CORE = (
    'import { SDJwtInstance } from "@sd-jwt/core";'
    + BEGIN
    + OF_SD_JWT.replace("CLASS", "(class extends SDJwtInstance { type = 'dc+sd-jwt' })")
)
VC = 'import { SDJwtVcInstance } from "@sd-jwt/sd-jwt-vc";' + BEGIN + OF_SD_JWT.replace(
    "CLASS", "SDJwtVcInstance"
)  # fmt: skip
MEECO = (
    'import { verifySDJWT } from "@meeco/sd-jwt";'
    + BEGIN
    + """
const hasher = (data) => createHash("sha256").update(data).digest("base64url");
const check = async (jwt) => {
  const [header, payload, signature] = jwt.split(".");
  return verifier(`${header}.${payload}`, signature);
};
say(await verifySDJWT(credential, check, async () => hasher));
"""
)
NJWT = (
    'import njwt from "njwt";'
    + BEGIN
    + """
const pem = key.export({ type: "spki", format: "pem" });
say(njwt.verify(credential.replace("~", ""), pem, "ES256").body);
"""
)
PYTHON_JOSE = """
import json, sys
from jose import jwt
asked = json.load(sys.stdin)
print(json.dumps(jwt.decode(asked["credential"].rstrip("~"), asked["jwk"], algorithms=["ES256"])))
"""
PYTHON_CWT = """
import base64, json, sys
from cwt import COSEKey, decode
asked = json.load(sys.stdin)
key = COSEKey.from_jwk({**asked["jwk"], "alg": "ES256"})
claims = decode(base64.urlsafe_b64decode(asked["credential"]), key)
print(json.dumps({str(label): value for label, value in claims.items()}))
"""
MDL = (
    'import { Verifier, parse } from "@auth0/mdl";'
    + BEGIN.replace("jwk, credential", "root, credential").replace(
        'createPublicKey({ key: jwk, format: "jwk" })', "createPublicKey(root)"
    )
    + """
const { documents } = parse(Buffer.from(credential, "base64url"));
const failed = [];
const note = ({ status, check }) => status === "FAILED" && failed.push(check);
const issuer = new Verifier([root]);
await issuer.verifyIssuerSignature(documents[0].issuerSigned.issuerAuth, false, note);
await issuer.verifyData(documents[0], note);
if (failed.length) throw new Error(failed.join("; "));
const { validityInfo } = documents[0].issuerSigned.issuerAuth.decodedPayload;
say({ until: validityInfo.validUntil, docType: documents[0].docType });
"""
)

LIBRARIES = {
    "@sd-jwt/core 0.19": (CORE, "0.19"),
    "@sd-jwt/sd-jwt-vc 0.19": (VC, "0.19"),
    "@sd-jwt/core 0.20": (CORE, "0.20"),
    "@sd-jwt/sd-jwt-vc 0.20": (VC, "0.20"),
    "@meeco/sd-jwt": (MEECO, "others"),
    "njwt": (NJWT, "others"),
    "python-jose": (PYTHON_JOSE, "pypi"),
    "python-cwt": (PYTHON_CWT, "pypi"),
    "@auth0/mdl": (MDL, "others"),
}
"""By library: its program, and the folder in which it runs."""


def install_npm(folders: dict[str, Path]) -> None:
    """Install the packages of npm: each version of @sd-jwt, and all others."""
    for name, version in SD_JWT.items():
        (folders[name] / "package.json").write_text(json.dumps({"overrides": OVERRIDES}))
        install(folders[name], f"@sd-jwt/core@{version}", f"@sd-jwt/sd-jwt-vc@{version}")
    install(folders["others"], *NPM)
