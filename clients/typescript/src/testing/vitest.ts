import { startMinikms } from './index.js'

declare module 'vitest' {
  export interface ProvidedContext {
    minikmsUrl: string
  }
}

/**
 * Start one service for all tests: `globalSetup: '@minikms/client/testing/vitest'` in the configuration of vitest. In tests,
 * `new Minikms()` calls it, and `inject('minikmsUrl')` is its URL.
 */
export default async function setup(project: { provide(name: 'minikmsUrl', url: string): void }): Promise<() => Promise<void>> {
  const service = await startMinikms()
  project.provide('minikmsUrl', service.url)
  // Processes of tests inherit these.
  Object.assign(process.env, { MINIKMS_URL: service.url, MINIKMS_TOKEN: '', MINIKMS_PROFILE: '' })
  return () => service.stop()
}
