import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  export interface ProvidedContext {
    url: string
  }
}

const SAMPLE_PROVIDER = fileURLToPath(new URL('../../../tests/sample_provider', import.meta.url))

/**
 * Start a real Mini KMS for all tests: `minikms` of the PATH, or the command that MINIKMS_COMMAND names. Its provider
 * `hsm` is the sample of Mini KMS's own tests.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const command = process.env.MINIKMS_COMMAND ?? 'minikms'
  const variables = Object.entries(process.env).filter(([name]) => !name.startsWith('MINIKMS_'))
  const folder = await mkdtemp(join(tmpdir(), 'minikms-credo-'))
  await installSampleProvider(folder)
  const path = [folder, SAMPLE_PROVIDER, ...(process.env.PYTHONPATH?.split(delimiter) ?? [])].join(delimiter)
  const server = spawn(command, ['serve', '--port', '0', '--shutdown-grace', '0', '--provider', `hsm=files:${folder}`], {
    env: { ...Object.fromEntries(variables), PYTHONPATH: path },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  project.provide('url', await listening(server))
  return async () => {
    server.kill('SIGTERM')
    await once(server, 'exit')
    await rm(folder, { recursive: true })
  }
}

/** Leave what pip leaves of the sample provider. */
async function installSampleProvider(folder: string): Promise<void> {
  const info = join(folder, 'minikms_files-1.0.0.dist-info')
  await mkdir(info)
  await writeFile(join(info, 'METADATA'), 'Metadata-Version: 2.1\nName: minikms-files\nVersion: 1\n')
  await writeFile(join(info, 'entry_points.txt'), '[minikms.providers]\nfiles = minikms_files:FilesProvider\n')
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
