import { EventEmitter } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

import {
  Agent,
  type AgentDependencies,
  type DependencyManager,
  DidsModule,
  InjectionSymbols,
  JwkDidRegistrar,
  JwkDidResolver,
  KeyDidRegistrar,
  KeyDidResolver,
  Kms,
  type ModulesMap,
  PeerDidRegistrar,
  PeerDidResolver,
} from '@credo-ts/core'
import { DidCommHttpOutboundTransport, DidCommMessageReceiver, DidCommModule } from '@credo-ts/didcomm'
import { onTestFinished } from 'vitest'

import { newKms, send } from './kms.js'
import { MemoryStorage } from './storage.js'

class NoFiles {
  public readonly dataPath = '/nowhere'
  public readonly cachePath = '/nowhere'
  public readonly tempPath = '/nowhere'
}

const dependencies = {
  FileSystem: NoFiles,
  EventEmitterClass: EventEmitter,
  fetch,
  WebSocketClass: class {},
} as unknown as AgentDependencies

/** An agent whose keys are in Mini KMS alone, and whose messages come over HTTP; it goes with the test. */
export async function newAgent<More extends ModulesMap = {}>(label: string, more: More = {} as More) {
  const { kms, profile, url } = await newKms()
  const server = await listen()
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const storage = new MemoryStorage()
  const agent = new Agent({
    config: { allowInsecureHttpUrls: true },
    dependencies,
    modules: {
      storage: { register: (manager: DependencyManager) => manager.registerInstance(InjectionSymbols.StorageService, storage) },
      keyManagement: new Kms.KeyManagementModule({ backends: [kms], defaultBackend: kms.backend }),
      dids: new DidsModule({
        registrars: [new KeyDidRegistrar(), new JwkDidRegistrar(), new PeerDidRegistrar()],
        resolvers: [new KeyDidResolver(), new JwkDidResolver(), new PeerDidResolver()],
      }),
      didcomm: new DidCommModule({
        endpoints: [endpoint],
        transports: { outbound: [new DidCommHttpOutboundTransport()] },
        connections: { autoAcceptConnections: true },
      }),
      ...more,
    },
  })
  await agent.initialize()
  server.on('request', (request, response) => {
    let body = ''
    request.on('data', (part) => (body += part))
    request.on('end', () => {
      response.end()
      const receiver = agent.context.dependencyManager.resolve(DidCommMessageReceiver)
      receiver.receiveMessage(JSON.parse(body)).catch((error: unknown) => console.error(error))
    })
  })
  onTestFinished(async () => {
    await agent.shutdown()
    server.close()
    server.closeAllConnections()
  })
  const call = (method: string, path: string, body: object) => send(method, url, path, body, profile)
  return { agent, storage, call, label }
}

export type TestAgent = Awaited<ReturnType<typeof newAgent<{}>>>['agent']

/** The public key of a new key of an agent, with its keyId. */
export async function publicKey(
  agent: Pick<TestAgent, 'kms'>,
  type: Kms.KmsCreateKeyTypeAssymetric
): Promise<Kms.PublicJwk<any>> {
  const { publicJwk } = await agent.kms.createKey({ type })
  return Kms.PublicJwk.fromPublicJwk(publicJwk as any)
}

/** A validity for certificates, from a minute ago to an hour from now. */
export const validity = () => ({ notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 3_600_000) })

/** A server of a free port. */
export async function listen(): Promise<Server> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}
