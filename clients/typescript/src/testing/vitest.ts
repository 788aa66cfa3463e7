import { startMinikms } from './index.js'

/**
 * Start one service for all tests: `globalSetup: '@minikms/client/testing/vitest'` in the configuration of vitest. In tests,
 * `new Minikms()` calls it.
 */
export default async function setup(): Promise<() => Promise<void>> {
  const service = await startMinikms()
  // Processes of tests inherit these.
  Object.assign(process.env, { MINIKMS_URL: service.url, MINIKMS_TOKEN: '', MINIKMS_TOKEN_FILE: '', MINIKMS_PROFILE: '' })
  return () => service.stop()
}
