import { generateKeyPairSync, sign } from 'node:crypto'
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

// The service accepts a token for so many seconds after its end, since clocks differ.
const LEEWAY = 30

/** A program whose token Kubernetes renews in a file, and the issuer of its tokens. */
export interface Pod {
  /** The file with its token. */
  file: string
  /** The arguments of a service that knows the issuer. */
  args: string[]
  /** Renew the token by one that the service accepts for these seconds; returns it. */
  renew(seconds: number): Promise<string>
  /** Replace the content of the file. */
  put(content: string): Promise<void>
  remove(): Promise<void>
}

/** Make a pod without a token, for a service on this machine. */
export async function newPod(): Promise<Pod> {
  const folder = await mkdtemp(join(tmpdir(), 'minikms-pod-'))
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const [jwks, roles] = [join(folder, 'jwks.json'), join(folder, 'roles.toml')]
  await writeFile(jwks, JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'one' }] }))
  await writeFile(
    roles,
    `
    [issuers.cluster]
    issuer = "https://cluster.example"
    audience = "https://kms.example"
    jwks = ${JSON.stringify(jwks)}

    [roles.pod]
    issuer = "cluster"
    claims = { sub = ["system:serviceaccount:shop:issuer"] }
    scopes = ["keys:read", "keys:write", "sign"]
    profiles = ["default"]
    `
  )
  let count = 0

  function token(seconds: number): string {
    const now = Math.floor(Date.now() / 1000)
    const claims = {
      ...{ iss: 'https://cluster.example', aud: ['https://kms.example'], sub: 'system:serviceaccount:shop:issuer' },
      ...{ iat: now, exp: now + seconds - LEEWAY, jti: `${++count}` },
    }
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const input = `${part({ alg: 'EdDSA', kid: 'one' })}.${part(claims)}`
    return `${input}.${sign(null, Buffer.from(input), privateKey).toString('base64url')}`
  }

  /** As the kubelet does: the file is in a folder behind a symbolic link, which is replaced at once. */
  async function put(content: string): Promise<void> {
    const version = `..version-${++count}`
    await mkdir(join(folder, version))
    await writeFile(join(folder, version, 'token'), content)
    await symlink(version, join(folder, '..next'))
    await rename(join(folder, '..next'), join(folder, '..data'))
  }

  await symlink(join('..data', 'token'), join(folder, 'token'))
  return {
    file: join(folder, 'token'),
    args: ['--auth', 'token', '--roles', roles],
    async renew(seconds) {
      const made = token(seconds)
      await put(made)
      return made
    },
    put,
    remove: () => rm(folder, { recursive: true }),
  }
}
