// Made by `npm run generate` from the OpenAPI document of the service. Do not edit.

import type { Bytes, Jwk } from './types.js'

export interface paths {
    "/key/generate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Generate a key
         * @description Scope: `keys:write`.
         */
        post: operations["generateKey"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/key/generate/batch": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Generate many keys: all of them or none
         * @description Scope: `keys:write`.
         */
        post: operations["generateKeys"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/key/import": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Import a key
         * @description Scope: `keys:write`.
         */
        post: operations["importKey"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/key": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get a key by one of its aliases, or its public key in PEM
         * @description Scope: `keys:read`.
         */
        get: operations["findKey"];
        put?: never;
        post?: never;
        /**
         * Delete a key by one of its aliases, at once or after a time
         * @description Scope: `keys:delete`.
         */
        delete: operations["deleteKeyByAlias"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/keys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List keys in order of creation, by page, or all of them as NDJSON
         * @description Scope: `keys:read`.
         */
        get: operations["listKeys"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/key/{kid}/rotate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Rotate a key: generate its successor; the old key then only verifies and decrypts
         * @description Scope: `keys:write`.
         */
        post: operations["rotateKey"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/key/{kid}/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Export the private JWK of an exportable key
         * @description Scope: `keys:export`.
         */
        get: operations["exportKey"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/key/{kid}/restore": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Cancel the scheduled deletion of a key
         * @description Scope: `keys:write`.
         */
        post: operations["restoreKey"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/key/{kid}/associate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Bind an alias to a key; another key loses it
         * @description Scope: `keys:write`.
         */
        post: operations["associateAlias"];
        /**
         * Unbind an alias from a key
         * @description Scope: `keys:write`.
         */
        delete: operations["dissociateAlias"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/key/{kid}/certificates": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Give a key its certificates, instead of the ones that it has
         * @description Scope: `keys:write`.
         */
        put: operations["setCertificates"];
        post?: never;
        /**
         * Remove the certificates of a key
         * @description Scope: `keys:write`.
         */
        delete: operations["removeCertificates"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/key/{kid}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get a key by its kid, or its public key in PEM
         * @description Scope: `keys:read`.
         */
        get: operations["getKey"];
        put?: never;
        post?: never;
        /**
         * Delete a key and its aliases, at once or after a time
         * @description Scope: `keys:delete`.
         */
        delete: operations["deleteKey"];
        options?: never;
        head?: never;
        /**
         * Change the state, expiry, labels or schedule of a key
         * @description Scope: `keys:write`.
         */
        patch: operations["updateKey"];
        trace?: never;
    };
    "/sign": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Sign bytes with a key
         * @description Scope: `sign`.
         */
        post: operations["sign"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/verify": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Verify a signature with a key or a public JWK
         * @description Scope: `verify`.
         */
        post: operations["verify"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/sign/batch": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Sign many messages with one key
         * @description Scope: `sign`.
         */
        post: operations["signBatch"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/verify/batch": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Verify many signatures with one key or public JWK
         * @description Scope: `verify`.
         */
        post: operations["verifyBatch"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/encrypt": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Encrypt bytes with a secret key, under a random nonce, or to a public key
         * @description Scope: `encrypt`.
         */
        post: operations["encrypt"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/decrypt": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Decrypt bytes with a key
         * @description Scope: `decrypt`.
         */
        post: operations["decrypt"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/wrap": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Wrap secret bytes with a key
         * @description Scope: `wrap`.
         */
        post: operations["wrap"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/unwrap": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Unwrap secret bytes with a key
         * @description Scope: `wrap`.
         */
        post: operations["unwrap"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/derive": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Agree on a raw shared secret with a peer
         * @description Scope: `derive`.
         */
        post: operations["derive"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/mac": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Make an authentication code with a key
         * @description Scope: `mac`.
         */
        post: operations["mac"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/mac/verify": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Verify an authentication code with a key
         * @description Scope: `mac`.
         */
        post: operations["verifyMac"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/random": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Generate random bytes
         * @description Scope: `random`.
         */
        post: operations["random"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/box": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Encrypt bytes from a key to a peer's public key, as a NaCl box
         * @description Scope: `encrypt`.
         */
        post: operations["makeBox"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/box/open": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Open a box from a peer
         * @description Scope: `decrypt`.
         */
        post: operations["openBox"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/box/seal": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Encrypt bytes to a public key, as a sealed box without a sender
         * @description Scope: `encrypt`.
         */
        post: operations["sealBox"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/box/seal/open": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Open a sealed box
         * @description Scope: `decrypt`.
         */
        post: operations["openSealedBox"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/didcomm/pack": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Pack a DIDComm v1 message for its recipients
         * @description Scope: `encrypt`.
         */
        post: operations["packDidcomm"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/didcomm/unpack": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Unpack a DIDComm v1 message with the key of a recipient
         * @description Scope: `decrypt`.
         */
        post: operations["unpackDidcomm"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/encapsulate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Encapsulate a new secret to a public key
         * @description Scope: `encrypt`.
         */
        post: operations["encapsulate"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/decapsulate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Decapsulate the secret of a ciphertext
         * @description Scope: `derive`.
         */
        post: operations["decapsulate"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/hpke/seal": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Encrypt bytes to a public key by HPKE
         * @description Scope: `encrypt`.
         */
        post: operations["sealHpke"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/hpke/open": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Decrypt bytes with a key by HPKE
         * @description Scope: `decrypt`.
         */
        post: operations["openHpke"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jws/sign": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Sign a payload as JWS
         * @description Scope: `sign`.
         */
        post: operations["signJws"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jws/verify": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Verify a JWS with a key or a public JWK
         * @description Scope: `verify`.
         */
        post: operations["verifyJws"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jwe/encrypt": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Encrypt a plaintext as JWE to keys and public JWKs
         * @description Scope: `encrypt`.
         */
        post: operations["encryptJwe"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jwe/decrypt": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Decrypt a JWE with a key
         * @description Scope: `decrypt`.
         */
        post: operations["decryptJwe"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/key-attestation": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Attest keys of the profile, as a JWT by another key
         * @description Scope: `sign`.
         */
        post: operations["attestKeys"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jwks.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get a profile's public keys as a JWK Set
         * @description Scope: `keys:read`.
         */
        get: operations["jwks"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/csr": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Make a certificate request for a key
         * @description Scope: `sign`.
         */
        post: operations["makeCsr"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/certificate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Issue a certificate, signed with a key
         * @description Scope: `sign`.
         */
        post: operations["issueCertificate"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/crl": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Make a certificate revocation list, signed with a key
         * @description Scope: `sign`.
         */
        post: operations["makeCrl"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/cose/sign": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Sign a payload as COSE_Sign1
         * @description Scope: `sign`.
         */
        post: operations["signCose"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/cose/verify": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Verify a COSE_Sign1 with a key or a public JWK
         * @description Scope: `verify`.
         */
        post: operations["verifyCose"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/profile": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Create a profile
         * @description Scope: `profiles`.
         */
        post: operations["createProfile"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/profiles": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the caller's profiles, and the settings of those that have some or are public
         * @description Scope: `profiles`.
         */
        get: operations["listProfiles"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/profile/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Delete a profile with all its keys
         * @description Scope: `profiles`.
         */
        delete: operations["deleteProfile"];
        options?: never;
        head?: never;
        /**
         * Change the settings of a profile, and publish its JWK Set, or stop publishing it
         * @description Scope: `profiles`.
         */
        patch: operations["changeProfile"];
        trace?: never;
    };
    "/tokens": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the tokens of the caller's profiles, by page
         * @description Scope: `admin`.
         */
        get: operations["listTokens"];
        put?: never;
        /**
         * Create a token; no other answer shows it again
         * @description Scope: `admin`.
         */
        post: operations["createToken"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/tokens/self": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get the permissions of the caller's own token
         * @description Scope: any.
         */
        get: operations["getOwnToken"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/tokens/{token}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Revoke a token
         * @description Scope: `admin`.
         */
        delete: operations["revokeToken"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/audit": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the events of the audit log, newest first, by page
         * @description Scope: `audit`.
         */
        get: operations["listAuditEvents"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/algorithms": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the algorithms and their operations
         * @description Scope: `keys:read`.
         */
        get: operations["listAlgorithms"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/healthz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Check that the process is alive */
        get: operations["healthz"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/readyz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Check that the key store answers and the audit log can be written */
        get: operations["readyz"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/openapi.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Get this document */
        get: operations["openapi"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description An algorithm and its operations. */
        Algorithm: {
            name: string;
            aliases: string[];
            /** @description JWK key type. */
            kty: string;
            /** @description JOSE names of its signatures, key agreements and encryptions. */
            jose_algs: string[];
            operations: string[];
            /** @description Operations that a key has only if they were requested for it. */
            opt_in: string[];
            /** @description Package that provides it. */
            source: string;
            /** @description Providers that support it; absent if there are none. */
            providers?: string[];
        };
        /** @enum {string} */
        AlgorithmName: "a128cbchs256" | "a128gcm" | "aes128gcm" | "a128kw" | "aes128kw" | "a192cbchs384" | "a192gcm" | "aes192gcm" | "a192kw" | "aes192kw" | "a256cbchs512" | "a256gcm" | "aes256gcm" | "a256kw" | "aes256kw" | "bls12381g1" | "bls12-381-g1" | "bls12381g2" | "bls12-381-g2" | "c20p" | "chacha20poly1305" | "ed25519" | "ed448" | "hs256" | "hs384" | "hs512" | "k256" | "secp256k1" | "mldsa44" | "mldsa65" | "mldsa87" | "mlkem1024" | "mlkem768" | "p256" | "P-256" | "secp256r1" | "prime256v1" | "p384" | "P-384" | "secp384r1" | "p521" | "P-521" | "secp521r1" | "rsa2048" | "rsa3072" | "rsa4096" | "x25519" | "x448" | "xc20p" | "xchacha20poly1305" | (string & {});
        /** @enum {string} */
        AliasTaken: "move" | "refuse";
        /** @description An alias to bind. */
        AssociateAlias: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description If the alias names another key: move it to this key (the default), or refuse the call. */
            alias_taken?: components["schemas"]["AliasTaken"];
        };
        /** @description An alias and its key. */
        Association: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
        };
        /** @description Keys to attest, the key that signs, and claims about them. */
        AttestKeysRequest: components["schemas"]["AttestKeysRequestWithKid"] | components["schemas"]["AttestKeysRequestWithAlias"];
        /** @description Keys to attest, the key that signs, and claims about them. */
        AttestKeysRequestWithAlias: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description The attested keys, each by its kid or an alias. */
            keys: string[];
            /** @description Nonce of the issuer. */
            nonce?: string | null;
            /** @description Audience (`aud`), such as the issuer. */
            audience?: string | null;
            /** @description Seconds until it expires; 300 by default. */
            expires_in?: number;
            /** @description The key's certificate in the header: none (the default), its chain without a self-signed root (x5c), its thumbprint (x5t#S256), or a list of both. */
            certificate_header?: components["schemas"]["CertificateHeader"] | components["schemas"]["CertificateHeaderName"][];
            /** @description Caller's claim: resistance of the key storage (OpenID4VCI 1.0). */
            key_storage?: string[] | null;
            /** @description Caller's claim: resistance of the user authentication. */
            user_authentication?: string[] | null;
            /** @description Caller's claim: URL of the certification of the key storage. */
            certification?: string | null;
            /** @description Further claims, such as key_storage_status (EUDI Wallet, TS3 1.5), of at most 16,384 bytes; none of attested_keys, aud, certification, exp, iat, key_storage, nonce, user_authentication. */
            claims?: {
                [key: string]: unknown;
            };
            /** @description Also attest imported keys, of which copies may exist elsewhere; false by default. */
            allow_imported?: boolean;
        };
        /** @description Keys to attest, the key that signs, and claims about them. */
        AttestKeysRequestWithKid: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description The attested keys, each by its kid or an alias. */
            keys: string[];
            /** @description Nonce of the issuer. */
            nonce?: string | null;
            /** @description Audience (`aud`), such as the issuer. */
            audience?: string | null;
            /** @description Seconds until it expires; 300 by default. */
            expires_in?: number;
            /** @description The key's certificate in the header: none (the default), its chain without a self-signed root (x5c), its thumbprint (x5t#S256), or a list of both. */
            certificate_header?: components["schemas"]["CertificateHeader"] | components["schemas"]["CertificateHeaderName"][];
            /** @description Caller's claim: resistance of the key storage (OpenID4VCI 1.0). */
            key_storage?: string[] | null;
            /** @description Caller's claim: resistance of the user authentication. */
            user_authentication?: string[] | null;
            /** @description Caller's claim: URL of the certification of the key storage. */
            certification?: string | null;
            /** @description Further claims, such as key_storage_status (EUDI Wallet, TS3 1.5), of at most 16,384 bytes; none of attested_keys, aud, certification, exp, iat, key_storage, nonce, user_authentication. */
            claims?: {
                [key: string]: unknown;
            };
            /** @description Also attest imported keys, of which copies may exist elsewhere; false by default. */
            allow_imported?: boolean;
        };
        /** @description A key attestation. */
        AttestationJwt: {
            /** @description The attestation, a compact JWS. */
            jwt: string;
        };
        /** @description A call in the audit log. */
        AuditEvent: {
            /**
             * Format: date-time
             * @description Time of the call, in UTC.
             */
            time: string;
            /** @description The `X-Request-Id` of the answer. */
            request_id: string;
            /** @description Name of the caller; empty if unknown. */
            who: string;
            /** @description Address of the caller. */
            address: string;
            /** @description Subject of the caller's TLS certificate. */
            subject: string | null;
            /** @description Profile of the call. */
            profile: string | null;
            /** @description Key of the call. */
            kid: string | null;
            /** @description Algorithm of the key. */
            alg: string | null;
            /** @description Id of a token that was made or revoked. */
            token: string | null;
            /** @description operationId of the call. */
            operation: string;
            /** @description `success`, or the slug of the problem. */
            outcome: string;
            /** @description Alias by which a refused call requested its key. */
            alias?: string;
            /** @description Key that replaced the key of the call in a rotation. */
            new_kid?: string;
            certificate?: components["schemas"]["IssuedIdentity"];
            crl?: components["schemas"]["SignedCrl"];
            batch?: components["schemas"]["FailedItems"];
            /** @description Rule of the key or the profile that refused the call or an item of its batch. */
            rule?: string;
            /** @description Provider that the call used. */
            provider?: string;
            /** @description Identifier of the object that was destroyed at its provider, hexadecimal. */
            object_id?: string;
            /** @description Id of the profile; it tells the profile from earlier ones with its name. */
            profile_id?: string;
            /** @description True if the caller of a refused call may use the profile. */
            admitted?: boolean;
        };
        /** @description An authentication code. */
        AuthenticationCode: {
            /** @description The authentication code. Base64url: taken padded or not, given padded. */
            mac: Bytes;
        };
        /** @description One message of a batch. */
        BatchSignItem: {
            /** @description The message, or its digest. Base64url; a malformed item gets its own problem. */
            data: Bytes;
        };
        /** @description Messages to sign. */
        BatchSignRequest: components["schemas"]["BatchSignRequestWithKid"] | components["schemas"]["BatchSignRequestWithAlias"];
        /** @description Messages to sign. */
        BatchSignRequestWithAlias: {
            /** @description JOSE name of the signature; the key's first one by default. */
            alg?: components["schemas"]["JoseName"];
            /** @description Form of an ECDSA signature: r‖s (raw) or DER. */
            encoding?: components["schemas"]["SignatureEncoding"];
            /** @description Whether data is the digest of the message. */
            prehashed?: boolean;
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            items: components["schemas"]["BatchSignItem"][];
        };
        /** @description Messages to sign. */
        BatchSignRequestWithKid: {
            /** @description JOSE name of the signature; the key's first one by default. */
            alg?: components["schemas"]["JoseName"];
            /** @description Form of an ECDSA signature: r‖s (raw) or DER. */
            encoding?: components["schemas"]["SignatureEncoding"];
            /** @description Whether data is the digest of the message. */
            prehashed?: boolean;
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            items: components["schemas"]["BatchSignItem"][];
        };
        /** @description The results, in the order of the messages. */
        BatchSignature: {
            results: components["schemas"]["SignResult"][];
        };
        /** @description The results, in the order of the messages. */
        BatchVerification: {
            results: components["schemas"]["VerifyResult"][];
        };
        /** @description One message of a batch, with its signature. */
        BatchVerifyItem: {
            /** @description The message, or its digest. Base64url; a malformed item gets its own problem. */
            data: Bytes;
            /** @description The signature. Base64url; a malformed item gets its own problem. */
            sig: Bytes;
        };
        /** @description Messages and their signatures to verify. */
        BatchVerifyRequest: components["schemas"]["BatchVerifyRequestWithKid"] | components["schemas"]["BatchVerifyRequestWithAlias"] | components["schemas"]["BatchVerifyRequestWithJwk"];
        /** @description Messages and their signatures to verify. */
        BatchVerifyRequestWithAlias: {
            /** @description JOSE name of the signature; the key's first one by default. */
            alg?: components["schemas"]["JoseName"];
            /** @description Form of an ECDSA signature: r‖s (raw) or DER. */
            encoding?: components["schemas"]["SignatureEncoding"];
            /** @description Whether data is the digest of the message. */
            prehashed?: boolean;
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            items: components["schemas"]["BatchVerifyItem"][];
        };
        /** @description Messages and their signatures to verify. */
        BatchVerifyRequestWithJwk: {
            /** @description JOSE name of the signature; the key's first one by default. */
            alg?: components["schemas"]["JoseName"];
            /** @description Form of an ECDSA signature: r‖s (raw) or DER. */
            encoding?: components["schemas"]["SignatureEncoding"];
            /** @description Whether data is the digest of the message. */
            prehashed?: boolean;
            /** @description A public JWK (RFC 7517). */
            jwk: components["schemas"]["Jwk"];
            items: components["schemas"]["BatchVerifyItem"][];
        };
        /** @description Messages and their signatures to verify. */
        BatchVerifyRequestWithKid: {
            /** @description JOSE name of the signature; the key's first one by default. */
            alg?: components["schemas"]["JoseName"];
            /** @description Form of an ECDSA signature: r‖s (raw) or DER. */
            encoding?: components["schemas"]["SignatureEncoding"];
            /** @description Whether data is the digest of the message. */
            prehashed?: boolean;
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            items: components["schemas"]["BatchVerifyItem"][];
        };
        /** @description A box; its recipient also needs the sender's public key. */
        BoxCiphertext: {
            /** @description The tag (16 bytes), then the ciphertext. Base64url: taken padded or not, given padded. */
            ciphertext: Bytes;
            /** @description The nonce (24 bytes). Base64url: taken padded or not, given padded. */
            nonce: Bytes;
        };
        /** @description Bytes to encrypt to a peer. */
        BoxRequest: components["schemas"]["BoxRequestWithKid"] | components["schemas"]["BoxRequestWithAlias"];
        /** @description Bytes to encrypt to a peer. */
        BoxRequestWithAlias: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description The recipient's public JWK: X25519, or Ed25519, which is converted. */
            to: components["schemas"]["Jwk"];
            /** @description The plaintext. Base64url: taken padded or not, given padded. */
            plaintext: Bytes;
        };
        /** @description Bytes to encrypt to a peer. */
        BoxRequestWithKid: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description The recipient's public JWK: X25519, or Ed25519, which is converted. */
            to: components["schemas"]["Jwk"];
            /** @description The plaintext. Base64url: taken padded or not, given padded. */
            plaintext: Bytes;
        };
        /** @enum {string} */
        CertificateHeader: "none" | "x5c" | "x5t#S256";
        /** @enum {string} */
        CertificateHeaderName: "x5c" | "x5t#S256";
        /** @enum {string} */
        CertificateProfile: "self-signed" | "iaca" | "document-signer" | "reader" | "client" | "access" | "pid-provider" | "document";
        /** @description A certificate request. */
        CertificateSigningRequest: {
            /** @description The request in PEM (RFC 2986). */
            csr: string;
        };
        /** @description A change of a profile; omitted members stay unchanged. */
        ChangeProfile: {
            /** @description Whether the JWK Set is readable without a token. */
            jwks?: components["schemas"]["JwksAccess"];
            /** @description Largest number of keys. Null for no bound. */
            max_keys?: number | null;
            /** @description Shortest delay of a deletion, in seconds. Null for no bound. */
            min_deletion_delay?: number | null;
            /** @description Largest rate of calls. Null for no bound. */
            calls_per_second?: number | null;
            /** @description Whether callers need the scope keys:delete to delete keys. */
            delete_scope?: boolean;
        };
        /** @enum {string} */
        CoseCertificateHeader: "none" | "x5chain" | "x5t" | "x5chain-protected" | "x5t-protected";
        /** @enum {string} */
        CoseCertificateHeaderName: "x5chain" | "x5t" | "x5chain-protected" | "x5t-protected";
        /** @enum {string} */
        CoseKidHeader: "alias" | "kid" | "none";
        /** @description A COSE message. */
        CoseMessage: {
            /** @description The COSE_Sign1; for a MAC key the COSE_Mac0. Base64url: taken padded or not, given padded. */
            cose: Bytes;
        };
        /** @description The result of a verification; the payload is null if the message is not valid. */
        CoseVerification: {
            valid: boolean;
            /** @description The payload. Base64url: taken padded or not, given padded. */
            payload: Bytes | null;
            /** @description The protected header parameters, as a CBOR map. Base64url: taken padded or not, given padded. */
            protected: Bytes;
            /** @description The unprotected header parameters, as a CBOR map. Base64url: taken padded or not, given padded. */
            unprotected: Bytes;
        };
        /** @description A profile to create. */
        CreateProfile: {
            /** @description Name of the profile. */
            name: string;
        };
        /** @description A token to create. */
        CreateToken: {
            /** @description Name of its holder in the audit log. */
            name: string;
            /** @description Calls that the token permits. */
            scopes: components["schemas"]["Scope"][];
            /** @description Profiles of the token; by default all profiles of the caller. */
            profiles?: string[] | null;
            /**
             * Format: date-time
             * @description Expiry; never by default.
             */
            expires?: string | null;
        };
        /** @description A revocation list to make; `kid` or `alias` names the key that signs it. */
        CrlRequest: components["schemas"]["CrlRequestWithKid"] | components["schemas"]["CrlRequestWithAlias"];
        /** @description A revocation list to make; `kid` or `alias` names the key that signs it. */
        CrlRequestWithAlias: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description Days until the next list, at most. */
            days: number;
            /** @description Number of the list, larger than in the list before. */
            number: number;
            /** @description The revoked certificates. */
            revoked: components["schemas"]["RevokedCertificate"][];
        };
        /** @description A revocation list to make; `kid` or `alias` names the key that signs it. */
        CrlRequestWithKid: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description Days until the next list, at most. */
            days: number;
            /** @description Number of the list, larger than in the list before. */
            number: number;
            /** @description The revoked certificates. */
            revoked: components["schemas"]["RevokedCertificate"][];
        };
        /** @description The subject of a certificate request. */
        CsrRequest: components["schemas"]["CsrRequestWithKid"] | components["schemas"]["CsrRequestWithAlias"];
        /** @description The subject of a certificate request. */
        CsrRequestWithAlias: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description The subject as an RFC 4514 string, such as CN=example,O=Example,C=DE. */
            subject: string;
            /** @description Other names of the subject. Each begins with DNS:, URI:, email: or IP:. */
            alternative_names?: string[];
            /** @description JOSE name of the signature; the key's first one by default. */
            alg?: components["schemas"]["JoseName"] | null;
        };
        /** @description The subject of a certificate request. */
        CsrRequestWithKid: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description The subject as an RFC 4514 string, such as CN=example,O=Example,C=DE. */
            subject: string;
            /** @description Other names of the subject. Each begins with DNS:, URI:, email: or IP:. */
            alternative_names?: string[];
            /** @description JOSE name of the signature; the key's first one by default. */
            alg?: components["schemas"]["JoseName"] | null;
        };
        /** @description A ciphertext to decapsulate. */
        DecapsulateRequest: components["schemas"]["DecapsulateRequestWithKid"] | components["schemas"]["DecapsulateRequestWithAlias"];
        /** @description A ciphertext to decapsulate. */
        DecapsulateRequestWithAlias: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description The ciphertext. Base64url: taken padded or not, given padded. */
            ciphertext: Bytes;
        };
        /** @description A ciphertext to decapsulate. */
        DecapsulateRequestWithKid: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description The ciphertext. Base64url: taken padded or not, given padded. */
            ciphertext: Bytes;
        };
        /** @description The secret of a ciphertext; a random secret if the ciphertext is not for this key. */
        DecapsulatedSecret: {
            /** @description The secret. Base64url: taken padded or not, given padded. */
            secret: Bytes;
        };
        /** @description A JWE to open. */
        DecryptJweRequest: components["schemas"]["DecryptJweRequestWithKid"] | components["schemas"]["DecryptJweRequestWithAlias"];
        /** @description A JWE to open. */
        DecryptJweRequestWithAlias: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description The JWE, in any serialization (RFC 7516). */
            jwe: string | {
                [key: string]: unknown;
            };
            /** @description The sender's public JWK, for ECDH-1PU. */
            from?: components["schemas"]["Jwk"] | null;
        };
        /** @description A JWE to open. */
        DecryptJweRequestWithKid: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description The JWE, in any serialization (RFC 7516). */
            jwe: string | {
                [key: string]: unknown;
            };
            /** @description The sender's public JWK, for ECDH-1PU. */
            from?: components["schemas"]["Jwk"] | null;
        };
        /** @description Encrypted data to decrypt. */
        DecryptRequest: components["schemas"]["DecryptRequestWithKid"] | components["schemas"]["DecryptRequestWithAlias"];
        /** @description Encrypted data to decrypt. */
        DecryptRequestWithAlias: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description The ciphertext. Base64url: taken padded or not, given padded. */
            ciphertext: Bytes;
            /** @description The nonce; not for RSA. Base64url: taken padded or not, given padded. */
            nonce?: Bytes | null;
            /** @description The authentication tag; not for RSA. Base64url: taken padded or not, given padded. */
            tag?: Bytes | null;
            /** @description The data that is authenticated but not encrypted; not for RSA. Base64url: taken padded or not, given padded. */
            aad?: Bytes;
        };
        /** @description Encrypted data to decrypt. */
        DecryptRequestWithKid: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description The ciphertext. Base64url: taken padded or not, given padded. */
            ciphertext: Bytes;
            /** @description The nonce; not for RSA. Base64url: taken padded or not, given padded. */
            nonce?: Bytes | null;
            /** @description The authentication tag; not for RSA. Base64url: taken padded or not, given padded. */
            tag?: Bytes | null;
            /** @description The data that is authenticated but not encrypted; not for RSA. Base64url: taken padded or not, given padded. */
            aad?: Bytes;
        };
        /** @description Decrypted data. */
        DecryptedData: {
            /** @description The plaintext. Base64url: taken padded or not, given padded. */
            plaintext: Bytes;
        };
        /** @description The plaintext of a JWE, and the header that the recipient sees. */
        DecryptedJwe: {
            /** @description The plaintext. Base64url: taken padded or not, given padded. */
            plaintext: Bytes;
            /** @description The JOSE header: the union of its parts. */
            header: {
                [key: string]: unknown;
            };
        };
        /** @description A deletion, done or scheduled. */
        Deletion: {
            /** @enum {string} */
            message: "Key deleted" | "Key deletion scheduled";
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /**
             * Format: date-time
             * @description Time at which the key is deleted, if that is scheduled.
             */
            deletes?: string;
        };
        /** @description A peer to agree on a secret with. */
        DeriveRequest: components["schemas"]["DeriveRequestWithKid"] | components["schemas"]["DeriveRequestWithAlias"];
        /** @description A peer to agree on a secret with. */
        DeriveRequestWithAlias: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description The peer's public JWK, on the key's own curve. */
            peer: components["schemas"]["Jwk"];
        };
        /** @description A peer to agree on a secret with. */
        DeriveRequestWithKid: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description The peer's public JWK, on the key's own curve. */
            peer: components["schemas"]["Jwk"];
        };
        /** @description The recipient of a new secret. */
        EncapsulateRequest: {
            /** @description The recipient's public JWK. */
            to: components["schemas"]["Jwk"];
        };
        /** @description A new secret and its ciphertext. */
        EncapsulatedSecret: {
            /** @description The ciphertext, which the recipient decapsulates. Base64url: taken padded or not, given padded. */
            ciphertext: Bytes;
            /** @description The secret: 32 bytes, uniformly random. Base64url: taken padded or not, given padded. */
            secret: Bytes;
        };
        /** @description A plaintext to encrypt as JWE. */
        EncryptJweRequest: {
            /** @description The plaintext. Base64url: taken padded or not, given padded. */
            plaintext: Bytes;
            /** @description Content encryption (RFC 7518 section 5.1, ChaCha20-Poly1305). */
            enc: components["schemas"]["JweEnc"];
            recipients: components["schemas"]["JweRecipientRequest"][];
            /** @description Another name of a key, such as a DID URL. */
            from?: string | null;
            /** @description More members of the protected header, except alg, enc, epk, zip and crit. */
            header?: {
                [key: string]: unknown;
            } | null;
            /** @description Data that is authenticated but not encrypted; not in the compact form. Base64url: taken padded or not, given padded. */
            aad?: Bytes;
            /** @description Serialization; compact by default, general with aad or several recipients. */
            serialization?: components["schemas"]["JweSerialization"] | null;
        };
        /** @description Bytes to encrypt. */
        EncryptRequest: components["schemas"]["EncryptRequestWithKid"] | components["schemas"]["EncryptRequestWithAlias"] | components["schemas"]["EncryptRequestWithJwk"];
        /** @description Bytes to encrypt. */
        EncryptRequestWithAlias: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description The plaintext. Base64url: taken padded or not, given padded. */
            plaintext: Bytes;
            /** @description Data that is authenticated but not encrypted; not for RSA. Base64url: taken padded or not, given padded. */
            aad?: Bytes;
        };
        /** @description Bytes to encrypt. */
        EncryptRequestWithJwk: {
            /** @description A public JWK (RFC 7517). */
            jwk: components["schemas"]["Jwk"];
            /** @description The plaintext. Base64url: taken padded or not, given padded. */
            plaintext: Bytes;
            /** @description Data that is authenticated but not encrypted; not for RSA. Base64url: taken padded or not, given padded. */
            aad?: Bytes;
        };
        /** @description Bytes to encrypt. */
        EncryptRequestWithKid: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description The plaintext. Base64url: taken padded or not, given padded. */
            plaintext: Bytes;
            /** @description Data that is authenticated but not encrypted; not for RSA. Base64url: taken padded or not, given padded. */
            aad?: Bytes;
        };
        /** @description Encrypted data. */
        EncryptedData: {
            /** @description The ciphertext. Base64url: taken padded or not, given padded. */
            ciphertext: Bytes;
            /** @description The nonce; null for RSA. Base64url: taken padded or not, given padded. */
            nonce: Bytes | null;
            /** @description The authentication tag; null for RSA. Base64url: taken padded or not, given padded. */
            tag: Bytes | null;
        };
        /** @description A JWE. */
        EncryptedJwe: {
            /** @description The JWE: a string if compact, else an object. */
            jwe: string | {
                [key: string]: unknown;
            };
        };
        /** @description The numbers of a batch with failed items. */
        FailedItems: {
            /** @description Number of its items. */
            items: number;
            /** @description Number of failed items. */
            failed: number;
        };
        /** @description A key to make. */
        GenerateKey: {
            /** @description Labels: names to values. */
            labels?: components["schemas"]["Labels"];
            /** @description Whether the private key can be exported. */
            exportable?: boolean;
            /** @description Permitted operations, out of those of the algorithm; all by default. */
            operations?: components["schemas"]["KeyOperation"][];
            /**
             * Format: date-time
             * @description Time from which the key only verifies and decrypts.
             */
            expires?: string;
            /** @description The signatures that the key may make, and how often it may be used; by default all. A name stands for the rules of a kind of key. */
            rules?: components["schemas"]["KeyRules"] | ("sd-jwt-vc" | "openid4vci-proof" | "status-list" | "federation");
            /** @description Seconds after which the service rotates the key, again and again. */
            rotate_every?: number;
            /** @description Seconds after which the key is deleted; until then it is used as any other. */
            delete_after?: number;
            /** @description Provider that makes and keeps the private key, such as an HSM (see GET /algorithms); by default the service itself. */
            provider?: string;
            /** @description Another name of a key, such as a DID URL. */
            alias?: string;
            /** @description If the alias names another key: move it to this key (the default), or refuse the call. */
            alias_taken?: components["schemas"]["AliasTaken"];
            /** @description Name or alias of an algorithm, see GET /algorithms. */
            alg: components["schemas"]["AlgorithmName"];
        };
        /** @description Keys to make, with the same properties. */
        GenerateKeys: {
            /** @description Labels: names to values. */
            labels?: components["schemas"]["Labels"];
            /** @description Whether the private key can be exported. */
            exportable?: boolean;
            /** @description Permitted operations, out of those of the algorithm; all by default. */
            operations?: components["schemas"]["KeyOperation"][];
            /**
             * Format: date-time
             * @description Time from which the key only verifies and decrypts.
             */
            expires?: string;
            /** @description The signatures that the key may make, and how often it may be used; by default all. A name stands for the rules of a kind of key. */
            rules?: components["schemas"]["KeyRules"] | ("sd-jwt-vc" | "openid4vci-proof" | "status-list" | "federation");
            /** @description Seconds after which the service rotates the key, again and again. */
            rotate_every?: number;
            /** @description Seconds after which the key is deleted; until then it is used as any other. */
            delete_after?: number;
            /** @description Provider that makes and keeps the private key, such as an HSM (see GET /algorithms); by default the service itself. */
            provider?: string;
            /** @description Name or alias of an algorithm, see GET /algorithms. */
            alg: components["schemas"]["AlgorithmName"];
            /** @description Number of keys. */
            count: number;
        };
        /** @description The new keys, in order of creation. */
        GeneratedKeys: {
            keys: components["schemas"]["Key"][];
        };
        /** @description The state of the service. */
        Health: {
            status: string;
            /** @description Providers that do not answer; absent if all answer. */
            away?: string[];
        };
        /** @enum {string} */
        HpkeAead: "AES-128-GCM" | "AES-256-GCM" | "ChaCha20Poly1305";
        /** @enum {string} */
        HpkeKdf: "HKDF-SHA256" | "HKDF-SHA384" | "HKDF-SHA512";
        /** @description A message encrypted by HPKE. */
        HpkeMessage: {
            /** @description The encapsulated key. Base64url: taken padded or not, given padded. */
            enc: Bytes;
            /** @description The ciphertext, then its tag. Base64url: taken padded or not, given padded. */
            ciphertext: Bytes;
        };
        /** @enum {string} */
        IfExists: "refuse" | "keep";
        /** @description A key to import: a JWK, or an algorithm with a secret, seed or wrapped secret. */
        ImportKey: components["schemas"]["ImportKeyWithJwk"] | components["schemas"]["ImportKeyWithSecret"] | components["schemas"]["ImportKeyWithSeed"] | components["schemas"]["ImportKeyWithWrapped"];
        /** @description A key to import: a JWK, or an algorithm with a secret, seed or wrapped secret. */
        ImportKeyWithJwk: {
            /** @description Labels: names to values. */
            labels?: components["schemas"]["Labels"];
            /** @description Whether the private key can be exported. */
            exportable?: boolean;
            /** @description Permitted operations, out of those of the algorithm; all by default. */
            operations?: components["schemas"]["KeyOperation"][];
            /**
             * Format: date-time
             * @description Time from which the key only verifies and decrypts.
             */
            expires?: string;
            /** @description The signatures that the key may make, and how often it may be used; by default all. A name stands for the rules of a kind of key. */
            rules?: components["schemas"]["KeyRules"] | ("sd-jwt-vc" | "openid4vci-proof" | "status-list" | "federation");
            /** @description Seconds after which the service rotates the key, again and again. */
            rotate_every?: number;
            /** @description Seconds after which the key is deleted; until then it is used as any other. */
            delete_after?: number;
            /** @description Provider that makes and keeps the private key, such as an HSM (see GET /algorithms); by default the service itself. */
            provider?: string;
            /** @description Another name of a key, such as a DID URL. */
            alias?: string;
            /** @description If the alias names another key: move it to this key (the default), or refuse the call. */
            alias_taken?: components["schemas"]["AliasTaken"];
            /** @description The JWK: private, or only public (RFC 7517). */
            jwk: components["schemas"]["Jwk"];
            /** @description Name or alias of an algorithm, see GET /algorithms. */
            alg?: components["schemas"]["AlgorithmName"];
            /** @description If the profile has the key: refuse the call (the default), or keep the key unchanged, and add the alias. */
            if_exists?: components["schemas"]["IfExists"];
        };
        /** @description A key to import: a JWK, or an algorithm with a secret, seed or wrapped secret. */
        ImportKeyWithSecret: {
            /** @description Labels: names to values. */
            labels?: components["schemas"]["Labels"];
            /** @description Whether the private key can be exported. */
            exportable?: boolean;
            /** @description Permitted operations, out of those of the algorithm; all by default. */
            operations?: components["schemas"]["KeyOperation"][];
            /**
             * Format: date-time
             * @description Time from which the key only verifies and decrypts.
             */
            expires?: string;
            /** @description The signatures that the key may make, and how often it may be used; by default all. A name stands for the rules of a kind of key. */
            rules?: components["schemas"]["KeyRules"] | ("sd-jwt-vc" | "openid4vci-proof" | "status-list" | "federation");
            /** @description Seconds after which the service rotates the key, again and again. */
            rotate_every?: number;
            /** @description Seconds after which the key is deleted; until then it is used as any other. */
            delete_after?: number;
            /** @description Provider that makes and keeps the private key, such as an HSM (see GET /algorithms); by default the service itself. */
            provider?: string;
            /** @description Another name of a key, such as a DID URL. */
            alias?: string;
            /** @description If the alias names another key: move it to this key (the default), or refuse the call. */
            alias_taken?: components["schemas"]["AliasTaken"];
            /** @description Name or alias of an algorithm, see GET /algorithms. */
            alg: components["schemas"]["AlgorithmName"];
            /** @description The secret bytes. Base64url: taken padded or not, given padded. */
            secret: Bytes;
            /** @description If the profile has the key: refuse the call (the default), or keep the key unchanged, and add the alias. */
            if_exists?: components["schemas"]["IfExists"];
        };
        /** @description A key to import: a JWK, or an algorithm with a secret, seed or wrapped secret. */
        ImportKeyWithSeed: {
            /** @description Labels: names to values. */
            labels?: components["schemas"]["Labels"];
            /** @description Whether the private key can be exported. */
            exportable?: boolean;
            /** @description Permitted operations, out of those of the algorithm; all by default. */
            operations?: components["schemas"]["KeyOperation"][];
            /**
             * Format: date-time
             * @description Time from which the key only verifies and decrypts.
             */
            expires?: string;
            /** @description The signatures that the key may make, and how often it may be used; by default all. A name stands for the rules of a kind of key. */
            rules?: components["schemas"]["KeyRules"] | ("sd-jwt-vc" | "openid4vci-proof" | "status-list" | "federation");
            /** @description Seconds after which the service rotates the key, again and again. */
            rotate_every?: number;
            /** @description Seconds after which the key is deleted; until then it is used as any other. */
            delete_after?: number;
            /** @description Provider that makes and keeps the private key, such as an HSM (see GET /algorithms); by default the service itself. */
            provider?: string;
            /** @description Another name of a key, such as a DID URL. */
            alias?: string;
            /** @description If the alias names another key: move it to this key (the default), or refuse the call. */
            alias_taken?: components["schemas"]["AliasTaken"];
            /** @description Name or alias of an algorithm, see GET /algorithms. */
            alg: components["schemas"]["AlgorithmName"];
            /** @description The seed, expanded as the algorithm's specification says; it is not hashed first. Base64url: taken padded or not, given padded. */
            seed: Bytes;
            /** @description If the profile has the key: refuse the call (the default), or keep the key unchanged, and add the alias. */
            if_exists?: components["schemas"]["IfExists"];
        };
        /** @description A key to import: a JWK, or an algorithm with a secret, seed or wrapped secret. */
        ImportKeyWithWrapped: {
            /** @description Labels: names to values. */
            labels?: components["schemas"]["Labels"];
            /** @description Whether the private key can be exported. */
            exportable?: boolean;
            /** @description Permitted operations, out of those of the algorithm; all by default. */
            operations?: components["schemas"]["KeyOperation"][];
            /**
             * Format: date-time
             * @description Time from which the key only verifies and decrypts.
             */
            expires?: string;
            /** @description The signatures that the key may make, and how often it may be used; by default all. A name stands for the rules of a kind of key. */
            rules?: components["schemas"]["KeyRules"] | ("sd-jwt-vc" | "openid4vci-proof" | "status-list" | "federation");
            /** @description Seconds after which the service rotates the key, again and again. */
            rotate_every?: number;
            /** @description Seconds after which the key is deleted; until then it is used as any other. */
            delete_after?: number;
            /** @description Provider that makes and keeps the private key, such as an HSM (see GET /algorithms); by default the service itself. */
            provider?: string;
            /** @description Another name of a key, such as a DID URL. */
            alias?: string;
            /** @description If the alias names another key: move it to this key (the default), or refuse the call. */
            alias_taken?: components["schemas"]["AliasTaken"];
            /** @description Name or alias of an algorithm, see GET /algorithms. */
            alg: components["schemas"]["AlgorithmName"];
            /** @description The wrapped secret bytes (RFC 3394, RFC 5649). Base64url: taken padded or not, given padded. */
            wrapped: Bytes;
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            unwrap_kid: string;
            /** @description If the profile has the key: refuse the call (the default), or keep the key unchanged, and add the alias. */
            if_exists?: components["schemas"]["IfExists"];
        };
        /** @description A certificate to make; `kid` or `alias` names the key that signs it. */
        IssueCertificateRequest: components["schemas"]["IssueCertificateRequestWithKid"] | components["schemas"]["IssueCertificateRequestWithAlias"];
        /** @description A certificate to make; `kid` or `alias` names the key that signs it. */
        IssueCertificateRequestWithAlias: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description The kind of certificate, which decides its extensions and bounds. */
            profile: components["schemas"]["CertificateProfile"];
            /** @description The subject as an RFC 4514 string, such as CN=example,O=Example,C=DE. */
            subject?: string;
            /** @description Other names of the subject; by default the names in csr. Each begins with DNS:, URI:, email: or IP:. */
            alternative_names?: string[];
            /** @description The request of the subject, in PEM (RFC 2986). */
            csr?: string;
            /** @description Kid or alias of the subject's key, if it is in the same profile. */
            key?: string;
            /** @description Days of validity, which begins five minutes before the call. */
            days: number;
            /** @description Names by which the issuer can be reached. Each begins with DNS:, URI:, email: or IP:. */
            issuer_alternative_names?: string[];
            /** @description The URI of the issuer's revocation list. */
            crl?: string;
            /** @description The object identifiers of the certificate's policies. */
            policies?: string[];
            /** @description The URI of the issuer's practice statement, beside each policy. */
            cps?: string;
            /** @description The URI of the issuer's certificate. */
            issuer_url?: string;
            /** @description Add the purpose of signing documents (RFC 9336). */
            document_signing?: boolean;
        };
        /** @description A certificate to make; `kid` or `alias` names the key that signs it. */
        IssueCertificateRequestWithKid: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description The kind of certificate, which decides its extensions and bounds. */
            profile: components["schemas"]["CertificateProfile"];
            /** @description The subject as an RFC 4514 string, such as CN=example,O=Example,C=DE. */
            subject?: string;
            /** @description Other names of the subject; by default the names in csr. Each begins with DNS:, URI:, email: or IP:. */
            alternative_names?: string[];
            /** @description The request of the subject, in PEM (RFC 2986). */
            csr?: string;
            /** @description Kid or alias of the subject's key, if it is in the same profile. */
            key?: string;
            /** @description Days of validity, which begins five minutes before the call. */
            days: number;
            /** @description Names by which the issuer can be reached. Each begins with DNS:, URI:, email: or IP:. */
            issuer_alternative_names?: string[];
            /** @description The URI of the issuer's revocation list. */
            crl?: string;
            /** @description The object identifiers of the certificate's policies. */
            policies?: string[];
            /** @description The URI of the issuer's practice statement, beside each policy. */
            cps?: string;
            /** @description The URI of the issuer's certificate. */
            issuer_url?: string;
            /** @description Add the purpose of signing documents (RFC 9336). */
            document_signing?: boolean;
        };
        /** @description A certificate. */
        IssuedCertificate: {
            /** @description A certificate in PEM (RFC 7468). */
            certificate: string;
        };
        /** @description A certificate that a call issued. */
        IssuedIdentity: {
            /** @description Serial number, hexadecimal. */
            serial: string;
            /** @description Subject (RFC 4514). */
            subject: string;
            /** @description Profile of the certificate. */
            profile: string;
        };
        /** @enum {string} */
        JoseName: "EdDSA" | "Ed25519" | "Ed448" | "HS256" | "HS384" | "HS512" | "ES256K" | "ML-DSA-44" | "ML-DSA-65" | "ML-DSA-87" | "ES256" | "ES384" | "ES512" | "RS256" | "RS384" | "RS512" | "PS256" | "PS384" | "PS512" | (string & {});
        /** @enum {string} */
        JweAlg: "dir" | "A128KW" | "A192KW" | "A256KW" | "ECDH-ES" | "ECDH-ES+A128KW" | "ECDH-ES+A192KW" | "ECDH-ES+A256KW" | "ECDH-1PU" | "ECDH-1PU+A128KW" | "ECDH-1PU+A192KW" | "ECDH-1PU+A256KW" | "RSA-OAEP-256";
        /** @enum {string} */
        JweEnc: "A128GCM" | "A192GCM" | "A256GCM" | "A128CBC-HS256" | "A192CBC-HS384" | "A256CBC-HS512" | "C20P" | "XC20P";
        /** @description A recipient of a JWE: a key, and its key management algorithm. */
        JweRecipientRequest: components["schemas"]["JweRecipientRequestWithKid"] | components["schemas"]["JweRecipientRequestWithAlias"] | components["schemas"]["JweRecipientRequestWithJwk"];
        /** @description A recipient of a JWE: a key, and its key management algorithm. */
        JweRecipientRequestWithAlias: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description Key management (RFC 7518 section 4.1, ECDH-1PU). */
            alg: components["schemas"]["JweAlg"];
            /** @description Members of this recipient's own header, except alg, enc, epk, zip and crit. */
            header?: {
                [key: string]: unknown;
            } | null;
        };
        /** @description A recipient of a JWE: a key, and its key management algorithm. */
        JweRecipientRequestWithJwk: {
            /** @description A public JWK (RFC 7517). */
            jwk: components["schemas"]["Jwk"];
            /** @description Key management (RFC 7518 section 4.1, ECDH-1PU). */
            alg: components["schemas"]["JweAlg"];
            /** @description Members of this recipient's own header, except alg, enc, epk, zip and crit. */
            header?: {
                [key: string]: unknown;
            } | null;
        };
        /** @description A recipient of a JWE: a key, and its key management algorithm. */
        JweRecipientRequestWithKid: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description Key management (RFC 7518 section 4.1, ECDH-1PU). */
            alg: components["schemas"]["JweAlg"];
            /** @description Members of this recipient's own header, except alg, enc, epk, zip and crit. */
            header?: {
                [key: string]: unknown;
            } | null;
        };
        /** @enum {string} */
        JweSerialization: "compact" | "flattened" | "general" | null;
        Jwk: Jwk;
        /** @description Public keys (RFC 7517 section 5). */
        JwkSet: {
            keys: components["schemas"]["Jwk"][];
        };
        /** @enum {string} */
        JwksAccess: "public" | "private";
        /** @description The payloads and headers that a key signs as JWS, and as COSE with `cose`. */
        JwsRules: {
            /** @description Allowed types of the header; by default any. */
            typ?: string[];
            /** @description Claims that the payload must have, each with its allowed texts; the ones of vct also bound aka_vcts. */
            claims?: {
                [key: string]: string[];
            };
            /** @description Seconds from now until the latest allowed exp. */
            max_lifetime?: number;
            /** @description Disclosures of an SD-JWT: any (the default); shown, by the call, without a claim that must be plain; or none. */
            disclosures?: components["schemas"]["RuleOfDisclosures"];
        };
        /** @enum {string} */
        JwsSerialization: "compact" | "flattened" | "general";
        /** @description A JWS. */
        JwsSignature: {
            /** @description The JWS: a string if compact, else an object. */
            jws: string | {
                [key: string]: unknown;
            };
        };
        /** @description The result of a verification; the payload is null if the JWS is not valid. */
        JwsVerification: {
            valid: boolean;
            header: {
                [key: string]: unknown;
            } | null;
            /** @description The payload. Base64url: taken padded or not, given padded. */
            payload: Bytes | null;
        };
        /** @description A key; a form that its algorithm lacks is null. */
        Key: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description Name of the algorithm. */
            alg: string;
            /** @description JWK key type. */
            kty: string;
            /** @description Public JWK (RFC 7517). */
            jwk: components["schemas"]["Jwk"] | null;
            /** @description Public key in base58; for EC the compressed point. */
            b58: string | null;
            /** @description Public key as W3C Multikey. */
            multikey: string | null;
            /** @description The key as did:key. */
            did: string | null;
            aliases: string[];
            /** @description Labels: names to values. */
            labels: components["schemas"]["Labels"];
            /** @description Permitted operations. */
            operations: string[];
            exportable: boolean;
            /** @description true if its private part or secret was imported; otherwise absent. */
            imported?: boolean;
            /** @description Provider that has the private key; absent if the service has it. */
            provider?: string;
            /** @description false if the algorithm is not installed, so that the key cannot be used; otherwise absent. */
            installed?: boolean;
            /** @description enabled, disabled, or verify-only: it only verifies and decrypts. */
            state: components["schemas"]["KeyState"];
            /** Format: date-time */
            created: string;
            /**
             * Format: date-time
             * @description Time from which the key only verifies and decrypts.
             */
            expires: string | null;
            /**
             * Format: date-time
             * @description Time at which the key is deleted.
             */
            deletes: string | null;
            /**
             * Format: date-time
             * @description Time of its last use, accurate to five minutes; null if unknown.
             */
            last_used: string | null;
            /** @description Seconds after which the service rotates the key, again and again. */
            rotate_every?: number;
            /**
             * Format: date-time
             * @description Time of its next scheduled rotation; absent if there is none.
             */
            rotates?: string;
            /** @description Its certificate and the chain above it, in DER as base64; absent if it has none. */
            certificates?: string[];
            /** @description SHA-256 thumbprint of its certificate (RFC 7515); absent if it has none. */
            "x5t#S256"?: string;
            /** @description Its rules; absent if it has none. */
            rules?: components["schemas"]["KeyRules"];
        };
        /** @enum {string} */
        KeyOperation: "sign" | "verify" | "mac" | "mac-verify" | "encrypt" | "decrypt" | "wrap" | "unwrap" | "derive" | "jwe-encrypt" | "jwe-decrypt" | "box" | "box-open" | "decapsulate" | "hpke-open";
        /** @description The rules of a key; those that are left out allow anything. */
        KeyRules: {
            /** @description Whether the key signs bytes as they are; if not, only JWS, COSE, certificates and key attestations. By default true without jws, which needs false. */
            raw?: boolean;
            /** @description JOSE names of the allowed signatures; by default any. */
            algs?: string[];
            jws?: components["schemas"]["JwsRules"];
            /** @description Whether the key signs COSE messages; with jws false by default, and else true. */
            cose?: boolean;
            /** @description Most uses in a minute. */
            per_minute?: number;
            /** @description Most uses in a day. */
            per_day?: number;
        };
        /** @enum {string} */
        KeyState: "enabled" | "disabled" | "verify-only";
        /** @description A key, with its COSE_Key and its predecessors; a form that it lacks is null. */
        KeyWithCose: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description Name of the algorithm. */
            alg: string;
            /** @description JWK key type. */
            kty: string;
            /** @description Public JWK (RFC 7517). */
            jwk: components["schemas"]["Jwk"] | null;
            /** @description Public key in base58; for EC the compressed point. */
            b58: string | null;
            /** @description Public key as W3C Multikey. */
            multikey: string | null;
            /** @description The key as did:key. */
            did: string | null;
            aliases: string[];
            /** @description Labels: names to values. */
            labels: components["schemas"]["Labels"];
            /** @description Permitted operations. */
            operations: string[];
            exportable: boolean;
            /** @description true if its private part or secret was imported; otherwise absent. */
            imported?: boolean;
            /** @description Provider that has the private key; absent if the service has it. */
            provider?: string;
            /** @description false if the algorithm is not installed, so that the key cannot be used; otherwise absent. */
            installed?: boolean;
            /** @description enabled, disabled, or verify-only: it only verifies and decrypts. */
            state: components["schemas"]["KeyState"];
            /** Format: date-time */
            created: string;
            /**
             * Format: date-time
             * @description Time from which the key only verifies and decrypts.
             */
            expires: string | null;
            /**
             * Format: date-time
             * @description Time at which the key is deleted.
             */
            deletes: string | null;
            /**
             * Format: date-time
             * @description Time of its last use, accurate to five minutes; null if unknown.
             */
            last_used: string | null;
            /** @description Seconds after which the service rotates the key, again and again. */
            rotate_every?: number;
            /**
             * Format: date-time
             * @description Time of its next scheduled rotation; absent if there is none.
             */
            rotates?: string;
            /** @description Its certificate and the chain above it, in DER as base64; absent if it has none. */
            certificates?: string[];
            /** @description SHA-256 thumbprint of its certificate (RFC 7515); absent if it has none. */
            "x5t#S256"?: string;
            /** @description Its rules; absent if it has none. */
            rules?: components["schemas"]["KeyRules"];
            /** @description Public key as COSE_Key (RFC 9052). Base64url: taken padded or not, given padded. */
            cose_key: Bytes | null;
            /** @description Its predecessors, which rotations replaced, newest first; absent if there are none. */
            predecessors?: string[];
        };
        /** @enum {string} */
        KidHeader: "alias" | "kid" | "none";
        Labels: {
            [key: string]: string;
        };
        /** @description The settings of a profile, and whether its JWK Set is public. */
        ListedSettings: {
            /** @description Largest number of keys. Null for no bound. */
            max_keys?: number | null;
            /** @description Shortest delay of a deletion, in seconds. Null for no bound. */
            min_deletion_delay?: number | null;
            /** @description Largest rate of calls. Null for no bound. */
            calls_per_second?: number | null;
            /** @description Whether callers need the scope keys:delete to delete keys. */
            delete_scope?: boolean;
            /** @description Whether the JWK Set is readable without a token. */
            jwks: components["schemas"]["JwksAccess"];
        };
        /** @description Bytes to authenticate. */
        MacRequest: components["schemas"]["MacRequestWithKid"] | components["schemas"]["MacRequestWithAlias"];
        /** @description Bytes to authenticate. */
        MacRequestWithAlias: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description The message. Base64url: taken padded or not, given padded. */
            data: Bytes;
        };
        /** @description Bytes to authenticate. */
        MacRequestWithKid: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description The message. Base64url: taken padded or not, given padded. */
            data: Bytes;
        };
        /** @description A box to open. */
        OpenBoxRequest: components["schemas"]["OpenBoxRequestWithKid"] | components["schemas"]["OpenBoxRequestWithAlias"];
        /** @description A box to open. */
        OpenBoxRequestWithAlias: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description The sender's public JWK: X25519, or Ed25519, which is converted. */
            from: components["schemas"]["Jwk"];
            /** @description The tag, then the ciphertext. Base64url: taken padded or not, given padded. */
            ciphertext: Bytes;
            /** @description The nonce. Base64url: taken padded or not, given padded. */
            nonce: Bytes;
        };
        /** @description A box to open. */
        OpenBoxRequestWithKid: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description The sender's public JWK: X25519, or Ed25519, which is converted. */
            from: components["schemas"]["Jwk"];
            /** @description The tag, then the ciphertext. Base64url: taken padded or not, given padded. */
            ciphertext: Bytes;
            /** @description The nonce. Base64url: taken padded or not, given padded. */
            nonce: Bytes;
        };
        /** @description A message to decrypt, with the options that it was encrypted with. */
        OpenHpkeRequest: components["schemas"]["OpenHpkeRequestWithKid"] | components["schemas"]["OpenHpkeRequestWithAlias"];
        /** @description A message to decrypt, with the options that it was encrypted with. */
        OpenHpkeRequestWithAlias: {
            /** @description Context that both sides know and the message is bound to. Base64url: taken padded or not, given padded. */
            info?: Bytes;
            /** @description Data that both sides know and the message authenticates. Base64url: taken padded or not, given padded. */
            aad?: Bytes;
            /** @description Key derivation function; HKDF-SHA256 by default. */
            kdf?: components["schemas"]["HpkeKdf"];
            /** @description Cipher; AES-128-GCM by default. */
            aead?: components["schemas"]["HpkeAead"];
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description The encapsulated key. Base64url: taken padded or not, given padded. */
            enc: Bytes;
            /** @description The ciphertext, then its tag. Base64url: taken padded or not, given padded. */
            ciphertext: Bytes;
        };
        /** @description A message to decrypt, with the options that it was encrypted with. */
        OpenHpkeRequestWithKid: {
            /** @description Context that both sides know and the message is bound to. Base64url: taken padded or not, given padded. */
            info?: Bytes;
            /** @description Data that both sides know and the message authenticates. Base64url: taken padded or not, given padded. */
            aad?: Bytes;
            /** @description Key derivation function; HKDF-SHA256 by default. */
            kdf?: components["schemas"]["HpkeKdf"];
            /** @description Cipher; AES-128-GCM by default. */
            aead?: components["schemas"]["HpkeAead"];
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description The encapsulated key. Base64url: taken padded or not, given padded. */
            enc: Bytes;
            /** @description The ciphertext, then its tag. Base64url: taken padded or not, given padded. */
            ciphertext: Bytes;
        };
        /** @description A sealed box to open. */
        OpenSealedBoxRequest: components["schemas"]["OpenSealedBoxRequestWithKid"] | components["schemas"]["OpenSealedBoxRequestWithAlias"];
        /** @description A sealed box to open. */
        OpenSealedBoxRequestWithAlias: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description The sealed box. Base64url: taken padded or not, given padded. */
            ciphertext: Bytes;
        };
        /** @description A sealed box to open. */
        OpenSealedBoxRequestWithKid: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description The sealed box. Base64url: taken padded or not, given padded. */
            ciphertext: Bytes;
        };
        /** @description The caller's own token, or JWT. */
        OwnToken: {
            /** @description Id of the token; null for a JWT, the operator's token, and if callers need no token. */
            id: string | null;
            /** @description Name of the caller in the audit log; null if callers need no token. */
            name: string | null;
            scopes: components["schemas"]["Scope"][];
            /** @description Profiles of the token; null for all. */
            profiles: string[] | null;
            /**
             * Format: date-time
             * @description Expiry; null for never.
             */
            expires: string | null;
        };
        /** @description A packed message. */
        PackAnswer: {
            packed: components["schemas"]["PackedMessage"];
        };
        /** @description A message to pack; the sender, or else the first recipient, is loaded into `by`. */
        PackRequest: {
            to: string[];
            /** @description Kid or alias of the sender's key; the sender is anonymous without it. */
            from?: string;
            /** @description The message. Base64url: taken padded or not, given padded. */
            message: Bytes;
        };
        /** @description An encrypted message, as agents exchange it. */
        PackedMessage: {
            /** @description The header in base64url, with alg and the recipients. */
            protected: string;
            /** @description The nonce. Base64url: taken padded or not, given unpadded. */
            iv: string;
            /** @description The ciphertext. Base64url: taken padded or not, given unpadded. */
            ciphertext: string;
            /** @description The authentication tag. Base64url: taken padded or not, given unpadded. */
            tag: string;
        };
        /** @description A private key. */
        PrivateJwk: {
            /** @description The private JWK (RFC 7517). */
            jwk: components["schemas"]["Jwk"];
        };
        /** @description A failure (RFC 9457). */
        Problem: {
            /** @description The kind of failure. */
            type: components["schemas"]["ProblemType"];
            title: string;
            status: number;
            detail: string;
            errors?: components["schemas"]["ProblemDetail"][];
            /**
             * @description `unknown` if the change may have been applied; absent if nothing was changed.
             * @enum {string}
             */
            outcome?: "unknown";
        };
        /** @description A fault at one place of the request. */
        ProblemDetail: {
            /** @description JSON pointer to the field or parameter. */
            pointer: string;
            detail: string;
        };
        /** @enum {string} */
        ProblemType: "urn:minikms:problem:malformed-json" | "urn:minikms:problem:bad-request" | "urn:minikms:problem:profile-exists" | "urn:minikms:problem:unauthenticated" | "urn:minikms:problem:forbidden" | "urn:minikms:problem:route-not-found" | "urn:minikms:problem:key-not-found" | "urn:minikms:problem:alias-not-found" | "urn:minikms:problem:profile-not-found" | "urn:minikms:problem:token-not-found" | "urn:minikms:problem:method-not-allowed" | "urn:minikms:problem:request-timeout" | "urn:minikms:problem:key-exists" | "urn:minikms:problem:alias-exists" | "urn:minikms:problem:key-not-usable" | "urn:minikms:problem:not-exportable" | "urn:minikms:problem:rule-violated" | "urn:minikms:problem:rules-loosened" | "urn:minikms:problem:profile-protected" | "urn:minikms:problem:body-too-large" | "urn:minikms:problem:unsupported-media-type" | "urn:minikms:problem:misdirected-request" | "urn:minikms:problem:validation-failed" | "urn:minikms:problem:too-many-keys" | "urn:minikms:problem:too-many-tokens" | "urn:minikms:problem:too-many-aliases" | "urn:minikms:problem:too-large-record" | "urn:minikms:problem:unsupported-algorithm" | "urn:minikms:problem:unsupported-operation" | "urn:minikms:problem:unsupported-option" | "urn:minikms:problem:invalid-key" | "urn:minikms:problem:invalid-certificate" | "urn:minikms:problem:not-attestable" | "urn:minikms:problem:invalid-cose" | "urn:minikms:problem:decryption-failed" | "urn:minikms:problem:too-many-attempts" | "urn:minikms:problem:over-rate" | "urn:minikms:problem:headers-too-large" | "urn:minikms:problem:too-busy" | "urn:minikms:problem:store-unavailable" | "urn:minikms:problem:provider-unavailable" | "urn:minikms:problem:shutting-down" | "urn:minikms:problem:audit-unavailable" | "urn:minikms:problem:key-unreadable" | "urn:minikms:problem:internal-error";
        /** @description A profile, with its settings, and whether its JWK Set is public. */
        Profile: {
            /** @description Largest number of keys. Null for no bound. */
            max_keys?: number | null;
            /** @description Shortest delay of a deletion, in seconds. Null for no bound. */
            min_deletion_delay?: number | null;
            /** @description Largest rate of calls. Null for no bound. */
            calls_per_second?: number | null;
            /** @description Whether callers need the scope keys:delete to delete keys. */
            delete_scope?: boolean;
            /** @description Name of the profile. */
            name: string;
            /** @description Whether the JWK Set is readable without a token. */
            jwks: components["schemas"]["JwksAccess"];
        };
        /** @description A created profile. */
        ProfileCreated: {
            /** @description Name of the profile. */
            name: string;
            success: boolean;
        };
        /** @description The result of a deletion: whether the profile existed. */
        ProfileDeleted: {
            success: boolean;
        };
        /** @description Names of profiles, and the settings of profiles that have some or a public JWK Set. */
        ProfileNames: {
            profiles: string[];
            /** @description Settings by profile name, of profiles that have some or a public JWK Set. */
            settings: {
                [key: string]: components["schemas"]["ListedSettings"];
            };
        };
        /** @description Random bytes. */
        RandomBytes: {
            /** @description The bytes. Base64url: taken padded or not, given padded. */
            bytes: Bytes;
        };
        /** @description Random bytes to make. */
        RandomRequest: {
            /** @description Number of bytes. */
            length: number;
        };
        /** @description A revoked certificate. */
        RevokedCertificate: {
            /** @description Serial number, hexadecimal. */
            serial: string;
            /**
             * Format: date-time
             * @description Time of the revocation.
             */
            date: string;
        };
        /** @enum {string} */
        RuleOfDisclosures: "any" | "shown" | "none";
        /** @enum {string} */
        Scope: "keys:read" | "keys:write" | "keys:export" | "keys:delete" | "sign" | "verify" | "encrypt" | "decrypt" | "wrap" | "derive" | "mac" | "random" | "profiles" | "audit" | "admin";
        /** @description Bytes to encrypt to a recipient, without a sender. */
        SealBoxRequest: {
            /** @description The recipient's public JWK: X25519, or Ed25519, which is converted. */
            to: components["schemas"]["Jwk"];
            /** @description The plaintext. Base64url: taken padded or not, given padded. */
            plaintext: Bytes;
        };
        /** @description Bytes to encrypt to a recipient. */
        SealHpkeRequest: {
            /** @description Context that both sides know and the message is bound to. Base64url: taken padded or not, given padded. */
            info?: Bytes;
            /** @description Data that both sides know and the message authenticates. Base64url: taken padded or not, given padded. */
            aad?: Bytes;
            /** @description Key derivation function; HKDF-SHA256 by default. */
            kdf?: components["schemas"]["HpkeKdf"];
            /** @description Cipher; AES-128-GCM by default. */
            aead?: components["schemas"]["HpkeAead"];
            /** @description The recipient's public JWK. */
            to: components["schemas"]["Jwk"];
            /** @description The plaintext. Base64url: taken padded or not, given padded. */
            plaintext: Bytes;
        };
        /** @description A sealed box. */
        SealedBox: {
            /** @description The public key of this box (32 bytes), the tag (16 bytes), then the ciphertext. Base64url: taken padded or not, given padded. */
            ciphertext: Bytes;
        };
        /** @description The certificates of a key. */
        SetCertificates: {
            /** @description X.509 certificates in PEM, the key's own first, each signed by the next. */
            certificates: string[];
        };
        /** @description The raw ECDH secret; derive a key from it by a key derivation function. */
        SharedSecret: {
            /** @description The shared secret. Base64url: taken padded or not, given padded. */
            secret: Bytes;
        };
        /** @description A payload to sign as COSE_Sign1. */
        SignCoseRequest: components["schemas"]["SignCoseRequestWithKid"] | components["schemas"]["SignCoseRequestWithAlias"];
        /** @description A payload to sign as COSE_Sign1. */
        SignCoseRequestWithAlias: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description The payload. Base64url: taken padded or not, given padded. */
            payload: Bytes;
            /** @description JOSE name of the signature; the key's first one by default. */
            alg?: components["schemas"]["JoseName"] | null;
            /** @description Omit the payload from the message; false by default. */
            detached?: boolean;
            /** @description Data that is signed, and not in the message; empty by default. Base64url: taken padded or not, given padded. */
            external_aad?: Bytes;
            /** @description The content type of the payload (3). */
            content_type?: (string | number) | null;
            /** @description The type of the message (16, RFC 9596). */
            typ?: (string | number) | null;
            /** @description More protected header parameters, as a CBOR map. Base64url: taken padded or not, given padded. */
            protected?: Bytes | null;
            /** @description More unprotected header parameters, as a CBOR map. Base64url: taken padded or not, given padded. */
            unprotected?: Bytes | null;
            /** @description The kid (4) in the unprotected header: the key's own (the default), the alias that names the key, or none. */
            kid_header?: components["schemas"]["CoseKidHeader"];
            /** @description The key's certificate in the header: none (the default), its chain without a self-signed root (x5chain, 33), its thumbprint (x5t, 34), or a list of both. Each is in the unprotected header, or with -protected behind its name in the protected one. */
            certificate_header?: components["schemas"]["CoseCertificateHeader"] | components["schemas"]["CoseCertificateHeaderName"][];
            /** @description Tag the message (18; COSE_Mac0: 17); true by default. */
            tagged?: boolean;
        };
        /** @description A payload to sign as COSE_Sign1. */
        SignCoseRequestWithKid: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description The payload. Base64url: taken padded or not, given padded. */
            payload: Bytes;
            /** @description JOSE name of the signature; the key's first one by default. */
            alg?: components["schemas"]["JoseName"] | null;
            /** @description Omit the payload from the message; false by default. */
            detached?: boolean;
            /** @description Data that is signed, and not in the message; empty by default. Base64url: taken padded or not, given padded. */
            external_aad?: Bytes;
            /** @description The content type of the payload (3). */
            content_type?: (string | number) | null;
            /** @description The type of the message (16, RFC 9596). */
            typ?: (string | number) | null;
            /** @description More protected header parameters, as a CBOR map. Base64url: taken padded or not, given padded. */
            protected?: Bytes | null;
            /** @description More unprotected header parameters, as a CBOR map. Base64url: taken padded or not, given padded. */
            unprotected?: Bytes | null;
            /** @description The kid (4) in the unprotected header: the key's own (the default), the alias that names the key, or none. */
            kid_header?: components["schemas"]["CoseKidHeader"];
            /** @description The key's certificate in the header: none (the default), its chain without a self-signed root (x5chain, 33), its thumbprint (x5t, 34), or a list of both. Each is in the unprotected header, or with -protected behind its name in the protected one. */
            certificate_header?: components["schemas"]["CoseCertificateHeader"] | components["schemas"]["CoseCertificateHeaderName"][];
            /** @description Tag the message (18; COSE_Mac0: 17); true by default. */
            tagged?: boolean;
        };
        /** @description A payload to sign as JWS. */
        SignJwsRequest: components["schemas"]["SignJwsRequestWithKid"] | components["schemas"]["SignJwsRequestWithAlias"];
        /** @description A payload to sign as JWS. */
        SignJwsRequestWithAlias: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description The payload. Base64url: taken padded or not, given padded. */
            payload: Bytes;
            /** @description More members of the header, except alg, kid, b64 and crit. */
            header?: {
                [key: string]: unknown;
            };
            /** @description JOSE name of the signature; the key's first one by default. */
            alg?: components["schemas"]["JoseName"] | null;
            /** @description Omit the payload from the JWS, and sign it unencoded (RFC 7797); false by default. */
            detached?: boolean;
            /** @description The kid in the header, if an alias names the key: the alias (the default), the key's own kid, which a rotation does not move to another key, or none, even if the call names the key by its kid. */
            kid_header?: components["schemas"]["KidHeader"];
            /** @description The key's certificate in the header: none (the default), its chain without a self-signed root (x5c), its thumbprint (x5t#S256), or a list of both. */
            certificate_header?: components["schemas"]["CertificateHeader"] | components["schemas"]["CertificateHeaderName"][];
            /** @description Serialization (RFC 7515 section 7); compact by default. */
            serialization?: components["schemas"]["JwsSerialization"];
            /** @description Disclosures of an SD-JWT (RFC 9901), for a key whose rules require them. */
            disclosures?: string[];
        };
        /** @description A payload to sign as JWS. */
        SignJwsRequestWithKid: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description The payload. Base64url: taken padded or not, given padded. */
            payload: Bytes;
            /** @description More members of the header, except alg, kid, b64 and crit. */
            header?: {
                [key: string]: unknown;
            };
            /** @description JOSE name of the signature; the key's first one by default. */
            alg?: components["schemas"]["JoseName"] | null;
            /** @description Omit the payload from the JWS, and sign it unencoded (RFC 7797); false by default. */
            detached?: boolean;
            /** @description The kid in the header, if an alias names the key: the alias (the default), the key's own kid, which a rotation does not move to another key, or none, even if the call names the key by its kid. */
            kid_header?: components["schemas"]["KidHeader"];
            /** @description The key's certificate in the header: none (the default), its chain without a self-signed root (x5c), its thumbprint (x5t#S256), or a list of both. */
            certificate_header?: components["schemas"]["CertificateHeader"] | components["schemas"]["CertificateHeaderName"][];
            /** @description Serialization (RFC 7515 section 7); compact by default. */
            serialization?: components["schemas"]["JwsSerialization"];
            /** @description Disclosures of an SD-JWT (RFC 9901), for a key whose rules require them. */
            disclosures?: string[];
        };
        /** @description Bytes to sign. */
        SignRequest: components["schemas"]["SignRequestWithKid"] | components["schemas"]["SignRequestWithAlias"];
        /** @description Bytes to sign. */
        SignRequestWithAlias: {
            /** @description JOSE name of the signature; the key's first one by default. */
            alg?: components["schemas"]["JoseName"];
            /** @description Form of an ECDSA signature: r‖s (raw) or DER. */
            encoding?: components["schemas"]["SignatureEncoding"];
            /** @description Whether data is the digest of the message. */
            prehashed?: boolean;
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description The message, or its digest. Base64url: taken padded or not, given padded. */
            data: Bytes;
        };
        /** @description Bytes to sign. */
        SignRequestWithKid: {
            /** @description JOSE name of the signature; the key's first one by default. */
            alg?: components["schemas"]["JoseName"];
            /** @description Form of an ECDSA signature: r‖s (raw) or DER. */
            encoding?: components["schemas"]["SignatureEncoding"];
            /** @description Whether data is the digest of the message. */
            prehashed?: boolean;
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description The message, or its digest. Base64url: taken padded or not, given padded. */
            data: Bytes;
        };
        /** @description A signature, or the problem of its message. */
        SignResult: {
            /** @description The signature. Base64url: taken padded or not, given padded. */
            sig?: Bytes;
            problem?: components["schemas"]["Problem"];
        };
        /** @description The bytes to sign of a COSE_Sign1, as a library has made them. */
        SignSigStructureRequest: components["schemas"]["SignSigStructureRequestWithKid"] | components["schemas"]["SignSigStructureRequestWithAlias"];
        /** @description The bytes to sign of a COSE_Sign1, as a library has made them. */
        SignSigStructureRequestWithAlias: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description The Sig_structure (RFC 9052 section 4.4); of a MAC key, the MAC_structure (section 6.3). Base64url: taken padded or not, given padded. */
            sig_structure: Bytes;
        };
        /** @description The bytes to sign of a COSE_Sign1, as a library has made them. */
        SignSigStructureRequestWithKid: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description The Sig_structure (RFC 9052 section 4.4); of a MAC key, the MAC_structure (section 6.3). Base64url: taken padded or not, given padded. */
            sig_structure: Bytes;
        };
        /** @description The header and the payload of a JWS, as a library has made them, to sign as they are. */
        SignSigningInputRequest: components["schemas"]["SignSigningInputRequestWithKid"] | components["schemas"]["SignSigningInputRequestWithAlias"];
        /** @description The header and the payload of a JWS, as a library has made them, to sign as they are. */
        SignSigningInputRequestWithAlias: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description The JWS Signing Input (RFC 7515 section 5.1): header and payload, encoded, with a dot. */
            signing_input: string;
            /** @description Disclosures of an SD-JWT (RFC 9901), for a key whose rules require them. */
            disclosures?: string[];
        };
        /** @description The header and the payload of a JWS, as a library has made them, to sign as they are. */
        SignSigningInputRequestWithKid: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description The JWS Signing Input (RFC 7515 section 5.1): header and payload, encoded, with a dot. */
            signing_input: string;
            /** @description Disclosures of an SD-JWT (RFC 9901), for a key whose rules require them. */
            disclosures?: string[];
        };
        /** @description A signature, with its key and its JOSE name. */
        Signature: {
            /** @description The signature. Base64url: taken padded or not, given padded. */
            sig: Bytes;
            /** @description JOSE name of the signature; null if it has none. */
            alg: string | null;
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
        };
        /** @enum {string} */
        SignatureEncoding: "raw" | "der";
        /** @description A revocation list that a call made. */
        SignedCrl: {
            /** @description Number of the list. */
            number: number;
            /** @description Number of its entries. */
            count: number;
        };
        /** @description A revocation list. */
        SignedRevocationList: {
            /** @description The list in PEM (RFC 5280 section 5). */
            crl: string;
        };
        /** @description A token, without its secret. */
        Token: {
            /** @description Id of the token. */
            id: string;
            name: string;
            /** @description Calls that the token permits. */
            scopes: components["schemas"]["Scope"][];
            /** @description Profiles of the token; by default all profiles of the caller. */
            profiles: string[] | null;
            /** Format: date-time */
            created: string;
            /** Format: date-time */
            expires: string | null;
            /**
             * Format: date-time
             * @description Time of its last use, accurate to five minutes; null if unknown.
             */
            last_used: string | null;
        };
        /** @description A new token; only this answer contains its secret. */
        TokenCreated: {
            /** @description The token that its holder sends. */
            token: string;
            record: components["schemas"]["Token"];
        };
        /** @description A revoked token. */
        TokenRevoked: {
            /** @enum {string} */
            message: "Token revoked";
            id: string;
        };
        /** @description A message, with its sender and its recipient. */
        UnpackAnswer: {
            /** @description The message. Base64url: taken padded or not, given padded. */
            message: Bytes;
            /** @description Verkey of the recipient, in base58. */
            to: string;
            /** @description Verkey of the sender; null if the sender is anonymous. */
            from: string | null;
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
        };
        /** @description A packed message to unpack; its recipients are loaded into `by`. */
        UnpackRequest: {
            packed: components["schemas"]["PackedMessage"];
        };
        /** @description A wrapped key to unwrap. */
        UnwrapRequest: components["schemas"]["UnwrapRequestWithKid"] | components["schemas"]["UnwrapRequestWithAlias"];
        /** @description A wrapped key to unwrap. */
        UnwrapRequestWithAlias: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description The wrapped secret bytes. Base64url: taken padded or not, given padded. */
            wrapped: Bytes;
        };
        /** @description A wrapped key to unwrap. */
        UnwrapRequestWithKid: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description The wrapped secret bytes. Base64url: taken padded or not, given padded. */
            wrapped: Bytes;
        };
        /** @description An unwrapped key. */
        UnwrappedKey: {
            /** @description The secret bytes. Base64url: taken padded or not, given padded. */
            key: Bytes;
        };
        /** @description Changes of a key; omitted members stay unchanged. */
        UpdateKey: {
            /** @description enabled, disabled, or verify-only: it only verifies and decrypts. */
            state?: components["schemas"]["KeyState"];
            /**
             * Format: date-time
             * @description Time from which the key only verifies and decrypts; null for never.
             */
            expires?: string | null;
            /** @description Labels: names to values. */
            labels?: components["schemas"]["Labels"];
            /** @description The signatures that the key may make, and how often it may be used; by default all. A name stands for the rules of a kind of key. */
            rules?: components["schemas"]["KeyRules"] | ("sd-jwt-vc" | "openid4vci-proof" | "status-list" | "federation");
            /** @description Seconds after which the service rotates the key, again and again. */
            rotate_every?: number | null;
        };
        /** @description The result of a verification. */
        Verification: {
            valid: boolean;
        };
        /** @description A COSE message to verify. */
        VerifyCoseRequest: components["schemas"]["VerifyCoseRequestWithKid"] | components["schemas"]["VerifyCoseRequestWithAlias"] | components["schemas"]["VerifyCoseRequestWithJwk"];
        /** @description A COSE message to verify. */
        VerifyCoseRequestWithAlias: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description The COSE_Sign1; for a MAC key the COSE_Mac0. Base64url: taken padded or not, given padded. */
            cose: Bytes;
            /** @description The payload of a detached message. Base64url: taken padded or not, given padded. */
            payload?: Bytes | null;
            /** @description Data that is signed, and not in the message; empty by default. Base64url: taken padded or not, given padded. */
            external_aad?: Bytes;
        };
        /** @description A COSE message to verify. */
        VerifyCoseRequestWithJwk: {
            /** @description A public JWK (RFC 7517). */
            jwk: components["schemas"]["Jwk"];
            /** @description The COSE_Sign1; for a MAC key the COSE_Mac0. Base64url: taken padded or not, given padded. */
            cose: Bytes;
            /** @description The payload of a detached message. Base64url: taken padded or not, given padded. */
            payload?: Bytes | null;
            /** @description Data that is signed, and not in the message; empty by default. Base64url: taken padded or not, given padded. */
            external_aad?: Bytes;
        };
        /** @description A COSE message to verify. */
        VerifyCoseRequestWithKid: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description The COSE_Sign1; for a MAC key the COSE_Mac0. Base64url: taken padded or not, given padded. */
            cose: Bytes;
            /** @description The payload of a detached message. Base64url: taken padded or not, given padded. */
            payload?: Bytes | null;
            /** @description Data that is signed, and not in the message; empty by default. Base64url: taken padded or not, given padded. */
            external_aad?: Bytes;
        };
        /** @description A JWS to verify. */
        VerifyJwsRequest: components["schemas"]["VerifyJwsRequestWithKid"] | components["schemas"]["VerifyJwsRequestWithAlias"] | components["schemas"]["VerifyJwsRequestWithJwk"];
        /** @description A JWS to verify. */
        VerifyJwsRequestWithAlias: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description The JWS, in any serialization (RFC 7515). */
            jws: string | {
                [key: string]: unknown;
            };
            /** @description The payload of a detached JWS. Base64url: taken padded or not, given padded. */
            payload?: Bytes | null;
        };
        /** @description A JWS to verify. */
        VerifyJwsRequestWithJwk: {
            /** @description A public JWK (RFC 7517). */
            jwk: components["schemas"]["Jwk"];
            /** @description The JWS, in any serialization (RFC 7515). */
            jws: string | {
                [key: string]: unknown;
            };
            /** @description The payload of a detached JWS. Base64url: taken padded or not, given padded. */
            payload?: Bytes | null;
        };
        /** @description A JWS to verify. */
        VerifyJwsRequestWithKid: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description The JWS, in any serialization (RFC 7515). */
            jws: string | {
                [key: string]: unknown;
            };
            /** @description The payload of a detached JWS. Base64url: taken padded or not, given padded. */
            payload?: Bytes | null;
        };
        /** @description Bytes and an authentication code to verify. */
        VerifyMacRequest: components["schemas"]["VerifyMacRequestWithKid"] | components["schemas"]["VerifyMacRequestWithAlias"];
        /** @description Bytes and an authentication code to verify. */
        VerifyMacRequestWithAlias: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description The message. Base64url: taken padded or not, given padded. */
            data: Bytes;
            /** @description The authentication code. Base64url: taken padded or not, given padded. */
            mac: Bytes;
        };
        /** @description Bytes and an authentication code to verify. */
        VerifyMacRequestWithKid: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description The message. Base64url: taken padded or not, given padded. */
            data: Bytes;
            /** @description The authentication code. Base64url: taken padded or not, given padded. */
            mac: Bytes;
        };
        /** @description Bytes and a signature to verify. */
        VerifyRequest: components["schemas"]["VerifyRequestWithKid"] | components["schemas"]["VerifyRequestWithAlias"] | components["schemas"]["VerifyRequestWithJwk"];
        /** @description Bytes and a signature to verify. */
        VerifyRequestWithAlias: {
            /** @description JOSE name of the signature; the key's first one by default. */
            alg?: components["schemas"]["JoseName"];
            /** @description Form of an ECDSA signature: r‖s (raw) or DER. */
            encoding?: components["schemas"]["SignatureEncoding"];
            /** @description Whether data is the digest of the message. */
            prehashed?: boolean;
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description The message, or its digest. Base64url: taken padded or not, given padded. */
            data: Bytes;
            /** @description The signature. Base64url: taken padded or not, given padded. */
            sig: Bytes;
        };
        /** @description Bytes and a signature to verify. */
        VerifyRequestWithJwk: {
            /** @description JOSE name of the signature; the key's first one by default. */
            alg?: components["schemas"]["JoseName"];
            /** @description Form of an ECDSA signature: r‖s (raw) or DER. */
            encoding?: components["schemas"]["SignatureEncoding"];
            /** @description Whether data is the digest of the message. */
            prehashed?: boolean;
            /** @description A public JWK (RFC 7517). */
            jwk: components["schemas"]["Jwk"];
            /** @description The message, or its digest. Base64url: taken padded or not, given padded. */
            data: Bytes;
            /** @description The signature. Base64url: taken padded or not, given padded. */
            sig: Bytes;
        };
        /** @description Bytes and a signature to verify. */
        VerifyRequestWithKid: {
            /** @description JOSE name of the signature; the key's first one by default. */
            alg?: components["schemas"]["JoseName"];
            /** @description Form of an ECDSA signature: r‖s (raw) or DER. */
            encoding?: components["schemas"]["SignatureEncoding"];
            /** @description Whether data is the digest of the message. */
            prehashed?: boolean;
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description The message, or its digest. Base64url: taken padded or not, given padded. */
            data: Bytes;
            /** @description The signature. Base64url: taken padded or not, given padded. */
            sig: Bytes;
        };
        /** @description The result of a verification, or the problem of its message. */
        VerifyResult: {
            valid?: boolean;
            problem?: components["schemas"]["Problem"];
        };
        /** @description A key to wrap. */
        WrapRequest: components["schemas"]["WrapRequestWithKid"] | components["schemas"]["WrapRequestWithAlias"];
        /** @description A key to wrap. */
        WrapRequestWithAlias: {
            /** @description Another name of a key, such as a DID URL. */
            alias: string;
            /** @description The secret bytes; at least 16. Base64url: taken padded or not, given padded. */
            key: Bytes;
        };
        /** @description A key to wrap. */
        WrapRequestWithKid: {
            /** @description Key id: the thumbprint of the public JWK (RFC 7638). */
            kid: string;
            /** @description The secret bytes; at least 16. Base64url: taken padded or not, given padded. */
            key: Bytes;
        };
        /** @description A wrapped key. */
        WrappedKey: {
            /** @description The wrapped secret bytes. Base64url: taken padded or not, given padded. */
            wrapped: Bytes;
        };
    };
    responses: never;
    parameters: {
        /** @description The profile; "default" if omitted. */
        Profile: string;
        /**
         * @description The alias.
         * @example did:example:123#key-1
         */
        Alias: string;
        /** @description Largest number of keys; 100 by default. */
        Limit: number;
        /** @description The cursor from the Link header of the previous page. */
        After: string;
        /** @description Only keys of this algorithm. */
        AlgFilter: components["schemas"]["AlgorithmName"];
        /** @description Only the key with this alias. */
        AliasFilter: string;
        /** @description Only keys with this label; if repeated, with all of the labels. */
        LabelFilter: string[];
        /** @description Only keys that were not used for this time, up to 365 days. */
        UnusedFilter: string;
        /**
         * @description The key.
         * @example kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k
         */
        Kid: string;
        /**
         * @description The alias.
         * @example did:example:123#assertion
         */
        BoundAlias: string;
        /**
         * @description The key.
         * @example FVV5umTuau890q59V-4Ga_R6qWb7ON_ivJc4EjvCwTM
         */
        CertifiedKid: string;
        /** @description Delay of the deletion, up to 365 days; by default the key is deleted now. */
        DeleteAfter: string;
        /**
         * @description The alias.
         * @example did:example:123#old
         */
        DeletedAlias: string;
        /** @description The profile; by default the profile in the header. */
        ProfileQuery: string;
        /** @description Only keys of this JWK type; if repeated, of any of the types. */
        KtyFilter: string[];
        /** @description Only keys for this JOSE algorithm; if repeated, for any of the algorithms. */
        JoseFilter: string[];
        /** @description Only keys for signatures (sig), or for encryption (enc). */
        UseFilter: string[];
        /** @description The ETag of the caller's cached set, or several ETags. */
        IfNoneMatch: string;
        /**
         * @description The profile.
         * @example alice
         */
        ProfileName: string;
        /** @description Largest number of tokens; 100 by default. */
        TokensLimit: number;
        /** @description The cursor from the Link header of the previous page. */
        TokensAfter: string;
        /**
         * @description The token's id.
         * @example 8c1f0a5d92b3e467
         */
        Token: string;
        /** @description Only events of this key. */
        AuditKid: string;
        /** @description Only events of keys that this alias names or has named in one profile: the one in `profile`, or in the header X-Profile. Also needs the scope `keys:read`. */
        AuditAlias: string;
        /** @description Only events of callers with this name. */
        AuditWho: string;
        /** @description Only events of this operation, such as sign or aws:Sign. */
        AuditOperation: string;
        /** @description Only events with this outcome: ok, failed, or the slug of a problem. */
        AuditOutcome: string;
        /** @description Only events of this profile; by default of all profiles of the caller. */
        AuditProfile: string;
        /** @description Only events from this time on. */
        AuditSince: string;
        /** @description Only events before this time. */
        AuditUntil: string;
        /** @description Largest number of events; 100 by default. */
        AuditLimit: number;
        /** @description The cursor from the Link header of the previous page. */
        AuditAfter: string;
    };
    requestBodies: never;
    headers: {
        /** @description `no-store`: the answer contains a secret. */
        NoStore: string;
        /** @description The id of the request, also in the log. */
        RequestId: string;
        /** @description With 429 and 503: seconds to wait (RFC 9110 section 10.2.3). */
        RetryAfter: number;
    };
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    generateKey: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["GenerateKey"];
            };
        };
        responses: {
            /** @description The new key. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "kid": "8wfbAOzXUmykRaMEAgOby_8pcWIk886iovbM3BCTJiI",
                     *       "alg": "ed25519",
                     *       "kty": "OKP",
                     *       "jwk": {
                     *         "kty": "OKP",
                     *         "crv": "Ed25519",
                     *         "x": "e1Hpwnq3A6i-YE4NWMG8TpI4urNB3xO0jNWtjHvIVPA"
                     *       },
                     *       "b58": "9JPbHpVVRp3Reyi6x2XeDb6szsPiELDPwwmHzK4nYitP",
                     *       "multikey": "z6Mknkedt4jvmMXtmUYodbVV4gespSfZeDTkdxgDpb2oTwfm",
                     *       "did": "did:key:z6Mknkedt4jvmMXtmUYodbVV4gespSfZeDTkdxgDpb2oTwfm",
                     *       "aliases": [
                     *         "did:example:123#key-1"
                     *       ],
                     *       "labels": {},
                     *       "operations": [
                     *         "sign",
                     *         "verify"
                     *       ],
                     *       "exportable": false,
                     *       "state": "enabled",
                     *       "created": "2026-01-31T12:00:00.000Z",
                     *       "expires": null,
                     *       "deletes": null,
                     *       "last_used": null
                     *     }
                     */
                    "application/json": components["schemas"]["Key"];
                };
            };
            /** @description `key-exists`: The key already exists; `alias-exists`: The alias names another key. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `too-many-keys`: The profile has too many keys; `too-large-record`: The key's record is too large; `unsupported-algorithm`: The algorithm is not known; `unsupported-operation`: The key cannot do this; `unsupported-option`: The option does not apply to this key. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 404 `profile-not-found`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `provider-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    generateKeys: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["GenerateKeys"];
            };
        };
        responses: {
            /** @description The new keys, in order of creation. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "keys": [
                     *         {
                     *           "kid": "8wfbAOzXUmykRaMEAgOby_8pcWIk886iovbM3BCTJiI",
                     *           "alg": "ed25519",
                     *           "kty": "OKP",
                     *           "jwk": {
                     *             "kty": "OKP",
                     *             "crv": "Ed25519",
                     *             "x": "e1Hpwnq3A6i-YE4NWMG8TpI4urNB3xO0jNWtjHvIVPA"
                     *           },
                     *           "b58": "9JPbHpVVRp3Reyi6x2XeDb6szsPiELDPwwmHzK4nYitP",
                     *           "multikey": "z6Mknkedt4jvmMXtmUYodbVV4gespSfZeDTkdxgDpb2oTwfm",
                     *           "did": "did:key:z6Mknkedt4jvmMXtmUYodbVV4gespSfZeDTkdxgDpb2oTwfm",
                     *           "aliases": [],
                     *           "labels": {},
                     *           "operations": [
                     *             "sign",
                     *             "verify"
                     *           ],
                     *           "exportable": false,
                     *           "state": "enabled",
                     *           "created": "2026-01-31T12:00:00.000Z",
                     *           "expires": null,
                     *           "deletes": null,
                     *           "last_used": null
                     *         },
                     *         {
                     *           "kid": "pzXU5PF3RDvDpbrMMRQOxNFaEg3RO9kGlQEi2L69VH4",
                     *           "alg": "ed25519",
                     *           "kty": "OKP",
                     *           "jwk": {
                     *             "kty": "OKP",
                     *             "crv": "Ed25519",
                     *             "x": "MViOgzmqyU4y1Pf58Zu7Vc9Yy6G6y7uWSfThrmq34r0"
                     *           },
                     *           "b58": "4KdJEhYsNHesbRX7wUHZ6285CqkcLxqmSrMxbuy58bf2",
                     *           "multikey": "z6MkhmtLpwoJhq9LhvMpd3FPw7g52R2Tkr688sGtSBw63pSQ",
                     *           "did": "did:key:z6MkhmtLpwoJhq9LhvMpd3FPw7g52R2Tkr688sGtSBw63pSQ",
                     *           "aliases": [],
                     *           "labels": {},
                     *           "operations": [
                     *             "sign",
                     *             "verify"
                     *           ],
                     *           "exportable": false,
                     *           "state": "enabled",
                     *           "created": "2026-01-31T12:00:00.000Z",
                     *           "expires": null,
                     *           "deletes": null,
                     *           "last_used": null
                     *         }
                     *       ]
                     *     }
                     */
                    "application/json": components["schemas"]["GeneratedKeys"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `too-many-keys`: The profile has too many keys; `too-large-record`: The key's record is too large; `unsupported-algorithm`: The algorithm is not known; `unsupported-operation`: The key cannot do this; `unsupported-option`: The option does not apply to this key. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 404 `profile-not-found`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `provider-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    importKey: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ImportKey"];
            };
        };
        responses: {
            /** @description The key. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                     *       "alg": "ed25519",
                     *       "kty": "OKP",
                     *       "jwk": {
                     *         "kty": "OKP",
                     *         "crv": "Ed25519",
                     *         "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
                     *       },
                     *       "b58": "FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z",
                     *       "multikey": "z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw",
                     *       "did": "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw",
                     *       "aliases": [
                     *         "did:example:123#key-1"
                     *       ],
                     *       "labels": {},
                     *       "operations": [
                     *         "sign",
                     *         "verify"
                     *       ],
                     *       "exportable": true,
                     *       "state": "enabled",
                     *       "created": "2026-01-31T12:00:00.000Z",
                     *       "expires": null,
                     *       "deletes": null,
                     *       "last_used": null,
                     *       "imported": true
                     *     }
                     */
                    "application/json": components["schemas"]["Key"];
                };
            };
            /** @description `key-not-found`: There is no such key; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-exists`: The key already exists; `alias-exists`: The alias names another key; `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `too-many-keys`: The profile has too many keys; `too-many-aliases`: The key has too many aliases; `too-large-record`: The key's record is too large; `unsupported-algorithm`: The algorithm is not known; `unsupported-operation`: The key cannot do this; `unsupported-option`: The option does not apply to this key; `invalid-key`: The key material is not valid; `decryption-failed`: The ciphertext cannot be decrypted. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    findKey: {
        parameters: {
            query: {
                /**
                 * @description The alias.
                 * @example did:example:123#key-1
                 */
                alias: components["parameters"]["Alias"];
            };
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The key. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                     *       "alg": "ed25519",
                     *       "kty": "OKP",
                     *       "jwk": {
                     *         "kty": "OKP",
                     *         "crv": "Ed25519",
                     *         "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
                     *       },
                     *       "b58": "FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z",
                     *       "multikey": "z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw",
                     *       "did": "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw",
                     *       "aliases": [
                     *         "did:example:123#key-1"
                     *       ],
                     *       "labels": {},
                     *       "operations": [
                     *         "sign",
                     *         "verify"
                     *       ],
                     *       "exportable": true,
                     *       "state": "enabled",
                     *       "created": "2026-01-31T12:00:00.000Z",
                     *       "expires": null,
                     *       "deletes": null,
                     *       "last_used": null,
                     *       "imported": true,
                     *       "cose_key": "owEBIAYhWCDXWpgBgrEKt9VL_tPJZAc6DuFy89qmIyWvAhpo9wdRGg=="
                     *     }
                     */
                    "application/json": components["schemas"]["KeyWithCose"];
                    /**
                     * @example -----BEGIN PUBLIC KEY-----
                     *     MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
                     *     -----END PUBLIC KEY-----
                     */
                    "application/x-pem-file": string;
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-option`: The option does not apply to this key. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    deleteKeyByAlias: {
        parameters: {
            query: {
                /**
                 * @description The alias.
                 * @example did:example:123#old
                 */
                alias: components["parameters"]["DeletedAlias"];
                /** @description Delay of the deletion, up to 365 days; by default the key is deleted now. */
                after?: components["parameters"]["DeleteAfter"];
            };
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The key is deleted, or its deletion is scheduled. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "message": "Key deleted",
                     *       "kid": "jt9eHkyGmDQeTgcWSM8iVrt2JzVVOvlW4xDcSj0PRYs"
                     *     }
                     */
                    "application/json": components["schemas"]["Deletion"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 421 `misdirected-request`; 422 `validation-failed`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    listKeys: {
        parameters: {
            query?: {
                /** @description Largest number of keys; 100 by default. */
                limit?: components["parameters"]["Limit"];
                /** @description The cursor from the Link header of the previous page. */
                after?: components["parameters"]["After"];
                /** @description Only keys of this algorithm. */
                alg?: components["parameters"]["AlgFilter"];
                /** @description Only the key with this alias. */
                alias?: components["parameters"]["AliasFilter"];
                /** @description Only keys with this label; if repeated, with all of the labels. */
                label?: components["parameters"]["LabelFilter"];
                /** @description Only keys that were not used for this time, up to 365 days. */
                unused?: components["parameters"]["UnusedFilter"];
            };
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The keys; a Link header with rel="next" if there are more. */
            200: {
                headers: {
                    /** @description The next page (RFC 8288). */
                    Link?: string;
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example [
                     *       {
                     *         "kid": "8wfbAOzXUmykRaMEAgOby_8pcWIk886iovbM3BCTJiI",
                     *         "alg": "ed25519",
                     *         "kty": "OKP",
                     *         "jwk": {
                     *           "kty": "OKP",
                     *           "crv": "Ed25519",
                     *           "x": "e1Hpwnq3A6i-YE4NWMG8TpI4urNB3xO0jNWtjHvIVPA"
                     *         },
                     *         "b58": "9JPbHpVVRp3Reyi6x2XeDb6szsPiELDPwwmHzK4nYitP",
                     *         "multikey": "z6Mknkedt4jvmMXtmUYodbVV4gespSfZeDTkdxgDpb2oTwfm",
                     *         "did": "did:key:z6Mknkedt4jvmMXtmUYodbVV4gespSfZeDTkdxgDpb2oTwfm",
                     *         "aliases": [],
                     *         "labels": {},
                     *         "operations": [
                     *           "sign",
                     *           "verify"
                     *         ],
                     *         "exportable": false,
                     *         "state": "enabled",
                     *         "created": "2026-01-31T12:00:00.000Z",
                     *         "expires": null,
                     *         "deletes": null,
                     *         "last_used": null
                     *       },
                     *       {
                     *         "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                     *         "alg": "ed25519",
                     *         "kty": "OKP",
                     *         "jwk": {
                     *           "kty": "OKP",
                     *           "crv": "Ed25519",
                     *           "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
                     *         },
                     *         "b58": "FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z",
                     *         "multikey": "z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw",
                     *         "did": "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw",
                     *         "aliases": [
                     *           "did:example:123#key-1"
                     *         ],
                     *         "labels": {},
                     *         "operations": [
                     *           "sign",
                     *           "verify"
                     *         ],
                     *         "exportable": true,
                     *         "state": "enabled",
                     *         "created": "2026-01-31T12:00:00.000Z",
                     *         "expires": null,
                     *         "deletes": null,
                     *         "last_used": null,
                     *         "imported": true
                     *       }
                     *     ]
                     */
                    "application/json": components["schemas"]["Key"][];
                    /**
                     * @example {"kid":"8wfbAOzXUmykRaMEAgOby_8pcWIk886iovbM3BCTJiI","alg":"ed25519","kty":"OKP","jwk":{"kty":"OKP","crv":"Ed25519","x":"e1Hpwnq3A6i-YE4NWMG8TpI4urNB3xO0jNWtjHvIVPA"},"b58":"9JPbHpVVRp3Reyi6x2XeDb6szsPiELDPwwmHzK4nYitP","multikey":"z6Mknkedt4jvmMXtmUYodbVV4gespSfZeDTkdxgDpb2oTwfm","did":"did:key:z6Mknkedt4jvmMXtmUYodbVV4gespSfZeDTkdxgDpb2oTwfm","aliases":[],"labels":{},"operations":["sign","verify"],"exportable":false,"state":"enabled","created":"2026-01-31T12:00:00.000Z","expires":null,"deletes":null,"last_used":null}
                     *     {"kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","alg":"ed25519","kty":"OKP","jwk":{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},"b58":"FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z","multikey":"z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw","did":"did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw","aliases":["did:example:123#key-1"],"labels":{},"operations":["sign","verify"],"exportable":true,"state":"enabled","created":"2026-01-31T12:00:00.000Z","expires":null,"deletes":null,"last_used":null,"imported":true}
                     */
                    "application/x-ndjson": string;
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-algorithm`: The algorithm is not known. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 404 `profile-not-found`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    rotateKey: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path: {
                /**
                 * @description The key.
                 * @example kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k
                 */
                kid: components["parameters"]["Kid"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The new key. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "kid": "pzXU5PF3RDvDpbrMMRQOxNFaEg3RO9kGlQEi2L69VH4",
                     *       "alg": "ed25519",
                     *       "kty": "OKP",
                     *       "jwk": {
                     *         "kty": "OKP",
                     *         "crv": "Ed25519",
                     *         "x": "MViOgzmqyU4y1Pf58Zu7Vc9Yy6G6y7uWSfThrmq34r0"
                     *       },
                     *       "b58": "4KdJEhYsNHesbRX7wUHZ6285CqkcLxqmSrMxbuy58bf2",
                     *       "multikey": "z6MkhmtLpwoJhq9LhvMpd3FPw7g52R2Tkr688sGtSBw63pSQ",
                     *       "did": "did:key:z6MkhmtLpwoJhq9LhvMpd3FPw7g52R2Tkr688sGtSBw63pSQ",
                     *       "aliases": [
                     *         "did:example:123#key-1"
                     *       ],
                     *       "labels": {},
                     *       "operations": [
                     *         "sign",
                     *         "verify"
                     *       ],
                     *       "exportable": true,
                     *       "state": "enabled",
                     *       "created": "2026-01-31T12:00:00.000Z",
                     *       "expires": null,
                     *       "deletes": null,
                     *       "last_used": null
                     *     }
                     */
                    "application/json": components["schemas"]["Key"];
                };
            };
            /** @description `key-not-found`: There is no such key; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `too-many-keys`: The profile has too many keys; `too-many-aliases`: The key has too many aliases; `too-large-record`: The key's record is too large; `unsupported-operation`: The key cannot do this. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `provider-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    exportKey: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path: {
                /**
                 * @description The key.
                 * @example kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k
                 */
                kid: components["parameters"]["Kid"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The private JWK. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["NoStore"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "jwk": {
                     *         "kty": "OKP",
                     *         "crv": "Ed25519",
                     *         "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
                     *         "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
                     *       }
                     *     }
                     */
                    "application/json": components["schemas"]["PrivateJwk"];
                };
            };
            /** @description `not-exportable`: The key cannot be exported. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-found`: There is no such key; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    restoreKey: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path: {
                /**
                 * @description The key.
                 * @example kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k
                 */
                kid: components["parameters"]["Kid"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The key. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                     *       "alg": "ed25519",
                     *       "kty": "OKP",
                     *       "jwk": {
                     *         "kty": "OKP",
                     *         "crv": "Ed25519",
                     *         "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
                     *       },
                     *       "b58": "FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z",
                     *       "multikey": "z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw",
                     *       "did": "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw",
                     *       "aliases": [],
                     *       "labels": {},
                     *       "operations": [
                     *         "sign",
                     *         "verify"
                     *       ],
                     *       "exportable": true,
                     *       "state": "verify-only",
                     *       "created": "2026-01-31T12:00:00.000Z",
                     *       "expires": null,
                     *       "deletes": null,
                     *       "last_used": "2026-01-31T12:00:00.000Z",
                     *       "imported": true
                     *     }
                     */
                    "application/json": components["schemas"]["Key"];
                };
            };
            /** @description `key-not-found`: There is no such key; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 422 `validation-failed`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    associateAlias: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path: {
                /**
                 * @description The key.
                 * @example kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k
                 */
                kid: components["parameters"]["Kid"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AssociateAlias"];
            };
        };
        responses: {
            /** @description The alias and the kid of its key. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "alias": "did:example:123#assertion",
                     *       "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
                     *     }
                     */
                    "application/json": components["schemas"]["Association"];
                };
            };
            /** @description `key-not-found`: There is no such key; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `alias-exists`: The alias names another key. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `too-many-aliases`: The key has too many aliases; `too-large-record`: The key's record is too large. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    dissociateAlias: {
        parameters: {
            query: {
                /**
                 * @description The alias.
                 * @example did:example:123#assertion
                 */
                alias: components["parameters"]["BoundAlias"];
            };
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path: {
                /**
                 * @description The key.
                 * @example kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k
                 */
                kid: components["parameters"]["Kid"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The alias and the kid of its former key. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "alias": "did:example:123#assertion",
                     *       "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
                     *     }
                     */
                    "application/json": components["schemas"]["Association"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 421 `misdirected-request`; 422 `validation-failed`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    setCertificates: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path: {
                /**
                 * @description The key.
                 * @example FVV5umTuau890q59V-4Ga_R6qWb7ON_ivJc4EjvCwTM
                 */
                kid: components["parameters"]["CertifiedKid"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SetCertificates"];
            };
        };
        responses: {
            /** @description The key. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "kid": "FVV5umTuau890q59V-4Ga_R6qWb7ON_ivJc4EjvCwTM",
                     *       "alg": "ed25519",
                     *       "kty": "OKP",
                     *       "jwk": {
                     *         "kty": "OKP",
                     *         "crv": "Ed25519",
                     *         "x": "_FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU"
                     *       },
                     *       "b58": "Hyx62wPQGyvXCoihZq1BrbUjBRh2LuNxWiiqMkfAuSZr",
                     *       "multikey": "z6MkwSD8dBdqcXQzKJZQFPy2hh2izzxskndKCjdmC2dBpfME",
                     *       "did": "did:key:z6MkwSD8dBdqcXQzKJZQFPy2hh2izzxskndKCjdmC2dBpfME",
                     *       "aliases": [
                     *         "example signing"
                     *       ],
                     *       "labels": {},
                     *       "operations": [
                     *         "sign",
                     *         "verify"
                     *       ],
                     *       "exportable": false,
                     *       "state": "enabled",
                     *       "created": "2026-01-31T12:00:00.000Z",
                     *       "expires": null,
                     *       "deletes": null,
                     *       "last_used": null,
                     *       "imported": true,
                     *       "certificates": [
                     *         "MIIBKzCB3qADAgECAhAfLj1MW2p5iBEiM0RVZneIMAUGAytlcDAWMRQwEgYDVQQDDAtleGFtcGxlLmNvbTAeFw0yNjAxMzExMjAwMDBaFw0zNjAxMzExMjAwMDBaMBYxFDASBgNVBAMMC2V4YW1wbGUuY29tMCowBQYDK2VwAyEA/FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCWjQjBAMA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgGGMB0GA1UdDgQWBBSIx2TIvkQ3Sn0vXYRyH44yXlvWTDAFBgMrZXADQQDn3OK1vxdnIrmvdCvI4OYvHYU08sPyz/YKDmZ/xgG3FIQDGNgvK4nGASbbgBx8CZLo4TC+EhIpSnfBhULfO+kC"
                     *       ],
                     *       "x5t#S256": "3C3kWn09EPUrPeNNDkvp9h66OV98ndVuS4waf5IrHfs"
                     *     }
                     */
                    "application/json": components["schemas"]["Key"];
                };
            };
            /** @description `key-not-found`: There is no such key; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `too-large-record`: The key's record is too large; `unsupported-operation`: The key cannot do this; `invalid-certificate`: The certificate is not valid. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    removeCertificates: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path: {
                /**
                 * @description The key.
                 * @example kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k
                 */
                kid: components["parameters"]["Kid"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The key. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                     *       "alg": "ed25519",
                     *       "kty": "OKP",
                     *       "jwk": {
                     *         "kty": "OKP",
                     *         "crv": "Ed25519",
                     *         "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
                     *       },
                     *       "b58": "FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z",
                     *       "multikey": "z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw",
                     *       "did": "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw",
                     *       "aliases": [
                     *         "did:example:123#free"
                     *       ],
                     *       "labels": {
                     *         "purpose": "assertion",
                     *         "stage": "test"
                     *       },
                     *       "operations": [
                     *         "sign",
                     *         "verify"
                     *       ],
                     *       "exportable": true,
                     *       "state": "enabled",
                     *       "created": "2026-01-31T12:00:00.000Z",
                     *       "expires": "2099-12-31T22:59:59.000Z",
                     *       "deletes": null,
                     *       "last_used": "2026-01-31T12:00:00.000Z",
                     *       "imported": true
                     *     }
                     */
                    "application/json": components["schemas"]["Key"];
                };
            };
            /** @description `key-not-found`: There is no such key; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 421 `misdirected-request`; 422 `validation-failed`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    getKey: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path: {
                /**
                 * @description The key.
                 * @example kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k
                 */
                kid: components["parameters"]["Kid"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The key. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                     *       "alg": "ed25519",
                     *       "kty": "OKP",
                     *       "jwk": {
                     *         "kty": "OKP",
                     *         "crv": "Ed25519",
                     *         "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
                     *       },
                     *       "b58": "FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z",
                     *       "multikey": "z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw",
                     *       "did": "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw",
                     *       "aliases": [
                     *         "did:example:123#assertion",
                     *         "did:example:123#free"
                     *       ],
                     *       "labels": {},
                     *       "operations": [
                     *         "sign",
                     *         "verify"
                     *       ],
                     *       "exportable": true,
                     *       "state": "verify-only",
                     *       "created": "2026-01-31T12:00:00.000Z",
                     *       "expires": null,
                     *       "deletes": null,
                     *       "last_used": "2026-01-31T12:00:00.000Z",
                     *       "imported": true,
                     *       "cose_key": "owEBIAYhWCDXWpgBgrEKt9VL_tPJZAc6DuFy89qmIyWvAhpo9wdRGg=="
                     *     }
                     */
                    "application/json": components["schemas"]["KeyWithCose"];
                    /**
                     * @example -----BEGIN PUBLIC KEY-----
                     *     MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
                     *     -----END PUBLIC KEY-----
                     */
                    "application/x-pem-file": string;
                };
            };
            /** @description `key-not-found`: There is no such key; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-option`: The option does not apply to this key. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    deleteKey: {
        parameters: {
            query?: {
                /** @description Delay of the deletion, up to 365 days; by default the key is deleted now. */
                after?: components["parameters"]["DeleteAfter"];
            };
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path: {
                /**
                 * @description The key.
                 * @example kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k
                 */
                kid: components["parameters"]["Kid"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The key is deleted, or its deletion is scheduled. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "message": "Key deleted",
                     *       "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
                     *     }
                     */
                    "application/json": components["schemas"]["Deletion"];
                };
            };
            /** @description `key-not-found`: There is no such key; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 421 `misdirected-request`; 422 `validation-failed`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    updateKey: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path: {
                /**
                 * @description The key.
                 * @example kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k
                 */
                kid: components["parameters"]["Kid"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["UpdateKey"];
            };
        };
        responses: {
            /** @description The key. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                     *       "alg": "ed25519",
                     *       "kty": "OKP",
                     *       "jwk": {
                     *         "kty": "OKP",
                     *         "crv": "Ed25519",
                     *         "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
                     *       },
                     *       "b58": "FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z",
                     *       "multikey": "z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw",
                     *       "did": "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw",
                     *       "aliases": [
                     *         "did:example:123#assertion",
                     *         "did:example:123#free"
                     *       ],
                     *       "labels": {
                     *         "purpose": "assertion",
                     *         "stage": "test"
                     *       },
                     *       "operations": [
                     *         "sign",
                     *         "verify"
                     *       ],
                     *       "exportable": true,
                     *       "state": "verify-only",
                     *       "created": "2026-01-31T12:00:00.000Z",
                     *       "expires": null,
                     *       "deletes": null,
                     *       "last_used": "2026-01-31T12:00:00.000Z",
                     *       "imported": true
                     *     }
                     */
                    "application/json": components["schemas"]["Key"];
                };
            };
            /** @description `key-not-found`: There is no such key; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this; `rules-loosened`: The rules of a key only become tighter. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `too-large-record`: The key's record is too large; `unsupported-operation`: The key cannot do this; `unsupported-option`: The option does not apply to this key. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    sign: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SignRequest"];
            };
        };
        responses: {
            /** @description The signature. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "sig": "u36cL0uofv6g_oYPmqEtcwWFV0PYVwr7xlMq8xX9H9WAXecn8ZWcBnEKM-0fY_42XPpIT_4G9537mCAK7E3MBQ==",
                     *       "alg": "EdDSA",
                     *       "kid": "pzXU5PF3RDvDpbrMMRQOxNFaEg3RO9kGlQEi2L69VH4"
                     *     }
                     */
                    "application/json": components["schemas"]["Signature"];
                };
            };
            /** @description `rule-violated`: A rule of the key does not allow this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `unsupported-option`: The option does not apply to this key. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `provider-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    verify: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["VerifyRequest"];
            };
        };
        responses: {
            /** @description Whether the signature is valid. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "valid": true
                     *     }
                     */
                    "application/json": components["schemas"]["Verification"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `unsupported-option`: The option does not apply to this key; `invalid-key`: The key material is not valid. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    signBatch: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["BatchSignRequest"];
            };
        };
        responses: {
            /** @description A signature or a problem for each message, in order. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "results": [
                     *         {
                     *           "sig": "u36cL0uofv6g_oYPmqEtcwWFV0PYVwr7xlMq8xX9H9WAXecn8ZWcBnEKM-0fY_42XPpIT_4G9537mCAK7E3MBQ=="
                     *         },
                     *         {
                     *           "sig": "S3xYGC5A3eHwT7FPxswJzopA4eC2zbfXGzP73VovsRGBAqNVmpqeSnCF_9Q7RJ8mC9IjbMtRS6SaEjhVK_eVDQ=="
                     *         }
                     *       ]
                     *     }
                     */
                    "application/json": components["schemas"]["BatchSignature"];
                };
            };
            /** @description `rule-violated`: A rule of the key does not allow this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `unsupported-option`: The option does not apply to this key. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `provider-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    verifyBatch: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["BatchVerifyRequest"];
            };
        };
        responses: {
            /** @description Whether each signature is valid, or a problem, in order. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "results": [
                     *         {
                     *           "valid": true
                     *         }
                     *       ]
                     *     }
                     */
                    "application/json": components["schemas"]["BatchVerification"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `unsupported-option`: The option does not apply to this key; `invalid-key`: The key material is not valid. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    encrypt: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EncryptRequest"];
            };
        };
        responses: {
            /** @description The ciphertext, nonce and tag. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "ciphertext": "t3ZS5Sw=",
                     *       "nonce": "e-ndJcmqtjPBfFiS",
                     *       "tag": "te0sb8WugSgEZly6_RA8pQ=="
                     *     }
                     */
                    "application/json": components["schemas"]["EncryptedData"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `unsupported-option`: The option does not apply to this key; `invalid-key`: The key material is not valid. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    decrypt: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["DecryptRequest"];
            };
        };
        responses: {
            /** @description The plaintext. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["NoStore"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "plaintext": "aGVsbG8="
                     *     }
                     */
                    "application/json": components["schemas"]["DecryptedData"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `unsupported-option`: The option does not apply to this key; `decryption-failed`: The ciphertext cannot be decrypted. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    wrap: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["WrapRequest"];
            };
        };
        responses: {
            /** @description The wrapped bytes. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "wrapped": "jMS_7Kip8vOMiyg5Lx6PSz5aX9LyC9aI"
                     *     }
                     */
                    "application/json": components["schemas"]["WrappedKey"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `invalid-key`: The key material is not valid. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    unwrap: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["UnwrapRequest"];
            };
        };
        responses: {
            /** @description The secret bytes. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["NoStore"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "key": "AAECAwQFBgcICQoLDA0ODw=="
                     *     }
                     */
                    "application/json": components["schemas"]["UnwrappedKey"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `decryption-failed`: The ciphertext cannot be decrypted. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    derive: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["DeriveRequest"];
            };
        };
        responses: {
            /** @description The raw shared secret. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["NoStore"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "secret": "Sl2dW6TOLeFyjjv0gDUPJeB-IclH0Z4zdvCbPB4WF0I="
                     *     }
                     */
                    "application/json": components["schemas"]["SharedSecret"];
                };
            };
            /** @description `rule-violated`: A rule of the key does not allow this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `invalid-key`: The key material is not valid. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    mac: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["MacRequest"];
            };
        };
        responses: {
            /** @description The authentication code. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "mac": "U8QCcqcMFcpO4K9N8fFV_WxB4AziMH2Jh-zUuzan6ZA="
                     *     }
                     */
                    "application/json": components["schemas"]["AuthenticationCode"];
                };
            };
            /** @description `rule-violated`: A rule of the key does not allow this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    verifyMac: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["VerifyMacRequest"];
            };
        };
        responses: {
            /** @description Whether the authentication code is valid. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "valid": true
                     *     }
                     */
                    "application/json": components["schemas"]["Verification"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    random: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RandomRequest"];
            };
        };
        responses: {
            /** @description The bytes. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "bytes": "DR10MJudDKmQp-qQ3-CRuDK6IcEq71bewMG32FExDns="
                     *     }
                     */
                    "application/json": components["schemas"]["RandomBytes"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 422 `validation-failed`; 500 `internal-error`; 503 `too-busy`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    makeBox: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["BoxRequest"];
            };
        };
        responses: {
            /** @description The box. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "ciphertext": "iYBI5YytEhvk14Q3ZIJmVJ7fOeor",
                     *       "nonce": "-r7FNO0fGNbbl9nyUtSKjRy94IJrhlNR"
                     *     }
                     */
                    "application/json": components["schemas"]["BoxCiphertext"];
                };
            };
            /** @description `rule-violated`: A rule of the key does not allow this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `invalid-key`: The key material is not valid. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    openBox: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["OpenBoxRequest"];
            };
        };
        responses: {
            /** @description The plaintext. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["NoStore"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "plaintext": "aGVsbG8="
                     *     }
                     */
                    "application/json": components["schemas"]["DecryptedData"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `invalid-key`: The key material is not valid; `decryption-failed`: The ciphertext cannot be decrypted. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    sealBox: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SealBoxRequest"];
            };
        };
        responses: {
            /** @description The sealed box. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "ciphertext": "zmJd1e8cmq-6xtKMPdqZTMKCMJ0qYCSDwUE9CwLhbkQ13VEv97_rdmshPO9ZmnOQL4WNGF4="
                     *     }
                     */
                    "application/json": components["schemas"]["SealedBox"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `invalid-key`: The key material is not valid. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    openSealedBox: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["OpenSealedBoxRequest"];
            };
        };
        responses: {
            /** @description The plaintext. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["NoStore"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "plaintext": "aGVsbG8="
                     *     }
                     */
                    "application/json": components["schemas"]["DecryptedData"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `decryption-failed`: The ciphertext cannot be decrypted. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    packDidcomm: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PackRequest"];
            };
        };
        responses: {
            /** @description The envelope. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "packed": {
                     *         "protected": "eyJlbmMiOiJ4Y2hhY2hhMjBwb2x5MTMwNV9pZXRmIiwidHlwIjoiSldNLzEuMCIsImFsZyI6IkF1dGhjcnlwdCIsInJlY2lwaWVudHMiOlt7ImVuY3J5cHRlZF9rZXkiOiJWZFNMc3B4a2dpcjBPdzdncmlUTzVMem5rOGZJaG5hLXRJZlZpendwaEhwRE5peTk5NFc4M1FjTlphSllMZmFUIiwiaGVhZGVyIjp7ImtpZCI6IjU4Nlo3SDJ2cFg5cU5oTjJUNGU5VXR1Z2llM29namJ4ekdhTXRNM0U2SFI1Iiwic2VuZGVyIjoiWThiZ2R6ZHp5amFWZXR2YkNtTWU1Y01nd0lkRUtyMlpvVzB2ckswVkREckVPMTdsbkNLcFVrY1d5bFpjNi10bHdzdW9xM3V5WlJ3TUxZdWhsdjVoa0w3bllvOTNFZWdLa0FQbXBWTktES3Q4SGpBZTFyN28xQVhTUTB3IiwiaXYiOiJKWHo0aWhJWVl4LThUR0FqTUhYbm9rUTZwODdWZGdmZiJ9fV19",
                     *         "iv": "I0bKtH06IamlbN4H",
                     *         "ciphertext": "Qa-hL0s",
                     *         "tag": "Uw_hdlaHisK1sbcxxPLLXg"
                     *       }
                     *     }
                     */
                    "application/json": components["schemas"]["PackAnswer"];
                };
            };
            /** @description `rule-violated`: A rule of the key does not allow this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `invalid-key`: The key material is not valid. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    unpackDidcomm: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["UnpackRequest"];
            };
        };
        responses: {
            /** @description The message, with sender and recipient. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["NoStore"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "message": "aGVsbG8=",
                     *       "to": "586Z7H2vpX9qNhN2T4e9Utugie3ogjbxzGaMtM3E6HR5",
                     *       "from": "586Z7H2vpX9qNhN2T4e9Utugie3ogjbxzGaMtM3E6HR5",
                     *       "kid": "FtIu-VbGrfe_KB6CH7GNwODB72MNxj_ml11dEvO-7kk"
                     *     }
                     */
                    "application/json": components["schemas"]["UnpackAnswer"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `decryption-failed`: The ciphertext cannot be decrypted. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    encapsulate: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EncapsulateRequest"];
            };
        };
        responses: {
            /** @description The secret and its ciphertext. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["NoStore"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "ciphertext": "FqYf-EeH_UpfGcpZs2V9s6EGpzKeLWJ0ei74UUkWMQm-__a8sz32YjC49nJc5xn1j3EZbolb78l1TZ8EJJRkjIim7UxM8T8vr59lHeedrgd3M8sjX53ORIl3_ULVSGt9_fbXvZFysUJHZV008QUk1GlHjZqWOfNNKs3m48BI1Sswi2YkX-mijN55g7nRTAOzdxX-OXDNNXNHca3XqptYz7Ct-MYT3q-ysx9uXINk1DNOk6-OSUP6lHzGdmdEfP_QNiNa-up_YDyy6id7l9rfgup0b2snOW3QjIXP-TBKLlzgVx_eLpJnFryfjk1HS06P00sNwoN2IE6jBtMOmm3YglC3mCPncxny7zp3cE9And6L622xvkqfJa4uFZOd7fGxGlqlH8_wQGi0bUL7uv0kmCZMyk-3iw8qsWLH71aYdaExSLmksLnaF4fKCnAz4-yhNHHby74V408rUGW5lf4iHCt6wVAzTRTmjtxeBJZj3jYvro014kwgLF-tIVPNBE6pYqOI8DDNxd7Bw0Ixg7Fzwysi9YAK5F6OicjuRhfOJOYPJ4v9HqD4-pJIa2-EkSfamb575MZh4romZp1qz2GaMwVoCWg-JKLynjO-f1-axmhpfllIjpuGhZVs2Ht8RxCdYDICwgFHLsgp6mSSLk0OrdSktaj7BuD0vyWlnO1UVXOI3NkbOHy2FIWX7fhKIllYAYUcpLnp4Jb9_JbyRErJ8SR6XmQHh_yiPj6yHsEFnEKmWANEHfASeQE8RI38Pu38M1Xu4fUQCGoRX4VMNtt5eoXt4ZpHOjPnmoD29_ZGfhsNhm_g5XqKvTeZNKampJL18yWU1D3i7C7qgUh5gbtjlL-m31SY10xtsiAqY0ijJfvJBrjoILsAZZou4SdAsUsuNvTF2rQRwM0JbF5juk1Iqp6Ssx9E3JfA_vZhvPTbiV8XRhPZ1e2eg2ZXdF7J3ux68nPOyH7w6vgF2hvIQBYIgQuKhvlSxjJtCfyNHX_YO06GLgUFjod8BWzFRl7DGSsDpMM8xrFlWNJILV-EUYy7xSaq5uiEAxfvs6GYLD0XGe8V0Q-LB3xcaGgL5tPZLoaqpus3jPBVnUkyVxR7VXMPSaBCMlrwZrT5dBuf_11Hly1ayvUra-pOnjVO-USLYvbSoTF2daki4U4xV41sq1oJpxqycNhlFRuKtMYStf1dzJfkVBmhz7a4ua7GD2JgIJj5HwfCOBhmV5Qcehjk1-4iDwItX__SkYU7nAY-VhtxdveiNc5FvIbORxgIbflTbFpfCr8EwKhNgr32lVKt4xNUM8EKG6adaIlp5tnc5U07Oq46fyq5BOZX4_sFJB-sEQqgfmLMOZHX0NYym1q51p1zNsDRSFiMnwkhMluF31_TDbgKVqNyQ3IVNkGWGqfgQr8mRv9GAiwFnVeUw6S3-QxBDecaUjHdm4O70Oa9qxv55i8=",
                     *       "secret": "tAjV0RVxPwqTBH276oMuQ0B4dobVmpotEGvWYroKoDU="
                     *     }
                     */
                    "application/json": components["schemas"]["EncapsulatedSecret"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `invalid-key`: The key material is not valid. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    decapsulate: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["DecapsulateRequest"];
            };
        };
        responses: {
            /** @description The secret. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["NoStore"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "secret": "tAjV0RVxPwqTBH276oMuQ0B4dobVmpotEGvWYroKoDU="
                     *     }
                     */
                    "application/json": components["schemas"]["DecapsulatedSecret"];
                };
            };
            /** @description `rule-violated`: A rule of the key does not allow this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `decryption-failed`: The ciphertext cannot be decrypted. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    sealHpke: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SealHpkeRequest"];
            };
        };
        responses: {
            /** @description The encapsulated key and the ciphertext. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "enc": "uOuax8neSLwweOCtfrPx-oPpxBway8evr2EsclLfwVk=",
                     *       "ciphertext": "AE3VeG6UUzCMttbaOvIUsQ_hlJTs"
                     *     }
                     */
                    "application/json": components["schemas"]["HpkeMessage"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `unsupported-option`: The option does not apply to this key; `invalid-key`: The key material is not valid. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    openHpke: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["OpenHpkeRequest"];
            };
        };
        responses: {
            /** @description The plaintext. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["NoStore"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "plaintext": "aGVsbG8="
                     *     }
                     */
                    "application/json": components["schemas"]["DecryptedData"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `unsupported-option`: The option does not apply to this key; `decryption-failed`: The ciphertext cannot be decrypted. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    signJws: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SignJwsRequest"] | components["schemas"]["SignSigningInputRequest"];
            };
        };
        responses: {
            /** @description The JWS, or the signature over a signing input. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "jws": "eyJhbGciOiJFZERTQSIsImtpZCI6ImRpZDpleGFtcGxlOjEyMyNrZXktMSJ9.aGVsbG8.daxe9bb7MmM5FyxbM24IqaiGFDL_rJacmqyC9UcF8nDXKcvkEw0f0YL1RJoKRKpM5Al2MyfYFsC1rMPJgwU2DA"
                     *     }
                     */
                    "application/json": components["schemas"]["JwsSignature"] | components["schemas"]["Signature"];
                };
            };
            /** @description `rule-violated`: A rule of the key does not allow this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `unsupported-option`: The option does not apply to this key. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `provider-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    verifyJws: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["VerifyJwsRequest"];
            };
        };
        responses: {
            /** @description Whether the JWS is valid, with its header and payload. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "valid": true,
                     *       "header": {
                     *         "alg": "EdDSA"
                     *       },
                     *       "payload": "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc="
                     *     }
                     */
                    "application/json": components["schemas"]["JwsVerification"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `unsupported-option`: The option does not apply to this key; `invalid-key`: The key material is not valid. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    encryptJwe: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EncryptJweRequest"];
            };
        };
        responses: {
            /** @description The JWE. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "jwe": "eyJhbGciOiJFQ0RILUVTK0EyNTZLVyIsImVuYyI6IkEyNTZHQ00iLCJlcGsiOnsiY3J2IjoiWDI1NTE5IiwieCI6InNFS0xIalE5TWJuZWhwM0xNay1XVTg1ck41T0NseTMzNEJTRlIwMkJUeEEiLCJrdHkiOiJPS1AifX0.7g9iCWapmm_rDf3VNT7WoUQdKMq5k_ytxaGu0uGZnpzBdwAKBDlKXA.hvtENAmXJ7bJtA-g.EPZt7BU.Wcb-XlHlOMUoyHlWTZhgzA"
                     *     }
                     */
                    "application/json": components["schemas"]["EncryptedJwe"];
                };
            };
            /** @description `rule-violated`: A rule of the key does not allow this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `unsupported-option`: The option does not apply to this key; `invalid-key`: The key material is not valid. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    decryptJwe: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["DecryptJweRequest"];
            };
        };
        responses: {
            /** @description The plaintext and the header. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["NoStore"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "plaintext": "aGVsbG8=",
                     *       "header": {
                     *         "alg": "ECDH-ES+A256KW",
                     *         "enc": "A256GCM",
                     *         "epk": {
                     *           "crv": "X25519",
                     *           "x": "-UqlMbigRLqJuAHmUVgjgpt_xq18wuPzvUqxvZq76Hc",
                     *           "kty": "OKP"
                     *         }
                     *       }
                     *     }
                     */
                    "application/json": components["schemas"]["DecryptedJwe"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `unsupported-option`: The option does not apply to this key; `invalid-key`: The key material is not valid; `decryption-failed`: The ciphertext cannot be decrypted. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    attestKeys: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AttestKeysRequest"];
            };
        };
        responses: {
            /** @description The attestation. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "jwt": "eyJhbGciOiJFZERTQSIsImtpZCI6ImtQcktfcW14VldhWVZBOXd3QkY2SXVvM3ZWeno3VHhIQ1R3WEJ5Z3JTNGsiLCJ0eXAiOiJrZXktYXR0ZXN0YXRpb24rand0In0.eyJpYXQiOjE3Njk4NjA4MDAsImV4cCI6MTc2OTg2MTEwMCwibm9uY2UiOiJ0WmlnbnNuRmJwIiwiYXVkIjoiaHR0cHM6Ly9pc3N1ZXIuZXhhbXBsZSIsImF0dGVzdGVkX2tleXMiOlt7Imt0eSI6Ik9LUCIsImNydiI6IlgyNTUxOSIsIngiOiJoU0R3Q1lrd3AxUjBpMzNjdEQ3M1dnMl9PZzBtT0JyMDY2U3BqcXFiVG1vIiwia2lkIjoidTgwOVZwcHg1aXhXTU9vaHhXcjJhTTNtNWJEMExRNjdnX0dQbXViUXVzNCJ9XSwia2V5X3N0b3JhZ2UiOlsiaXNvXzE4MDQ1X2Jhc2ljIl19.zc0KEJvFbTP7FjEuKj8MhyiBUxtdn3tIJI3og0xKqX3H3pe4lLMkrhdrPlW6SPIp3Oqm0QsI5JFPKB53dvnSAQ"
                     *     }
                     */
                    "application/json": components["schemas"]["AttestationJwt"];
                };
            };
            /** @description `rule-violated`: A rule of the key does not allow this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `unsupported-option`: The option does not apply to this key; `not-attestable`: A key cannot be attested. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `provider-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    jwks: {
        parameters: {
            query?: {
                /** @description The profile; by default the profile in the header. */
                profile?: components["parameters"]["ProfileQuery"];
                /** @description Only keys of this JWK type; if repeated, of any of the types. */
                kty?: components["parameters"]["KtyFilter"];
                /** @description Only keys for this JOSE algorithm; if repeated, for any of the algorithms. */
                alg?: components["parameters"]["JoseFilter"];
                /** @description Only keys for signatures (sig), or for encryption (enc). */
                use?: components["parameters"]["UseFilter"];
            };
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
                /** @description The ETag of the caller's cached set, or several ETags. */
                "If-None-Match"?: components["parameters"]["IfNoneMatch"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The public keys for signatures and key agreement, each under its kid and its aliases. */
            200: {
                headers: {
                    /** @description Entity tag of the set. */
                    ETag?: string;
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "keys": [
                     *         {
                     *           "kty": "OKP",
                     *           "crv": "Ed25519",
                     *           "x": "MViOgzmqyU4y1Pf58Zu7Vc9Yy6G6y7uWSfThrmq34r0",
                     *           "use": "sig",
                     *           "kid": "pzXU5PF3RDvDpbrMMRQOxNFaEg3RO9kGlQEi2L69VH4"
                     *         },
                     *         {
                     *           "kty": "OKP",
                     *           "crv": "Ed25519",
                     *           "x": "MViOgzmqyU4y1Pf58Zu7Vc9Yy6G6y7uWSfThrmq34r0",
                     *           "use": "sig",
                     *           "kid": "did:example:123#key-1"
                     *         }
                     *       ]
                     *     }
                     */
                    "application/json": components["schemas"]["JwkSet"];
                };
            };
            /** @description The set has not changed. */
            304: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Others: 404 `profile-not-found`; 421 `misdirected-request`; 422 `validation-failed`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    makeCsr: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CsrRequest"];
            };
        };
        responses: {
            /** @description The certificate request. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "csr": "-----BEGIN CERTIFICATE REQUEST-----\nMIHkMIGXAgEAMDgxCzAJBgNVBAYTAkRFMRAwDgYDVQQKDAdFeGFtcGxlMRcwFQYD\nVQQDDA5pc3N1ZXIuZXhhbXBsZTAqMAUGAytlcAMhAPxRzY5iGKGjjaR+0AIw8FgI\nFu0TujMDrF3rkRVIkIAloCwwKgYJKoZIhvcNAQkOMR0wGzAZBgNVHREEEjAQgg5p\nc3N1ZXIuZXhhbXBsZTAFBgMrZXADQQAHkd0m9TBst9TuvMc9fZcAmBDC/hERSQM1\nMXXO88F5fA8m7uTHaYqx51MGRgWBt4/Qk/VqtBcYMkjCiOo9DEMO\n-----END CERTIFICATE REQUEST-----\n"
                     *     }
                     */
                    "application/json": components["schemas"]["CertificateSigningRequest"];
                };
            };
            /** @description `rule-violated`: A rule of the key does not allow this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `unsupported-option`: The option does not apply to this key; `invalid-certificate`: The certificate is not valid. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `provider-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    issueCertificate: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["IssueCertificateRequest"];
            };
        };
        responses: {
            /** @description The certificate. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "certificate": "-----BEGIN CERTIFICATE-----\nMIIBlTCCAUegAwIBAgIUOh8uPUxbanmIESIzRFVmd4iZqrswBQYDK2VwMDgxCzAJ\nBgNVBAYTAkRFMRAwDgYDVQQKDAdFeGFtcGxlMRcwFQYDVQQDDA5pc3N1ZXIuZXhh\nbXBsZTAeFw0yNjAxMzExMjAwMDBaFw0yNzAxMzExMjAwMDBaMDgxCzAJBgNVBAYT\nAkRFMRAwDgYDVQQKDAdFeGFtcGxlMRcwFQYDVQQDDA5pc3N1ZXIuZXhhbXBsZTAq\nMAUGAytlcAMhAPxRzY5iGKGjjaR+0AIw8FgIFu0TujMDrF3rkRVIkIAlo2MwYTAd\nBgNVHQ4EFgQUiMdkyL5EN0p9L12Ech+OMl5b1kwwHwYDVR0jBBgwFoAUiMdkyL5E\nN0p9L12Ech+OMl5b1kwwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAYYw\nBQYDK2VwA0EAFmACJtraoRFs5w0tyeAC2vDYXdaHuMyIWd3lxZa838I5RU+KbGwW\n2V+zF+KaYOkXl95t/WNLDpTcwQ6sLeOXDw==\n-----END CERTIFICATE-----\n"
                     *     }
                     */
                    "application/json": components["schemas"]["IssuedCertificate"];
                };
            };
            /** @description `rule-violated`: A rule of the key does not allow this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `unsupported-option`: The option does not apply to this key; `invalid-certificate`: The certificate is not valid. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `provider-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    makeCrl: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CrlRequest"];
            };
        };
        responses: {
            /** @description The revocation list. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "crl": "-----BEGIN X509 CRL-----\nMIHnMIGaAgEBMAUGAytlcDAWMRQwEgYDVQQDDAtleGFtcGxlLmNvbRcNMjYwMTMx\nMTIwMDAwWhcNMjYwMjA3MTIwMDAwWjAnMCUCFDofLj1MW2p5iBEiIzRFVmd4iZGq\nFw0yNjAxMzAwODE1MDBaoC8wLTAfBgNVHSMEGDAWgBSIx2TIvkQ3Sn0vXYRyH44y\nXlvWTDAKBgNVHRQEAwIBAjAFBgMrZXADQQAUu61zi/Y5e9oCUOIzeWBwDQAIdX0x\n4+x08HH+HUwecp08soTEkZx0nAGGYqhF3HdOPzcoRl50gOYNjg5RdUoN\n-----END X509 CRL-----\n"
                     *     }
                     */
                    "application/json": components["schemas"]["SignedRevocationList"];
                };
            };
            /** @description `rule-violated`: A rule of the key does not allow this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `unsupported-option`: The option does not apply to this key; `invalid-certificate`: The certificate is not valid. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `provider-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    signCose: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SignCoseRequest"] | components["schemas"]["SignSigStructureRequest"];
            };
        };
        responses: {
            /** @description The message, or the signature over a Sig_structure. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "cose": "0oRDoQEnoQRYK2tQcktfcW14VldhWVZBOXd3QkY2SXVvM3ZWeno3VHhIQ1R3WEJ5Z3JTNGtFaGVsbG9YQLkRHCaM9TDQ7kB6zltl61YJbzrRGl_vwW5yLBFPiwJ1u7cvF6R_vq07EcBcPUhe3wXyqCNoldjoqH4BQgcHUgs="
                     *     }
                     */
                    "application/json": components["schemas"]["CoseMessage"] | components["schemas"]["Signature"];
                };
            };
            /** @description `rule-violated`: A rule of the key does not allow this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `unsupported-option`: The option does not apply to this key; `invalid-cose`: The COSE message is not valid. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `provider-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    verifyCose: {
        parameters: {
            query?: never;
            header?: {
                /** @description The profile; "default" if omitted. */
                "X-Profile"?: components["parameters"]["Profile"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["VerifyCoseRequest"];
            };
        };
        responses: {
            /** @description Whether the message is valid, with its header parameters and payload. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "valid": true,
                     *       "payload": "VGhpcyBpcyB0aGUgY29udGVudC4=",
                     *       "protected": "oQEm",
                     *       "unprotected": "oQRCMTE="
                     *     }
                     */
                    "application/json": components["schemas"]["CoseVerification"];
                };
            };
            /** @description `key-not-found`: There is no such key; `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key-not-usable`: The key's state does not allow this. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `unsupported-operation`: The key cannot do this; `unsupported-option`: The option does not apply to this key; `invalid-key`: The key material is not valid; `invalid-cose`: The COSE message is not valid. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 429 `over-rate`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    createProfile: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateProfile"];
            };
        };
        responses: {
            /** @description The profile is created. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "name": "alice",
                     *       "success": true
                     *     }
                     */
                    "application/json": components["schemas"]["ProfileCreated"];
                };
            };
            /** @description `malformed-json`: The body is not valid JSON; `bad-request`: The request cannot be read; `profile-exists`: The profile already exists. */
            400: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 422 `validation-failed`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    listProfiles: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The profiles. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "profiles": [
                     *         "alice",
                     *         "default"
                     *       ],
                     *       "settings": {}
                     *     }
                     */
                    "application/json": components["schemas"]["ProfileNames"];
                };
            };
            /** @description Others: 421 `misdirected-request`; 422 `validation-failed`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    deleteProfile: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The profile.
                 * @example alice
                 */
                name: components["parameters"]["ProfileName"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Whether the profile existed. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "success": true
                     *     }
                     */
                    "application/json": components["schemas"]["ProfileDeleted"];
                };
            };
            /** @description `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `profile-protected`: The profile is protected. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 421 `misdirected-request`; 422 `validation-failed`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    changeProfile: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The profile.
                 * @example alice
                 */
                name: components["parameters"]["ProfileName"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ChangeProfile"];
            };
        };
        responses: {
            /** @description The changed profile. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "name": "alice",
                     *       "jwks": "public",
                     *       "max_keys": null,
                     *       "min_deletion_delay": null,
                     *       "calls_per_second": null,
                     *       "delete_scope": false
                     *     }
                     */
                    "application/json": components["schemas"]["Profile"];
                };
            };
            /** @description `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 422 `validation-failed`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    listTokens: {
        parameters: {
            query?: {
                /** @description Largest number of tokens; 100 by default. */
                limit?: components["parameters"]["TokensLimit"];
                /** @description The cursor from the Link header of the previous page. */
                after?: components["parameters"]["TokensAfter"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The tokens, oldest first; a Link header with rel="next" if there are more. */
            200: {
                headers: {
                    /** @description The next page (RFC 8288). */
                    Link?: string;
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example [
                     *       {
                     *         "id": "8c1f0a5d92b3e467",
                     *         "name": "issuer",
                     *         "scopes": [
                     *           "sign",
                     *           "keys:read"
                     *         ],
                     *         "profiles": [
                     *           "default"
                     *         ],
                     *         "created": "2026-01-31T12:00:00.000Z",
                     *         "expires": "2036-01-31T12:00:00.000Z",
                     *         "last_used": null
                     *       }
                     *     ]
                     */
                    "application/json": components["schemas"]["Token"][];
                };
            };
            /** @description Others: 421 `misdirected-request`; 422 `validation-failed`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    createToken: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateToken"];
            };
        };
        responses: {
            /** @description The token. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["NoStore"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "token": "mkms_8c1f0a5d92b3e467_Q9YYPq1ekttq4bKViCkkSDziR7sTCDs9edoZ3EbjqdpSeV1bG",
                     *       "record": {
                     *         "id": "8c1f0a5d92b3e467",
                     *         "name": "issuer",
                     *         "scopes": [
                     *           "sign",
                     *           "keys:read"
                     *         ],
                     *         "profiles": [
                     *           "default"
                     *         ],
                     *         "created": "2026-01-31T12:00:00.000Z",
                     *         "expires": "2036-01-31T12:00:00.000Z",
                     *         "last_used": null
                     *       }
                     *     }
                     */
                    "application/json": components["schemas"]["TokenCreated"];
                };
            };
            /** @description `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `validation-failed`: The request is not valid; `too-many-tokens`: The profile has too many tokens. */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 400 `malformed-json`, `bad-request`; 408 `request-timeout`; 413 `body-too-large`; 415 `unsupported-media-type`; 421 `misdirected-request`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    getOwnToken: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The permissions of the caller's token. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "id": null,
                     *       "name": null,
                     *       "scopes": [
                     *         "keys:read",
                     *         "keys:write",
                     *         "keys:export",
                     *         "keys:delete",
                     *         "sign",
                     *         "verify",
                     *         "encrypt",
                     *         "decrypt",
                     *         "wrap",
                     *         "derive",
                     *         "mac",
                     *         "random",
                     *         "profiles",
                     *         "audit",
                     *         "admin"
                     *       ],
                     *       "profiles": null,
                     *       "expires": null
                     *     }
                     */
                    "application/json": components["schemas"]["OwnToken"];
                };
            };
            /** @description Others: 421 `misdirected-request`; 422 `validation-failed`; 500 `internal-error`; 503 `too-busy`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    revokeToken: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The token's id.
                 * @example 8c1f0a5d92b3e467
                 */
                token: components["parameters"]["Token"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The token is revoked. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "message": "Token revoked",
                     *       "id": "8c1f0a5d92b3e467"
                     *     }
                     */
                    "application/json": components["schemas"]["TokenRevoked"];
                };
            };
            /** @description `token-not-found`: There is no such token. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 421 `misdirected-request`; 422 `validation-failed`; 500 `key-unreadable`, `internal-error`; 503 `too-busy`, `store-unavailable`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    listAuditEvents: {
        parameters: {
            query?: {
                /** @description Only events of this key. */
                kid?: components["parameters"]["AuditKid"];
                /** @description Only events of keys that this alias names or has named in one profile: the one in `profile`, or in the header X-Profile. Also needs the scope `keys:read`. */
                alias?: components["parameters"]["AuditAlias"];
                /** @description Only events of callers with this name. */
                who?: components["parameters"]["AuditWho"];
                /** @description Only events of this operation, such as sign or aws:Sign. */
                operation?: components["parameters"]["AuditOperation"];
                /** @description Only events with this outcome: ok, failed, or the slug of a problem. */
                outcome?: components["parameters"]["AuditOutcome"];
                /** @description Only events of this profile; by default of all profiles of the caller. */
                profile?: components["parameters"]["AuditProfile"];
                /** @description Only events from this time on. */
                since?: components["parameters"]["AuditSince"];
                /** @description Only events before this time. */
                until?: components["parameters"]["AuditUntil"];
                /** @description Largest number of events; 100 by default. */
                limit?: components["parameters"]["AuditLimit"];
                /** @description The cursor from the Link header of the previous page. */
                after?: components["parameters"]["AuditAfter"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The events, newest first; a Link header with rel="next" if there may be more. */
            200: {
                headers: {
                    /** @description The next page (RFC 8288). */
                    Link?: string;
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example [
                     *       {
                     *         "time": "2026-01-31T12:00:00.000000Z",
                     *         "request_id": "7e2973aa8cc64875a5a7b6bdd50df3e9",
                     *         "who": "issuer",
                     *         "address": "192.0.2.7",
                     *         "profile": "default",
                     *         "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                     *         "alg": "ed25519",
                     *         "subject": null,
                     *         "token": null,
                     *         "operation": "signCose",
                     *         "outcome": "success",
                     *         "profile_id": "5d0c9b1f6a7e3482"
                     *       }
                     *     ]
                     */
                    "application/json": components["schemas"]["AuditEvent"][];
                };
            };
            /** @description `alias-not-found`: There is no such alias; `profile-not-found`: There is no such profile. */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 421 `misdirected-request`; 422 `validation-failed`; 500 `internal-error`; 503 `too-busy`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    listAlgorithms: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The algorithms. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example [
                     *       {
                     *         "name": "a128cbchs256",
                     *         "aliases": [],
                     *         "kty": "oct",
                     *         "jose_algs": [
                     *           "A128CBC-HS256"
                     *         ],
                     *         "operations": [
                     *           "encrypt",
                     *           "decrypt",
                     *           "jwe-encrypt",
                     *           "jwe-decrypt",
                     *           "import-jwk",
                     *           "import-secret"
                     *         ],
                     *         "opt_in": [],
                     *         "source": "minikms-server"
                     *       },
                     *       {
                     *         "name": "a128gcm",
                     *         "aliases": [
                     *           "aes128gcm"
                     *         ],
                     *         "kty": "oct",
                     *         "jose_algs": [
                     *           "A128GCM"
                     *         ],
                     *         "operations": [
                     *           "encrypt",
                     *           "decrypt",
                     *           "jwe-encrypt",
                     *           "jwe-decrypt",
                     *           "import-jwk",
                     *           "import-secret"
                     *         ],
                     *         "opt_in": [],
                     *         "source": "minikms-server"
                     *       }
                     *     ]
                     */
                    "application/json": components["schemas"]["Algorithm"][];
                };
            };
            /** @description Others: 421 `misdirected-request`; 422 `validation-failed`; 500 `internal-error`; 503 `too-busy`, `audit-unavailable`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    healthz: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The process is alive. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "status": "alive"
                     *     }
                     */
                    "application/json": components["schemas"]["Health"];
                };
            };
            /** @description Others: 421 `misdirected-request`; 500 `internal-error`. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    readyz: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The service is ready. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "status": "ready"
                     *     }
                     */
                    "application/json": components["schemas"]["Health"];
                };
            };
            /** @description `too-busy`: The service is busy; `store-unavailable`: The key store is not available; `provider-unavailable`: The provider of the key does not answer; `shutting-down`: The service is shutting down; `audit-unavailable`: The audit log cannot be written. */
            503: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Others: 421 `misdirected-request`; 500 `internal-error`. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    openapi: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The OpenAPI document. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "openapi": "3.0.0",
                     *       "info": {
                     *         "title": "Mini KMS",
                     *         "version": "0.4.0"
                     *       },
                     *       "paths": {}
                     *     }
                     */
                    "application/json": Record<string, unknown>;
                };
            };
            /** @description Others: 421 `misdirected-request`; 500 `internal-error`; 503 `too-busy`. */
            default: {
                headers: {
                    "Retry-After": components["headers"]["RetryAfter"];
                    "X-Request-Id": components["headers"]["RequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
}
