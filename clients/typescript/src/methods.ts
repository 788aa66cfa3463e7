// Made by `npm run generate` from the OpenAPI document of the service. Do not edit.

import type { Answer, Body, CallOptions, KeyName, KeyOrJwk, Kid, Member, Options, Query } from './transport.js'

/** Methods of the client that take what a call is about, then the key, then options. */
export interface Methods {
  /**
   * Generate a key. Scope: `keys:write`.
   *
   * @returns The new key.
   * @throws KeyExists, AliasExists, ValidationFailed, TooManyKeys, TooLargeRecord, UnsupportedAlgorithm, UnsupportedOperation,
   * UnsupportedOption; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  generateKey(alg: Member<Body<'generateKey'>, 'alg'>, o?: Options<Body<'generateKey'>, 'alg'>): Promise<Answer<'generateKey'>>

  /**
   * Generate many keys: all of them or none. Scope: `keys:write`.
   *
   * @returns The new keys, in order of creation.
   * @throws ValidationFailed, TooManyKeys, TooLargeRecord, UnsupportedAlgorithm, UnsupportedOperation, UnsupportedOption; as
   * every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  generateKeys(
    alg: Member<Body<'generateKeys'>, 'alg'>,
    count: Member<Body<'generateKeys'>, 'count'>,
    o?: Options<Body<'generateKeys'>, 'alg' | 'count'>
  ): Promise<Member<Answer<'generateKeys'>, 'keys'>>

  /**
   * Get a key by one of its aliases, or its public key in PEM. Scope: `keys:read`.
   *
   * @returns The key.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, ValidationFailed, UnsupportedOption; as every call: Unauthenticated,
   * Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  findKey(alias: Member<Query<'findKey'>, 'alias'>, o?: Options<Query<'findKey'>, 'alias'>): Promise<Answer<'findKey'>>

  /**
   * Delete a key by one of its aliases, at once or after a time. Scope: `keys:delete`.
   *
   * @returns The key is deleted, or its deletion is scheduled.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound; as every call: Unauthenticated, Forbidden, OverRate, Unavailable,
   * Unreachable, UnexpectedAnswer.
   */
  deleteKeyByAlias(
    alias: Member<Query<'deleteKeyByAlias'>, 'alias'>,
    o?: Options<Query<'deleteKeyByAlias'>, 'alias'>
  ): Promise<Answer<'deleteKeyByAlias'>>

  /**
   * List keys in order of creation, by page, or all of them as NDJSON. Scope: `keys:read`.
   *
   * @returns The keys.
   * @throws ValidationFailed, UnsupportedAlgorithm; as every call: Unauthenticated, Forbidden, OverRate, Unavailable,
   * Unreachable, UnexpectedAnswer.
   */
  listKeys(o?: Options<Query<'listKeys'>, never>): Promise<Answer<'listKeys'>>

  /**
   * Rotate a key: generate its successor; the old key then only verifies and decrypts. Scope: `keys:write`.
   *
   * @returns The new key.
   * @throws KeyNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, TooManyKeys, TooManyAliases, TooLargeRecord,
   * UnsupportedOperation; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  rotateKey(key: Kid, o?: CallOptions): Promise<Answer<'rotateKey'>>

  /**
   * Export the private JWK of an exportable key. Scope: `keys:export`.
   *
   * @returns The private JWK.
   * @throws NotExportable, KeyNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation; as every call:
   * Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  exportKey(key: Kid, o?: CallOptions): Promise<Member<Answer<'exportKey'>, 'jwk'>>

  /**
   * Cancel the scheduled deletion of a key. Scope: `keys:write`.
   *
   * @returns The key.
   * @throws KeyNotFound, ProfileNotFound; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable,
   * UnexpectedAnswer.
   */
  restoreKey(key: Kid, o?: CallOptions): Promise<Answer<'restoreKey'>>

  /**
   * Bind an alias to a key; another key loses it. Scope: `keys:write`.
   *
   * @returns The alias and the kid of its key.
   * @throws KeyNotFound, ProfileNotFound, AliasExists, ValidationFailed, TooManyAliases, TooLargeRecord; as every call:
   * Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  associateAlias(
    alias: Member<Body<'associateAlias'>, 'alias'>,
    key: Kid,
    o?: Options<Body<'associateAlias'>, 'alias' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Answer<'associateAlias'>>

  /**
   * Unbind an alias from a key. Scope: `keys:write`.
   *
   * @returns The alias and the kid of its former key.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound; as every call: Unauthenticated, Forbidden, OverRate, Unavailable,
   * Unreachable, UnexpectedAnswer.
   */
  dissociateAlias(
    alias: Member<Query<'dissociateAlias'>, 'alias'>,
    key: Kid,
    o?: Options<Query<'dissociateAlias'>, 'alias' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Answer<'dissociateAlias'>>

  /**
   * Give a key its certificates, instead of the ones that it has. Scope: `keys:write`.
   *
   * @returns The key.
   * @throws KeyNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, TooLargeRecord, UnsupportedOperation,
   * InvalidCertificate; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  setCertificates(
    certificates: Member<Body<'setCertificates'>, 'certificates'>,
    key: Kid,
    o?: Options<Body<'setCertificates'>, 'certificates' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Answer<'setCertificates'>>

  /**
   * Remove the certificates of a key. Scope: `keys:write`.
   *
   * @returns The key.
   * @throws KeyNotFound, ProfileNotFound, KeyNotUsable; as every call: Unauthenticated, Forbidden, OverRate, Unavailable,
   * Unreachable, UnexpectedAnswer.
   */
  removeCertificates(key: Kid, o?: CallOptions): Promise<Answer<'removeCertificates'>>

  /**
   * Change the state, expiry, labels or schedule of a key. Scope: `keys:write`.
   *
   * @returns The key.
   * @throws KeyNotFound, ProfileNotFound, KeyNotUsable, RulesLoosened, ValidationFailed, TooLargeRecord, UnsupportedOperation,
   * UnsupportedOption; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  updateKey(key: Kid, o?: Options<Body<'updateKey'>, 'kid' | 'alias' | 'jwk'>): Promise<Answer<'updateKey'>>

  /**
   * Sign bytes with a key. Scope: `sign`.
   *
   * @returns The signature.
   * @throws RuleViolated, KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation,
   * UnsupportedOption, TypeError; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable,
   * UnexpectedAnswer.
   */
  sign(
    data: Member<Body<'sign'>, 'data'>,
    key: KeyName,
    o?: Options<Body<'sign'>, 'data' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Answer<'sign'>>

  /**
   * Verify a signature with a key or a public JWK. Scope: `verify`.
   *
   * @returns Whether the signature is valid.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation,
   * UnsupportedOption, InvalidKey, TypeError; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable,
   * UnexpectedAnswer.
   */
  verify(
    data: Member<Body<'verify'>, 'data'>,
    sig: Member<Body<'verify'>, 'sig'>,
    key: KeyOrJwk,
    o?: Options<Body<'verify'>, 'data' | 'sig' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'verify'>, 'valid'>>

  /**
   * Sign many messages with one key. Scope: `sign`.
   *
   * @returns A signature or a problem for each message, in order.
   * @throws RuleViolated, KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation,
   * UnsupportedOption, TypeError; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable,
   * UnexpectedAnswer.
   */
  signBatch(
    items: Member<Body<'signBatch'>, 'items'>,
    key: KeyName,
    o?: Options<Body<'signBatch'>, 'items' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'signBatch'>, 'results'>>

  /**
   * Verify many signatures with one key or public JWK. Scope: `verify`.
   *
   * @returns Whether each signature is valid, or a problem, in order.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation,
   * UnsupportedOption, InvalidKey, TypeError; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable,
   * UnexpectedAnswer.
   */
  verifyBatch(
    items: Member<Body<'verifyBatch'>, 'items'>,
    key: KeyOrJwk,
    o?: Options<Body<'verifyBatch'>, 'items' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'verifyBatch'>, 'results'>>

  /**
   * Encrypt bytes with a secret key, under a random nonce, or to a public key. Scope: `encrypt`.
   *
   * @returns The ciphertext, nonce and tag.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation,
   * UnsupportedOption, InvalidKey, TypeError; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable,
   * UnexpectedAnswer.
   */
  encrypt(
    plaintext: Member<Body<'encrypt'>, 'plaintext'>,
    key: KeyOrJwk,
    o?: Options<Body<'encrypt'>, 'plaintext' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Answer<'encrypt'>>

  /**
   * Decrypt bytes with a key. Scope: `decrypt`.
   *
   * @returns The plaintext.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation,
   * UnsupportedOption, DecryptionFailed, TypeError; as every call: Unauthenticated, Forbidden, OverRate, Unavailable,
   * Unreachable, UnexpectedAnswer.
   */
  decrypt(
    ciphertext: Member<Body<'decrypt'>, 'ciphertext'>,
    key: KeyName,
    o?: Options<Body<'decrypt'>, 'ciphertext' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'decrypt'>, 'plaintext'>>

  /**
   * Wrap secret bytes with a key. Scope: `wrap`.
   *
   * @returns The wrapped bytes.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation, InvalidKey,
   * TypeError; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  wrap(
    secret: Member<Body<'wrap'>, 'key'>,
    key: KeyName,
    o?: Options<Body<'wrap'>, 'key' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'wrap'>, 'wrapped'>>

  /**
   * Unwrap secret bytes with a key. Scope: `wrap`.
   *
   * @returns The secret bytes.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation,
   * DecryptionFailed, TypeError; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable,
   * UnexpectedAnswer.
   */
  unwrap(
    wrapped: Member<Body<'unwrap'>, 'wrapped'>,
    key: KeyName,
    o?: Options<Body<'unwrap'>, 'wrapped' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'unwrap'>, 'key'>>

  /**
   * Agree on a raw shared secret with a peer. Scope: `derive`.
   *
   * @returns The raw shared secret.
   * @throws RuleViolated, KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation,
   * InvalidKey; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  derive(
    peer: Member<Body<'derive'>, 'peer'>,
    key: KeyName,
    o?: Options<Body<'derive'>, 'peer' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'derive'>, 'secret'>>

  /**
   * Make an authentication code with a key. Scope: `mac`.
   *
   * @returns The authentication code.
   * @throws RuleViolated, KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation,
   * TypeError; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  mac(
    data: Member<Body<'mac'>, 'data'>,
    key: KeyName,
    o?: Options<Body<'mac'>, 'data' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'mac'>, 'mac'>>

  /**
   * Verify an authentication code with a key. Scope: `mac`.
   *
   * @returns Whether the authentication code is valid.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation, TypeError; as
   * every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  verifyMac(
    data: Member<Body<'verifyMac'>, 'data'>,
    mac: Member<Body<'verifyMac'>, 'mac'>,
    key: KeyName,
    o?: Options<Body<'verifyMac'>, 'data' | 'mac' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'verifyMac'>, 'valid'>>

  /**
   * Generate random bytes. Scope: `random`.
   *
   * @returns The bytes.
   * @throws As every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  random(
    length: Member<Body<'random'>, 'length'>,
    o?: Options<Body<'random'>, 'length'>
  ): Promise<Member<Answer<'random'>, 'bytes'>>

  /**
   * Encrypt bytes from a key to a peer's public key, as a NaCl box. Scope: `encrypt`.
   *
   * @returns The box.
   * @throws RuleViolated, KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation,
   * InvalidKey, TypeError; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  makeBox(
    plaintext: Member<Body<'makeBox'>, 'plaintext'>,
    to: Member<Body<'makeBox'>, 'to'>,
    key: KeyName,
    o?: Options<Body<'makeBox'>, 'plaintext' | 'to' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Answer<'makeBox'>>

  /**
   * Open a box from a peer. Scope: `decrypt`.
   *
   * @returns The plaintext.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation, InvalidKey,
   * DecryptionFailed, TypeError; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable,
   * UnexpectedAnswer.
   */
  openBox(
    ciphertext: Member<Body<'openBox'>, 'ciphertext'>,
    nonce: Member<Body<'openBox'>, 'nonce'>,
    from: Member<Body<'openBox'>, 'from'>,
    key: KeyName,
    o?: Options<Body<'openBox'>, 'ciphertext' | 'nonce' | 'from' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'openBox'>, 'plaintext'>>

  /**
   * Encrypt bytes to a public key, as a sealed box without a sender. Scope: `encrypt`.
   *
   * @returns The sealed box.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation, InvalidKey,
   * TypeError; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  sealBox(
    plaintext: Member<Body<'sealBox'>, 'plaintext'>,
    to: Member<Body<'sealBox'>, 'to'>,
    o?: Options<Body<'sealBox'>, 'plaintext' | 'to'>
  ): Promise<Member<Answer<'sealBox'>, 'ciphertext'>>

  /**
   * Open a sealed box. Scope: `decrypt`.
   *
   * @returns The plaintext.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation,
   * DecryptionFailed, TypeError; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable,
   * UnexpectedAnswer.
   */
  openSealedBox(
    ciphertext: Member<Body<'openSealedBox'>, 'ciphertext'>,
    key: KeyName,
    o?: Options<Body<'openSealedBox'>, 'ciphertext' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'openSealedBox'>, 'plaintext'>>

  /**
   * Pack a DIDComm v1 message for its recipients. Scope: `encrypt`.
   *
   * @returns The envelope.
   * @throws RuleViolated, KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation,
   * InvalidKey, TypeError; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  packDidcomm(
    message: Member<Body<'packDidcomm'>, 'message'>,
    to: Member<Body<'packDidcomm'>, 'to'>,
    o?: Options<Body<'packDidcomm'>, 'message' | 'to'>
  ): Promise<Member<Answer<'packDidcomm'>, 'packed'>>

  /**
   * Unpack a DIDComm v1 message with the key of a recipient. Scope: `decrypt`.
   *
   * @returns The message, with sender and recipient.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation,
   * DecryptionFailed; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  unpackDidcomm(
    packed: Member<Body<'unpackDidcomm'>, 'packed'>,
    o?: Options<Body<'unpackDidcomm'>, 'packed'>
  ): Promise<Answer<'unpackDidcomm'>>

  /**
   * Encapsulate a new secret to a public key. Scope: `encrypt`.
   *
   * @returns The secret and its ciphertext.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation, InvalidKey; as
   * every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  encapsulate(to: Member<Body<'encapsulate'>, 'to'>, o?: Options<Body<'encapsulate'>, 'to'>): Promise<Answer<'encapsulate'>>

  /**
   * Decapsulate the secret of a ciphertext. Scope: `derive`.
   *
   * @returns The secret.
   * @throws RuleViolated, KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation,
   * DecryptionFailed, TypeError; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable,
   * UnexpectedAnswer.
   */
  decapsulate(
    ciphertext: Member<Body<'decapsulate'>, 'ciphertext'>,
    key: KeyName,
    o?: Options<Body<'decapsulate'>, 'ciphertext' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'decapsulate'>, 'secret'>>

  /**
   * Encrypt bytes to a public key by HPKE. Scope: `encrypt`.
   *
   * @returns The encapsulated key and the ciphertext.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation,
   * UnsupportedOption, InvalidKey, TypeError; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable,
   * UnexpectedAnswer.
   */
  sealHpke(
    plaintext: Member<Body<'sealHpke'>, 'plaintext'>,
    to: Member<Body<'sealHpke'>, 'to'>,
    o?: Options<Body<'sealHpke'>, 'plaintext' | 'to'>
  ): Promise<Answer<'sealHpke'>>

  /**
   * Decrypt bytes with a key by HPKE. Scope: `decrypt`.
   *
   * @returns The plaintext.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation,
   * UnsupportedOption, DecryptionFailed, TypeError; as every call: Unauthenticated, Forbidden, OverRate, Unavailable,
   * Unreachable, UnexpectedAnswer.
   */
  openHpke(
    enc: Member<Body<'openHpke'>, 'enc'>,
    ciphertext: Member<Body<'openHpke'>, 'ciphertext'>,
    key: KeyName,
    o?: Options<Body<'openHpke'>, 'enc' | 'ciphertext' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'openHpke'>, 'plaintext'>>

  /**
   * Verify a JWS with a key or a public JWK. Scope: `verify`.
   *
   * @returns Whether the JWS is valid, with its header and payload.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation,
   * UnsupportedOption, InvalidKey, TypeError; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable,
   * UnexpectedAnswer.
   */
  verifyJws(
    jws: Member<Body<'verifyJws'>, 'jws'>,
    key: KeyOrJwk,
    o?: Options<Body<'verifyJws'>, 'jws' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Answer<'verifyJws'>>

  /**
   * Encrypt a plaintext as JWE to keys and public JWKs. Scope: `encrypt`.
   *
   * @returns The JWE.
   * @throws RuleViolated, KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation,
   * UnsupportedOption, InvalidKey, TypeError; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable,
   * UnexpectedAnswer.
   */
  encryptJwe(
    plaintext: Member<Body<'encryptJwe'>, 'plaintext'>,
    enc: Member<Body<'encryptJwe'>, 'enc'>,
    recipients: Member<Body<'encryptJwe'>, 'recipients'>,
    o?: Options<Body<'encryptJwe'>, 'plaintext' | 'enc' | 'recipients'>
  ): Promise<Member<Answer<'encryptJwe'>, 'jwe'>>

  /**
   * Decrypt a JWE with a key. Scope: `decrypt`.
   *
   * @returns The plaintext and the header.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation,
   * UnsupportedOption, InvalidKey, DecryptionFailed; as every call: Unauthenticated, Forbidden, OverRate, Unavailable,
   * Unreachable, UnexpectedAnswer.
   */
  decryptJwe(
    jwe: Member<Body<'decryptJwe'>, 'jwe'>,
    key: KeyName,
    o?: Options<Body<'decryptJwe'>, 'jwe' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Answer<'decryptJwe'>>

  /**
   * Attest keys of the profile, as a JWT by another key. Scope: `sign`.
   *
   * @returns The attestation.
   * @throws RuleViolated, KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation,
   * UnsupportedOption, NotAttestable; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable,
   * UnexpectedAnswer.
   */
  attestKeys(
    keys: Member<Body<'attestKeys'>, 'keys'>,
    key: KeyName,
    o?: Options<Body<'attestKeys'>, 'keys' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'attestKeys'>, 'jwt'>>

  /**
   * Get a profile's public keys as a JWK Set. Scope: `keys:read`.
   *
   * @returns The public keys for signatures and key agreement, each under its kid and its aliases.
   * @throws As every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  jwks(o?: Options<Query<'jwks'>, never>): Promise<Answer<'jwks'>>

  /**
   * Make a certificate request for a key. Scope: `sign`.
   *
   * @returns The certificate request.
   * @throws RuleViolated, KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation,
   * UnsupportedOption, InvalidCertificate; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable,
   * UnexpectedAnswer.
   */
  makeCsr(
    subject: Member<Body<'makeCsr'>, 'subject'>,
    key: KeyName,
    o?: Options<Body<'makeCsr'>, 'subject' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'makeCsr'>, 'csr'>>

  /**
   * Issue a certificate, signed with a key. Scope: `sign`.
   *
   * @returns The certificate.
   * @throws RuleViolated, KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation,
   * UnsupportedOption, InvalidCertificate; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable,
   * UnexpectedAnswer.
   */
  issueCertificate(
    profile: Member<Body<'issueCertificate'>, 'profile'>,
    days: Member<Body<'issueCertificate'>, 'days'>,
    key: KeyName,
    o?: Options<Body<'issueCertificate'>, 'profile' | 'days' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'issueCertificate'>, 'certificate'>>

  /**
   * Make a certificate revocation list, signed with a key. Scope: `sign`.
   *
   * @returns The revocation list.
   * @throws RuleViolated, KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation,
   * UnsupportedOption, InvalidCertificate; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable,
   * UnexpectedAnswer.
   */
  makeCrl(
    number: Member<Body<'makeCrl'>, 'number'>,
    days: Member<Body<'makeCrl'>, 'days'>,
    revoked: Member<Body<'makeCrl'>, 'revoked'>,
    key: KeyName,
    o?: Options<Body<'makeCrl'>, 'number' | 'days' | 'revoked' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Member<Answer<'makeCrl'>, 'crl'>>

  /**
   * Verify a COSE_Sign1 with a key or a public JWK. Scope: `verify`.
   *
   * @returns Whether the message is valid, with its header parameters and payload.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, KeyNotUsable, ValidationFailed, UnsupportedOperation,
   * UnsupportedOption, InvalidKey, InvalidCose, TypeError; as every call: Unauthenticated, Forbidden, OverRate, Unavailable,
   * Unreachable, UnexpectedAnswer.
   */
  verifyCose(
    cose: Member<Body<'verifyCose'>, 'cose'>,
    key: KeyOrJwk,
    o?: Options<Body<'verifyCose'>, 'cose' | 'kid' | 'alias' | 'jwk'>
  ): Promise<Answer<'verifyCose'>>

  /**
   * Create a profile. Scope: `profiles`.
   *
   * @returns The profile is created.
   * @throws MalformedJson, BadRequest, ProfileExists, ProfileNotFound; as every call: Unauthenticated, Forbidden, OverRate,
   * Unavailable, Unreachable, UnexpectedAnswer.
   */
  createProfile(
    name: Member<Body<'createProfile'>, 'name'>,
    o?: Options<Body<'createProfile'>, 'name'>
  ): Promise<Answer<'createProfile'>>

  /**
   * List the caller's profiles, and the settings of those that have some or are public. Scope: `profiles`.
   *
   * @returns The profiles.
   * @throws As every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  listProfiles(o?: CallOptions): Promise<Answer<'listProfiles'>>

  /**
   * Change the settings of a profile, and publish its JWK Set, or stop publishing it. Scope: `profiles`.
   *
   * @returns The changed profile.
   * @throws ProfileNotFound; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  changeProfile(name: string, o?: Options<Body<'changeProfile'>, 'name'>): Promise<Answer<'changeProfile'>>

  /**
   * Delete a profile with all its keys. Scope: `profiles`.
   *
   * @returns Whether the profile existed.
   * @throws ProfileNotFound, ProfileProtected; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable,
   * UnexpectedAnswer.
   */
  deleteProfile(name: string, o?: CallOptions): Promise<Member<Answer<'deleteProfile'>, 'success'>>

  /**
   * Create a token; no other answer shows it again. Scope: `admin`.
   *
   * @returns The token.
   * @throws ProfileNotFound, ValidationFailed, TooManyTokens; as every call: Unauthenticated, Forbidden, OverRate,
   * Unavailable, Unreachable, UnexpectedAnswer.
   */
  createToken(
    name: Member<Body<'createToken'>, 'name'>,
    scopes: Member<Body<'createToken'>, 'scopes'>,
    o?: Options<Body<'createToken'>, 'name' | 'scopes'>
  ): Promise<Answer<'createToken'>>

  /**
   * List the tokens of the caller's profiles, by page. Scope: `admin`.
   *
   * @returns The tokens, oldest first.
   * @throws As every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  listTokens(o?: Options<Query<'listTokens'>, never>): Promise<Answer<'listTokens'>>

  /**
   * Get the permissions of the caller's own token. Scope: any.
   *
   * @returns The permissions of the caller's token.
   * @throws As every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  getOwnToken(o?: CallOptions): Promise<Answer<'getOwnToken'>>

  /**
   * Revoke a token. Scope: `admin`.
   *
   * @returns The token is revoked.
   * @throws TokenNotFound; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  revokeToken(token: string, o?: CallOptions): Promise<Answer<'revokeToken'>>

  /**
   * List the algorithms and their operations. Scope: `keys:read`.
   *
   * @returns The algorithms.
   * @throws As every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  listAlgorithms(o?: CallOptions): Promise<Answer<'listAlgorithms'>>

  /**
   * Check that the process is alive.
   *
   * @returns The process is alive.
   * @throws As every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  healthz(o?: CallOptions): Promise<Member<Answer<'healthz'>, 'status'>>

  /**
   * Check that the key store answers and the audit log can be written.
   *
   * @returns The service is ready.
   * @throws TooBusy, StoreUnavailable, ProviderUnavailable, ShuttingDown, AuditUnavailable; as every call: Unauthenticated,
   * Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  readyz(o?: CallOptions): Promise<Member<Answer<'readyz'>, 'status'>>

  /**
   * Get this document.
   *
   * @returns The OpenAPI document.
   * @throws As every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  openapi(o?: CallOptions): Promise<Answer<'openapi'>>
}
