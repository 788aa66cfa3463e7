// The scopes of tokens in words. docs/http-api.md has the calls of each.

export const SCOPES = {
  "keys:read": "list keys, and read their public parts, aliases and labels",
  "keys:write": "make, import, rotate, change, name and delete keys",
  "keys:delete": "delete keys; keys:write is enough, unless a profile asks for this scope",
  "keys:export": "read private keys that were made exportable",
  sign: "sign messages, JWS, COSE and certificates",
  verify: "verify signatures",
  encrypt: "encrypt to a key",
  decrypt: "decrypt with a key",
  wrap: "wrap and unwrap other keys",
  derive: "derive shared secrets",
  mac: "make and verify authentication codes",
  random: "get random bytes",
  approvals: "list, give and withdraw approvals of uses of keys",
  profiles: "make, publish and delete profiles",
  audit: "search the audit log; for all profiles, also read the figures of the service",
  admin: "make and revoke tokens with any scope",
};
