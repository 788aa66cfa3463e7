import { createHash } from 'node:crypto'
import { EventEmitter } from 'node:events'

import { Agent, DidsModule, JwkDidRegistrar, JwkDidResolver, Kms } from '@credo-ts/core'
import { importJWK, type JWK, jwtVerify } from 'jose'

import { MinikmsKeyManagementService } from '@minikms/credo'

import { records } from './records.js'

const minikms = await MinikmsKeyManagementService.connect({
  url: process.env.MINIKMS_URL ?? 'http://127.0.0.1:8080',
  token: process.env.MINIKMS_TOKEN,
})
const agent = new Agent({
  config: {},
  dependencies: { FileSystem: class {}, EventEmitterClass: EventEmitter, fetch, WebSocketClass: class {} } as any,
  modules: {
    keyManagement: new Kms.KeyManagementModule({ backends: [minikms], defaultBackend: minikms.backend }),
    dids: new DidsModule({ registrars: [new JwkDidRegistrar()], resolvers: [new JwkDidResolver()] }),
    records,
  },
})
await agent.initialize()

// DIDs with new keys in Mini KMS.
const createKey = { type: { kty: 'EC', crv: 'P-256' } } as const
const newDid = async () => (await agent.dids.create({ method: 'jwk', options: { createKey } })).didState.did!
const [issuer, holder] = [await newDid(), await newDid()]
console.log(`The issuer is ${issuer}`)

// The agent issues an SD-JWT VC, and presents one of its two claims to a verifier.
const { compact } = await agent.sdJwtVc.sign({
  payload: { vct: 'https://issuer.example/degree', degree: 'BSc', name: 'Erika' },
  disclosureFrame: { _sd: ['degree', 'name'] },
  issuer: { method: 'did', didUrl: `${issuer}#0` },
  holder: { method: 'did', didUrl: `${holder}#0` },
})
const audience = 'https://verifier.example'
const nonce = crypto.randomUUID()
const presentation = await agent.sdJwtVc.present({
  sdJwtVc: compact,
  presentationFrame: { degree: true },
  verifierMetadata: { audience, nonce, issuedAt: Math.floor(Date.now() / 1000) },
})
await agent.shutdown()

// The verifier has jose alone; it finds the keys in the did:jwk of the issuer, whom it trusts, and of the holder.
const keyOf = (did: string) => importJWK(JSON.parse(Buffer.from(did.split(/[:#]/)[2]!, 'base64url').toString()) as JWK, 'ES256')
const hash = (text: string) => createHash('sha256').update(text).digest('base64url')
const [jwt, disclosure, binding] = presentation.split('~') as [string, string, string]
const { payload } = await jwtVerify<any>(jwt, await keyOf(issuer), { typ: 'dc+sd-jwt' })
const kb = await jwtVerify(binding, await keyOf(payload.cnf.kid), { typ: 'kb+jwt', audience })
const isBound = kb.payload.nonce === nonce && kb.payload.sd_hash === hash(`${jwt}~${disclosure}~`)
if (!isBound || !payload._sd.includes(hash(disclosure))) throw new Error('The presentation is not valid.')
const [, name, value] = JSON.parse(Buffer.from(disclosure, 'base64url').toString())
console.log(`Verified by jose: ${name} ${value}, with key binding.`)
