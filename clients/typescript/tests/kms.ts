import { Minikms, type RemoteKey } from '@minikms/client'

/** A client of the service of all tests. */
export const kms = new Minikms()

/** A new key. */
export async function newKey(...[alg, options]: Parameters<Minikms['generateKey']>): Promise<RemoteKey> {
  return kms.key({ kid: (await kms.generateKey(alg, options)).kid })
}

export const HOUR = 3600

export function inSeconds(seconds: number): number {
  return Math.floor(Date.now() / 1000) + seconds
}

/** The slug and the rule of the refusal of a call. */
export async function refusal(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => 'no refusal',
    ({ slug, detail }) => `${slug}: ${detail}`
  )
}
