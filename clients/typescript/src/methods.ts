// Made by `npm run generate` from the OpenAPI document of the service. Do not edit.

import type { Answer, Body, CallOptions, KeyName, KeyOrJwk, Kid, Member, Options, Query } from './transport.js'

/** Methods of the client that take what a call is about, then the key, then options. */
export interface Methods {
  /** Generate a key */
  generateKey(alg: Member<Body<'generateKey'>, 'alg'>, o?: Options<Body<'generateKey'>, 'alg'>): Promise<Answer<'generateKey'>>

  /** Generate many keys: all of them or none */
  generateKeys(
    alg: Member<Body<'generateKeys'>, 'alg'>,
    count: Member<Body<'generateKeys'>, 'count'>,
    o?: Options<Body<'generateKeys'>, 'alg' | 'count'>
  ): Promise<Member<Answer<'generateKeys'>, 'keys'>>

  /** Get a key by one of its aliases, or its public key in PEM */
  findKey(alias: Member<Query<'findKey'>, 'alias'>, o?: Options<Query<'findKey'>, 'alias'>): Promise<Answer<'findKey'>>

  /** Delete a key by one of its aliases, at once or after a time */
  deleteKeyByAlias(
    alias: Member<Query<'deleteKeyByAlias'>, 'alias'>,
    o?: Options<Query<'deleteKeyByAlias'>, 'alias'>
  ): Promise<Answer<'deleteKeyByAlias'>>

  /** List keys in order of creation, by page, or all of them as NDJSON */
  listKeys(o?: Options<Query<'listKeys'>, never>): Promise<Answer<'listKeys'>>

  /** Rotate a key: generate its successor; the old key then only verifies and decrypts */
  rotateKey(key: Kid, o?: CallOptions): Promise<Answer<'rotateKey'>>

  /** Export the private JWK of an exportable key */
  exportKey(key: Kid, o?: CallOptions): Promise<Member<Answer<'exportKey'>, 'jwk'>>

  /** Cancel the scheduled deletion of a key */
  restoreKey(key: Kid, o?: CallOptions): Promise<Answer<'restoreKey'>>

  /** Bind an alias to a key; another key loses it */
  associateAlias(
    alias: Member<Body<'associateAlias'>, 'alias'>,
    key: Kid,
    o?: Options<Body<'associateAlias'>, 'alias' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Answer<'associateAlias'>>

  /** Unbind an alias from a key */
  dissociateAlias(
    alias: Member<Query<'dissociateAlias'>, 'alias'>,
    key: Kid,
    o?: Options<Query<'dissociateAlias'>, 'alias' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Answer<'dissociateAlias'>>

  /** Give a key its certificates, instead of the ones that it has */
  setCertificates(
    certificates: Member<Body<'setCertificates'>, 'certificates'>,
    key: Kid,
    o?: Options<Body<'setCertificates'>, 'certificates' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Answer<'setCertificates'>>

  /** Remove the certificates of a key */
  removeCertificates(key: Kid, o?: CallOptions): Promise<Answer<'removeCertificates'>>

  /** Change the state, expiry, labels or schedule of a key */
  updateKey(key: Kid, o?: Options<Body<'updateKey'>, 'kid' | 'alias' | 'jwk'>): Promise<Answer<'updateKey'>>

  /** Sign bytes with a key */
  sign(
    data: Member<Body<'sign'>, 'data'>,
    key: KeyName,
    o?: Options<Body<'sign'>, 'data' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Answer<'sign'>>

  /** Verify a signature with a key or a public JWK */
  verify(
    data: Member<Body<'verify'>, 'data'>,
    sig: Member<Body<'verify'>, 'sig'>,
    key: KeyOrJwk,
    o?: Options<Body<'verify'>, 'data' | 'sig' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'verify'>, 'valid'>>

  /** Sign many messages with one key */
  signBatch(
    items: Member<Body<'signBatch'>, 'items'>,
    key: KeyName,
    o?: Options<Body<'signBatch'>, 'items' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'signBatch'>, 'results'>>

  /** Verify many signatures with one key or public JWK */
  verifyBatch(
    items: Member<Body<'verifyBatch'>, 'items'>,
    key: KeyOrJwk,
    o?: Options<Body<'verifyBatch'>, 'items' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'verifyBatch'>, 'results'>>

  /** Encrypt bytes with a secret key, under a random nonce, or to a public key */
  encrypt(
    plaintext: Member<Body<'encrypt'>, 'plaintext'>,
    key: KeyOrJwk,
    o?: Options<Body<'encrypt'>, 'plaintext' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Answer<'encrypt'>>

  /** Decrypt bytes with a key */
  decrypt(
    ciphertext: Member<Body<'decrypt'>, 'ciphertext'>,
    key: KeyName,
    o?: Options<Body<'decrypt'>, 'ciphertext' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'decrypt'>, 'plaintext'>>

  /** Wrap secret bytes with a key */
  wrap(
    secret: Member<Body<'wrap'>, 'key'>,
    key: KeyName,
    o?: Options<Body<'wrap'>, 'key' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'wrap'>, 'wrapped'>>

  /** Unwrap secret bytes with a key */
  unwrap(
    wrapped: Member<Body<'unwrap'>, 'wrapped'>,
    key: KeyName,
    o?: Options<Body<'unwrap'>, 'wrapped' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'unwrap'>, 'key'>>

  /** Agree on a raw shared secret with a peer */
  derive(
    peer: Member<Body<'derive'>, 'peer'>,
    key: KeyName,
    o?: Options<Body<'derive'>, 'peer' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'derive'>, 'secret'>>

  /** Make an authentication code with a key */
  mac(
    data: Member<Body<'mac'>, 'data'>,
    key: KeyName,
    o?: Options<Body<'mac'>, 'data' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'mac'>, 'mac'>>

  /** Verify an authentication code with a key */
  verifyMac(
    data: Member<Body<'verifyMac'>, 'data'>,
    mac: Member<Body<'verifyMac'>, 'mac'>,
    key: KeyName,
    o?: Options<Body<'verifyMac'>, 'data' | 'mac' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'verifyMac'>, 'valid'>>

  /** Generate random bytes */
  random(
    length: Member<Body<'random'>, 'length'>,
    o?: Options<Body<'random'>, 'length'>
  ): Promise<Member<Answer<'random'>, 'bytes'>>

  /** Encrypt bytes from a key to a peer's public key, as a NaCl box */
  makeBox(
    plaintext: Member<Body<'makeBox'>, 'plaintext'>,
    to: Member<Body<'makeBox'>, 'to'>,
    key: KeyName,
    o?: Options<Body<'makeBox'>, 'plaintext' | 'to' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Answer<'makeBox'>>

  /** Open a box from a peer */
  openBox(
    ciphertext: Member<Body<'openBox'>, 'ciphertext'>,
    nonce: Member<Body<'openBox'>, 'nonce'>,
    from: Member<Body<'openBox'>, 'from'>,
    key: KeyName,
    o?: Options<Body<'openBox'>, 'ciphertext' | 'nonce' | 'from' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'openBox'>, 'plaintext'>>

  /** Encrypt bytes to a public key, as a sealed box without a sender */
  sealBox(
    plaintext: Member<Body<'sealBox'>, 'plaintext'>,
    to: Member<Body<'sealBox'>, 'to'>,
    o?: Options<Body<'sealBox'>, 'plaintext' | 'to'>
  ): Promise<Member<Answer<'sealBox'>, 'ciphertext'>>

  /** Open a sealed box */
  openSealedBox(
    ciphertext: Member<Body<'openSealedBox'>, 'ciphertext'>,
    key: KeyName,
    o?: Options<Body<'openSealedBox'>, 'ciphertext' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'openSealedBox'>, 'plaintext'>>

  /** Pack a DIDComm v1 message for its recipients */
  packDidcomm(
    message: Member<Body<'packDidcomm'>, 'message'>,
    to: Member<Body<'packDidcomm'>, 'to'>,
    o?: Options<Body<'packDidcomm'>, 'message' | 'to'>
  ): Promise<Member<Answer<'packDidcomm'>, 'packed'>>

  /** Unpack a DIDComm v1 message with the key of a recipient */
  unpackDidcomm(
    packed: Member<Body<'unpackDidcomm'>, 'packed'>,
    o?: Options<Body<'unpackDidcomm'>, 'packed'>
  ): Promise<Answer<'unpackDidcomm'>>

  /** Encapsulate a new secret to a public key */
  encapsulate(to: Member<Body<'encapsulate'>, 'to'>, o?: Options<Body<'encapsulate'>, 'to'>): Promise<Answer<'encapsulate'>>

  /** Decapsulate the secret of a ciphertext */
  decapsulate(
    ciphertext: Member<Body<'decapsulate'>, 'ciphertext'>,
    key: KeyName,
    o?: Options<Body<'decapsulate'>, 'ciphertext' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'decapsulate'>, 'secret'>>

  /** Encrypt bytes to a public key by HPKE */
  sealHpke(
    plaintext: Member<Body<'sealHpke'>, 'plaintext'>,
    to: Member<Body<'sealHpke'>, 'to'>,
    o?: Options<Body<'sealHpke'>, 'plaintext' | 'to'>
  ): Promise<Answer<'sealHpke'>>

  /** Decrypt bytes with a key by HPKE */
  openHpke(
    enc: Member<Body<'openHpke'>, 'enc'>,
    ciphertext: Member<Body<'openHpke'>, 'ciphertext'>,
    key: KeyName,
    o?: Options<Body<'openHpke'>, 'enc' | 'ciphertext' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'openHpke'>, 'plaintext'>>

  /** Verify a JWS with a key or a public JWK */
  verifyJws(
    jws: Member<Body<'verifyJws'>, 'jws'>,
    key: KeyOrJwk,
    o?: Options<Body<'verifyJws'>, 'jws' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Answer<'verifyJws'>>

  /** Encrypt a plaintext as JWE to keys and public JWKs */
  encryptJwe(
    plaintext: Member<Body<'encryptJwe'>, 'plaintext'>,
    enc: Member<Body<'encryptJwe'>, 'enc'>,
    recipients: Member<Body<'encryptJwe'>, 'recipients'>,
    o?: Options<Body<'encryptJwe'>, 'plaintext' | 'enc' | 'recipients'>
  ): Promise<Member<Answer<'encryptJwe'>, 'jwe'>>

  /** Decrypt a JWE with a key */
  decryptJwe(
    jwe: Member<Body<'decryptJwe'>, 'jwe'>,
    key: KeyName,
    o?: Options<Body<'decryptJwe'>, 'jwe' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Answer<'decryptJwe'>>

  /** Attest keys of the profile, as a JWT by another key */
  attestKeys(
    keys: Member<Body<'attestKeys'>, 'keys'>,
    key: KeyName,
    o?: Options<Body<'attestKeys'>, 'keys' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'attestKeys'>, 'jwt'>>

  /** Get a profile's public keys as a JWK Set */
  jwks(o?: Options<Query<'jwks'>, never>): Promise<Answer<'jwks'>>

  /** Make a certificate request for a key */
  makeCsr(
    subject: Member<Body<'makeCsr'>, 'subject'>,
    key: KeyName,
    o?: Options<Body<'makeCsr'>, 'subject' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'makeCsr'>, 'csr'>>

  /** Issue a certificate, signed with a key */
  issueCertificate(
    profile: Member<Body<'issueCertificate'>, 'profile'>,
    days: Member<Body<'issueCertificate'>, 'days'>,
    key: KeyName,
    o?: Options<Body<'issueCertificate'>, 'profile' | 'days' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'issueCertificate'>, 'certificate'>>

  /** Make a certificate revocation list, signed with a key */
  makeCrl(
    number: Member<Body<'makeCrl'>, 'number'>,
    days: Member<Body<'makeCrl'>, 'days'>,
    revoked: Member<Body<'makeCrl'>, 'revoked'>,
    key: KeyName,
    o?: Options<Body<'makeCrl'>, 'number' | 'days' | 'revoked' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'makeCrl'>, 'crl'>>

  /** Verify a COSE_Sign1 with a key or a public JWK */
  verifyCose(
    cose: Member<Body<'verifyCose'>, 'cose'>,
    key: KeyOrJwk,
    o?: Options<Body<'verifyCose'>, 'cose' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Answer<'verifyCose'>>

  /** Create a profile */
  createProfile(
    name: Member<Body<'createProfile'>, 'name'>,
    o?: Options<Body<'createProfile'>, 'name'>
  ): Promise<Answer<'createProfile'>>

  /** List the caller's profiles, and the settings of those that have some or are public */
  listProfiles(o?: CallOptions): Promise<Answer<'listProfiles'>>

  /** Change the settings of a profile, and publish its JWK Set, or stop publishing it */
  changeProfile(name: string, o?: Options<Body<'changeProfile'>, 'name'>): Promise<Answer<'changeProfile'>>

  /** Delete a profile with all its keys */
  deleteProfile(name: string, o?: CallOptions): Promise<Member<Answer<'deleteProfile'>, 'success'>>

  /** Create a token; no other answer shows it again */
  createToken(
    name: Member<Body<'createToken'>, 'name'>,
    scopes: Member<Body<'createToken'>, 'scopes'>,
    o?: Options<Body<'createToken'>, 'name' | 'scopes'>
  ): Promise<Answer<'createToken'>>

  /** List the tokens of the caller's profiles, by page */
  listTokens(o?: Options<Query<'listTokens'>, never>): Promise<Answer<'listTokens'>>

  /** Get the permissions of the caller's own token */
  getOwnToken(o?: CallOptions): Promise<Answer<'getOwnToken'>>

  /** Revoke a token */
  revokeToken(token: string, o?: CallOptions): Promise<Answer<'revokeToken'>>

  /** List the algorithms and their operations */
  listAlgorithms(o?: CallOptions): Promise<Answer<'listAlgorithms'>>

  /** Check that the process is alive */
  healthz(o?: CallOptions): Promise<Member<Answer<'healthz'>, 'status'>>

  /** Check that the key store answers and the audit log can be written */
  readyz(o?: CallOptions): Promise<Member<Answer<'readyz'>, 'status'>>

  /** Get this document */
  openapi(o?: CallOptions): Promise<Answer<'openapi'>>
}
