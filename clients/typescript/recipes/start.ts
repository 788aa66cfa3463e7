import { isProblem, Minikms } from '@minikms/client'

const kms = new Minikms() // or: { url: 'http://127.0.0.1:8080', token: () => process.env.MY_TOKEN }
const { kid } = await kms.generateKey('ed25519', { alias: 'did:example:123#key-1' })
const { sig } = await kms.sign('hello', { alias: 'did:example:123#key-1' })
console.log(await kms.verify('hello', sig, { kid })) // true
for await (const key of kms.keys({ alias: 'did:example:123#key-1' })) {
  console.log(key.alg, key.aliases) // ed25519 did:example:123#key-1
}
try {
  await kms.getKey({ alias: 'did:example:123#key-2' })
} catch (error) {
  console.log(isProblem(error, 'alias-not-found')) // true
}
