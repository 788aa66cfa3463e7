import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

import { Minikms } from '../client.js'

export interface StartOptions {
  /** The command and its arguments; by default MINIKMS_COMMAND, then `minikms` of the PATH, then uvx. */
  command?: string[]
  /** More arguments of `minikms serve`. */
  args?: string[]
  /** The time limit of the start in milliseconds, by default 60,000. */
  timeout?: number
}

/** A service for tests. */
export interface StartedMinikms {
  url: string
  pid: number
  /** A client of the service. The default profile is there; call `createProfile` for another one. */
  client(profile?: string): Minikms
  /** End the service. It also ends when the process that started it exits, but not if a signal ends that process. */
  stop(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Start a service on a free port of 127.0.0.1, with keys in memory and without tokens; its MINIKMS_ variables are not the caller's. */
export async function startMinikms({ command, args = [], timeout = 60_000 }: StartOptions = {}): Promise<StartedMinikms> {
  const given = command ?? process.env.MINIKMS_COMMAND?.trim().split(/\s+/)
  const commands = given ? [given] : [['minikms'], ['uvx', '--from', 'minikms-server', 'minikms']]
  let service: ChildProcess | undefined
  for (const [program, ...before] of commands) {
    service = await spawned(program!, [...before, 'serve', '--port', '0', '--shutdown-grace', '0', ...args])
    if (service) break
  }
  if (!service)
    throw new Error(
      `There is no command ${commands.map(([program]) => program).join(' or ')}: install Mini KMS, or set MINIKMS_COMMAND.`
    )
  const kill = () => service.kill('SIGKILL')
  process.once('exit', kill)
  const stop = async () => {
    process.off('exit', kill)
    if (service.exitCode !== null || service.signalCode !== null) return
    // Without this, Node would end before the service has.
    service.ref()
    service.kill('SIGTERM')
    const late = setTimeout(kill, 10_000)
    await once(service, 'exit')
    clearTimeout(late)
  }
  const url = await listening(service, timeout).catch(async (error) => {
    await stop()
    throw error
  })
  return {
    url,
    pid: service.pid!,
    client: (profile = '') => new Minikms({ url, token: '', profile }),
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

/** Start a command; undefined if there is none of its name. */
async function spawned(program: string, args: string[]): Promise<ChildProcess | undefined> {
  const variables = Object.entries(process.env).filter(([name]) => !name.startsWith('MINIKMS_'))
  const child = spawn(program, args, { env: Object.fromEntries(variables), stdio: ['ignore', 'ignore', 'pipe'] })
  const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
    child.once('spawn', () => resolve(undefined))
    child.once('error', resolve)
  })
  if (error && error.code !== 'ENOENT') throw error
  return error ? undefined : child
}

/** Read the URL of a service from its log; then the service does not keep Node from ending. */
async function listening(service: ChildProcess, timeout: number): Promise<string> {
  const log = service.stderr!
  const late = setTimeout(() => log.destroy(), timeout)
  const written: string[] = []
  for await (const line of createInterface({ input: log })) {
    written.push(line)
    const url = /listening on (https?:\/\/[^\s,]+)/.exec(line)?.[1]
    if (!url) continue
    clearTimeout(late)
    log.resume()
    service.unref()
    ;(log as unknown as { unref(): void }).unref()
    return url
  }
  clearTimeout(late)
  throw new Error(`The service did not start:\n${written.join('\n')}`)
}
