import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

import { build } from 'esbuild'
import { expect, test } from 'vitest'

import { KeyNotFound, Unreachable } from '@minikms/client'
import { startMinikms } from '@minikms/client/testing'

const isRunning = (pid: number) => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

test('a service starts without tokens, has clients for its profiles, and ends', async () => {
  const service = await startMinikms()
  const client = service.client()
  await client.createProfile('other')
  const { kid } = await client.generateKey('p256')
  await expect(service.client('other').getKey({ kid })).rejects.toThrow(KeyNotFound)
  await service.stop()
  expect(isRunning(service.pid)).toBe(false)
  await service.stop()
  await expect(new (client.constructor as any)({ url: service.url, retries: 0 }).healthz()).rejects.toThrow(Unreachable)
})

test('a service takes arguments, and ends with its block', async () => {
  let pid: number
  {
    await using service = await startMinikms({ args: ['--max-body', '65536'] })
    pid = service.pid
    await expect(service.client().sign('x'.repeat(70_000), { kid: 'any' })).rejects.toMatchObject({ slug: 'body-too-large' })
  }
  expect(isRunning(pid)).toBe(false)
})

test('a service that does not start is an error with its output', async () => {
  await expect(startMinikms({ args: ['--no-such-option'] })).rejects.toThrow('no-such-option')
  await expect(startMinikms({ command: ['no-such-command'] })).rejects.toThrow('no-such-command')
  await expect(startMinikms({ command: ['sleep', '60'], timeout: 100 })).rejects.toThrow()
})

/** Run a program that uses the package, and return its exit code and output. */
async function run(body: string): Promise<{ code: number; output: string }> {
  const { outputFiles } = await build({
    stdin: { contents: body, resolveDir: fileURLToPath(new URL('../src', import.meta.url)) },
    ...{ bundle: true, write: false, format: 'esm', platform: 'node', target: 'node20' },
  })
  const child = spawn(process.execPath, ['--input-type=module', '--eval', outputFiles[0]!.text], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.on('data', (data) => (output += data))
  const [code] = await once(child, 'close')
  return { code, output: output.trim() }
}

test('Node waits for stop, and prints what comes behind it', async () => {
  const { code, output } = await run(`
    import { startMinikms } from './testing/index.ts'
    const service = await startMinikms()
    await service.stop()
    console.log('stopped')
  `)
  expect({ code, output }).toEqual({ code: 0, output: 'stopped' })
})

test('a forgotten service does not keep Node from ending, and ends with it', async () => {
  const { code, output } = await run(`
    import { startMinikms } from './testing/index.ts'
    console.log((await startMinikms()).pid)
  `)
  expect(code).toBe(0)
  await expect.poll(() => isRunning(Number(output)), { timeout: 10_000 }).toBe(false)
})
