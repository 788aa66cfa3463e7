import { ECDH, generateKeyPairSync } from 'node:crypto'

import { KeyManager, MemoryKeyStore } from '@veramo/key-manager'
import { createJWT, verifyJWT } from 'did-jwt'
import * as ethers from 'ethers'
import * as viem from 'viem'
import { recoverAuthorizationAddress } from 'viem/utils'
import { expect, test } from 'vitest'

import { InvalidSetting, type RemoteKey } from '@minikms/client'
import { didJwtSigner } from '@minikms/client/did-jwt'
import { MinikmsSigner } from '@minikms/client/ethers'
import { MinikmsKeyManagementSystem } from '@minikms/client/veramo'
import { viemAccount } from '@minikms/client/viem'

import { kms, newKey, refusal } from './kms.js'

const TYPES = {
  Mail: [
    { name: 'to', type: 'address' },
    { name: 'contents', type: 'string' },
  ],
}
const DOMAIN = {
  name: 'Mail',
  version: '1',
  chainId: 1,
  verifyingContract: '0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC',
} as const
const MAIL = { to: '0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB', contents: 'Hello' } as const
const TRANSACTION = {
  ...{ chainId: 1, nonce: 7, to: MAIL.to, value: 1_000_000n, gas: 21_000n },
  ...{ maxFeePerGas: 2_000_000_000n, maxPriorityFeePerGas: 1n, type: 'eip1559' as const },
}

test('ethers verifies what an account of viem signs', async () => {
  const account = viemAccount(await newKey('k256'))
  for (let count = 0; count < 8; count++) {
    const message = `hello ${count}`
    expect(ethers.verifyMessage(message, await account.signMessage({ message }))).toBe(account.address)
  }
  const typed = await account.signTypedData({ domain: DOMAIN, types: TYPES, primaryType: 'Mail', message: MAIL })
  expect(ethers.verifyTypedData(DOMAIN, TYPES, MAIL, typed)).toBe(account.address)
  const { gas, ...legacy } = { chainId: 1, nonce: 1, to: MAIL.to, value: 1n, gas: 21_000n, gasPrice: 1n, type: 'legacy' as const }
  for (const transaction of [TRANSACTION, { ...legacy, gas }]) {
    const sent = ethers.Transaction.from(await account.signTransaction(transaction as typeof TRANSACTION))
    expect(sent.from).toBe(account.address)
    expect(sent.value).toBe(transaction.value)
  }
})

test('viem verifies what a signer of ethers signs', async () => {
  const signer = new MinikmsSigner(await newKey('k256'))
  const address = (await signer.getAddress()) as viem.Address
  expect(
    await viem.verifyMessage({ address, message: 'hello', signature: (await signer.signMessage('hello')) as viem.Hex })
  ).toBe(true)
  const signature = (await signer.signTypedData(DOMAIN, TYPES, MAIL)) as viem.Hex
  expect(
    await viem.verifyTypedData({ address, domain: DOMAIN, types: TYPES, primaryType: 'Mail', message: MAIL, signature })
  ).toBe(true)
  const { gas, type, ...fields } = TRANSACTION
  const serialized = await signer.signTransaction({ ...fields, gasLimit: gas, type: 2, from: address })
  expect(await viem.recoverTransactionAddress({ serializedTransaction: serialized as `0x02${string}` })).toBe(address)
  await expect(signer.signTransaction({ ...fields, from: MAIL.to })).rejects.toThrow('another address')
  expect(signer.connect(null).address).toBe(address)
})

test('ethers verifies the authorization of an account of viem, also in a transaction (EIP-7702)', async () => {
  const account = viemAccount(await newKey('k256'))
  const client = viem.createWalletClient({ account, transport: viem.http('http://127.0.0.1:9') })
  for (const [chainId, nonce] of [
    [1, 7],
    [0, 0],
  ] as const) {
    const authorization = await client.signAuthorization({ contractAddress: MAIL.to, chainId, nonce })
    expect(authorization).toMatchObject({ address: MAIL.to, chainId, nonce })
    const { r, s, yParity } = authorization
    const signature = { r, s, yParity: yParity as 0 | 1 }
    expect(ethers.verifyAuthorization({ address: MAIL.to, chainId, nonce }, signature)).toBe(account.address)
    const { type, ...fields } = TRANSACTION
    const sent = await account.signTransaction({ ...fields, type: 'eip7702', authorizationList: [authorization] })
    const { from, authorizationList } = ethers.Transaction.from(sent)
    expect([from, authorizationList![0]!.address]).toEqual([account.address, MAIL.to])
  }
})

test('viem verifies the authorization of a signer of ethers, also in a transaction (EIP-7702)', async () => {
  const signer = new MinikmsSigner(await newKey('k256'))
  const made = await signer.authorize({ address: MAIL.to, chainId: 5, nonce: 3 })
  expect(made).toMatchObject({ address: MAIL.to, chainId: 5n, nonce: 3n })
  for (const address of [MAIL.to.toLowerCase(), { getAddress: async () => MAIL.to }]) {
    expect(await signer.authorize({ address, chainId: 5, nonce: 3 })).toMatchObject({ address: MAIL.to })
  }
  const { r, s, yParity } = made.signature
  const authorization = { address: MAIL.to, chainId: 5, nonce: 3, r: r as viem.Hex, s: s as viem.Hex, yParity }
  expect(await recoverAuthorizationAddress({ authorization })).toBe(signer.address)
  const { gas, type, ...fields } = TRANSACTION
  const sent = await signer.signTransaction({ ...fields, gasLimit: gas, type: 4, authorizationList: [made] })
  expect(viem.parseTransaction(sent as `0x04${string}`).authorizationList![0]).toMatchObject({ chainId: 5, nonce: 3 })
  await expect(signer.authorize({ address: MAIL.to, chainId: 5 })).rejects.toThrow('provider')
})

test('the larger s of a signature, which Ethereum refuses, becomes the smaller one', async () => {
  const key = await newKey('k256')
  const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n
  // The service makes the smaller one; the key of a provider may not.
  const sign: RemoteKey['sign'] = async (...call) => {
    const signature = viem.toHex(await key.sign(...call))
    return viem.toBytes(
      viem.concat([viem.slice(signature, 0, 32), viem.toHex(order - BigInt(viem.slice(signature, 32)), { size: 32 })])
    )
  }
  const account = viemAccount(Object.assign(Object.create(key), { sign }))
  for (const message of ['one', 'two', 'three', 'four']) {
    expect(await account.signMessage({ message })).toBe(await viemAccount(key).signMessage({ message }))
  }
})

test('a public key that is not the one of the key that signs is refused', async () => {
  const [one, other] = [await newKey('k256'), await newKey('k256')]
  const mixed = await kms.key({ kid: one.kid }, { jwk: other.publicJwk })
  await expect(viemAccount(mixed).signMessage({ message: 'hello' })).rejects.toThrow(InvalidSetting)
})

test('viem signs a digest that begins with zeros, and a transaction with blobs (EIP-4844)', async () => {
  const account = viemAccount(await newKey('k256'))
  for (const start of ['0', '00', '000', 'f']) {
    const hash = `0x${start.padEnd(64, '7')}` as const
    expect(await viem.recoverAddress({ hash, signature: await account.sign!({ hash }) })).toBe(account.address)
  }
  const serialized = await account.signTransaction({
    ...TRANSACTION,
    type: 'eip4844',
    maxFeePerBlobGas: 1n,
    blobVersionedHashes: [`0x01${'00'.repeat(31)}`],
    sidecars: [{ blob: '0x00', commitment: `0x${'00'.repeat(48)}`, proof: `0x${'00'.repeat(48)}` }],
  } as any)
  expect(viem.parseTransaction(serialized as `0x03${string}`)).toHaveProperty('sidecars')
  expect(await viem.recoverTransactionAddress({ serializedTransaction: serialized as `0x03${string}` })).toBe(account.address)
})

test('a signer of ethers keeps its key for another provider, which gives the chain of an authorization', async () => {
  const signer = new MinikmsSigner(await newKey('k256'))
  const provider = new ethers.JsonRpcProvider('http://127.0.0.1:9', 5, { staticNetwork: true })
  const connected = signer.connect(provider)
  expect([connected.provider, connected.address]).toEqual([provider, signer.address])
  expect(await connected.authorize({ address: MAIL.to, nonce: 1 })).toMatchObject({ chainId: 5n, nonce: 1n })
  provider.destroy()
})

test('a key of another curve has no account', async () => {
  const key = await newKey('p256')
  expect(() => viemAccount(key)).toThrow('secp256k1')
  expect(() => new MinikmsSigner(key)).toThrow('secp256k1')
})

/** A resolver of one DID, whose document has the key. */
function resolver(method: object) {
  const id = 'did:example:issuer'
  const verificationMethod = [{ id: `${id}#key`, controller: id, ...method }]
  const didDocument = { id, verificationMethod, assertionMethod: [`${id}#key`], authentication: [`${id}#key`] }
  return { resolve: async () => ({ didResolutionMetadata: {}, didDocument, didDocumentMetadata: {} }) } as any
}

test.each([
  ['k256', 'ES256K'],
  ['p256', 'ES256'],
  ['ed25519', 'EdDSA'],
])('did-jwt verifies what a %s key with rules signs, and one claim changed is refused', async (algorithm, alg) => {
  const issuer = 'did:example:issuer'
  const key = await newKey(algorithm, { rules: { jws: { typ: ['JWT'], claims: { iss: [issuer] } } } })
  const signer = didJwtSigner(key)
  const jwt = await createJWT({ sub: 'did:example:holder' }, { issuer, signer }, { alg })
  const verified = await verifyJWT(jwt, { resolver: resolver({ type: 'JsonWebKey2020', publicKeyJwk: key.publicJwk }) })
  expect(verified.payload.sub).toBe('did:example:holder')
  const [header, payload] = jwt.split('.') as [string, string]
  const sig = Buffer.from(await signer(new TextEncoder().encode(`${header}.${payload}`)), 'base64url')
  expect(await kms.verify(`${header}.${payload}`, sig, { kid: key.kid })).toBe(true)
  expect(await refusal(createJWT({}, { issuer: 'did:example:evil', signer }, { alg }))).toMatch(
    /^rule-violated: .*jws.claims.iss/
  )
})

test('did-jwt recovers the key of ES256K-R', async () => {
  const key = await newKey('k256')
  const signer = didJwtSigner(key, { recoverable: true })
  const { address } = viemAccount(key)
  for (let count = 0; count < 8; count++) {
    const jwt = await createJWT({ count }, { issuer: 'did:example:issuer', signer }, { alg: 'ES256K-R' })
    const method = { type: 'EcdsaSecp256k1RecoveryMethod2020', blockchainAccountId: `eip155:1:${address}` }
    expect((await verifyJWT(jwt, { resolver: resolver(method) })).payload.count).toBe(count)
  }
})

test('Veramo keeps its keys here: makes, lists, imports, signs, agrees and deletes', async () => {
  const name = `veramo-${crypto.randomUUID()}`
  await kms.createProfile(name)
  const veramo = new MinikmsKeyManagementSystem(kms.forProfile(name), { keccak256: viem.keccak256 })
  const input = (alg: string) => Buffer.from(`${Buffer.from(JSON.stringify({ alg })).toString('base64url')}.e30`)
  for (const [type, alg] of [
    ['Ed25519', 'EdDSA'],
    ['Secp256k1', 'ES256K'],
    ['Secp256r1', 'ES256'],
  ] as const) {
    const { kid, publicKeyHex, meta } = await veramo.createKey({ type })
    expect(meta.algorithms).toContain(alg)
    for (const data of [input(alg), Buffer.from('other bytes')]) {
      const sig = Buffer.from(await veramo.sign({ keyRef: { kid }, algorithm: alg, data }), 'base64url')
      expect(await kms.forProfile(name).verify(data, sig, { kid })).toBe(true)
    }
    if (type === 'Secp256k1') {
      const address = viem.getAddress(ethers.computeAddress(`0x${publicKeyHex}`))
      const signature = await veramo.sign({ keyRef: { kid }, algorithm: 'eth_signMessage', data: Buffer.from('hello') })
      expect(ethers.verifyMessage('hello', signature)).toBe(address)
      const raw = await veramo.sign({ keyRef: { kid }, algorithm: 'eth_rawSign', data: Buffer.alloc(32, 1) })
      expect(ethers.recoverAddress(Buffer.alloc(32, 1), raw)).toBe(address)
      expect(
        Buffer.from(await veramo.sign({ keyRef: { kid }, algorithm: 'ES256K-R', data: input(alg) }), 'base64url')
      ).toHaveLength(65)
    }
  }
  const [one, two] = [
    await veramo.createKey({ type: 'X25519', kid: 'one' }),
    await veramo.createKey({ type: 'X25519', kid: 'two' }),
  ]
  const secret = (mine: typeof one, theirs: typeof one) => veramo.sharedSecret({ myKeyRef: mine, theirKey: theirs })
  expect(await secret(one, two)).toBe(await secret(two, one))
  const ed25519 = await veramo.createKey({ type: 'Ed25519', kid: 'three' })
  await expect(secret(one, ed25519)).rejects.toThrow('X25519')
  expect(await veramo.deleteKey(ed25519)).toBe(true)
  const pair = ethers.Wallet.createRandom()
  const imported = await veramo.importKey({ type: 'Secp256k1', privateKeyHex: pair.privateKey.slice(2), kid: 'imported' })
  expect(`0x${imported.publicKeyHex}`).toBe(pair.signingKey.publicKey)
  const listed = await veramo.listKeys()
  expect(listed.length).toBe(6)
  expect(listed).toContainEqual(imported)
  expect(await veramo.deleteKey({ kid: 'imported' })).toBe(true)
  expect(await veramo.deleteKey({ kid: 'imported' })).toBe(false)
  await expect(veramo.createKey({ type: 'Bls12381G1' })).rejects.toThrow('Bls12381G1')
  await kms.deleteProfile(name)
})

test('Veramo has typed data signed, and ethers verifies it (EIP-712)', async () => {
  const manager = new KeyManager({
    store: new MemoryKeyStore(),
    kms: { minikms: new MinikmsKeyManagementSystem(kms, { hashTypedData: viem.hashTypedData }) },
  })
  const { kid, publicKeyHex, meta } = await manager.keyManagerCreate({ kms: 'minikms', type: 'Secp256k1' })
  expect(meta!.algorithms).toContain('eth_signTypedData')
  const data = JSON.stringify({ domain: DOMAIN, types: TYPES, message: MAIL, primaryType: 'Mail' })
  for (const algorithm of ['eth_signTypedData', 'EthereumEip712Signature2021']) {
    const signature = await manager.keyManagerSign({ keyRef: kid, algorithm, data })
    expect(ethers.verifyTypedData(DOMAIN, TYPES, MAIL, signature)).toBe(ethers.computeAddress(`0x${publicKeyHex}`))
  }
  const hashTypedData = ({ domain, types, message }: any) => ethers.getBytes(ethers.TypedDataEncoder.hash(domain, types, message))
  const sign = (options?: ConstructorParameters<typeof MinikmsKeyManagementSystem>[1]) =>
    new MinikmsKeyManagementSystem(kms, options).sign({
      keyRef: { kid },
      algorithm: 'eth_signTypedData',
      data: Buffer.from(data),
    })
  expect(ethers.verifyTypedData(DOMAIN, TYPES, MAIL, await sign({ hashTypedData }))).toBe(
    ethers.computeAddress(`0x${publicKeyHex}`)
  )
  await expect(sign()).rejects.toThrow('hashTypedData')
})

test('Veramo finds its keys by the same kids after they have other aliases, or lost them', async () => {
  const name = `veramo-${crypto.randomUUID()}`
  await kms.createProfile(name)
  const own = kms.forProfile(name)
  const veramo = new MinikmsKeyManagementSystem(own)
  const [plain, named] = [await veramo.createKey({ type: 'Ed25519' }), await veramo.createKey({ type: 'Ed25519', kid: 'named' })]
  const { privateKey } = ethers.Wallet.createRandom()
  const imported = await veramo.importKey({ type: 'Secp256k1', privateKeyHex: privateKey.slice(2) })
  for (const { kid } of [plain, imported]) await own.associateAlias(`a-${kid}`, { kid })
  await own.associateAlias('a', await own.getKey({ alias: 'named' }))
  expect((await veramo.listKeys()).map(({ kid }) => kid).sort()).toEqual([plain.kid, 'named', imported.kid].sort())
  const { kid } = await own.getKey({ alias: 'named' })
  await own.dissociateAlias('named', { kid })
  expect((await veramo.listKeys()).map(({ kid }) => kid)).toContain(kid)
  const elsewhere = await own.generateKey('ed25519', { alias: 'elsewhere' })
  await own.associateAlias('b', { kid: elsewhere.kid })
  expect((await veramo.listKeys()).map(({ kid }) => kid)).toContain('elsewhere')
  await kms.deleteProfile(name)
})

test("Veramo's keys have the form of its own: a secret of Ed25519 with its public key, and compressed points of P-256", async () => {
  const veramo = new MinikmsKeyManagementSystem(kms)
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const [x, d] = [publicKey.export({ format: 'jwk' }).x!, privateKey.export({ format: 'jwk' }).d!]
  const [own, secret] = [x, d].map((text) => Buffer.from(text, 'base64url').toString('hex'))
  expect(await veramo.importKey({ type: 'Ed25519', privateKeyHex: `${secret}${own}` })).toMatchObject({ publicKeyHex: own })
  for (let count = 0; count < 8; count++) {
    const { kid, publicKeyHex } = await veramo.createKey({ type: 'Secp256r1' })
    const { x, y } = (await kms.key({ kid })).publicJwk
    const point = Buffer.concat([Buffer.of(4), Buffer.from(x!, 'base64url'), Buffer.from(y!, 'base64url')])
    expect(publicKeyHex).toBe(ECDH.convertKey(point, 'prime256v1', undefined, 'hex', 'compressed'))
  }
})
