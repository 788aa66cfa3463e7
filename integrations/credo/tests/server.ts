import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  export interface ProvidedContext {
    url: string
  }
}

/** Start a real Mini KMS for all tests: `minikms` of the PATH, or the command that MINIKMS_COMMAND names. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const command = process.env.MINIKMS_COMMAND ?? 'minikms'
  const variables = Object.entries(process.env).filter(([name]) => !name.startsWith('MINIKMS_'))
  const server = spawn(command, ['serve', '--port', '0', '--shutdown-grace', '0'], {
    env: Object.fromEntries(variables),
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  project.provide('url', await listening(server))
  return async () => {
    server.kill('SIGTERM')
    await once(server, 'exit')
  }
}

async function listening(server: ChildProcess): Promise<string> {
  if (!server.stderr) throw new Error('The server has no log.')
  const failed = once(server, 'error').then(([error]) => Promise.reject(error))
  const found = (async () => {
    const written = []
    for await (const line of createInterface({ input: server.stderr! })) {
      written.push(line)
      const url = /listening on (http:\/\/[^\s,]+)/.exec(line)?.[1]
      if (url) {
        server.stderr!.resume()
        return url
      }
    }
    throw new Error(`The server did not start:\n${written.join('\n')}`)
  })()
  return Promise.race([found, failed])
}
