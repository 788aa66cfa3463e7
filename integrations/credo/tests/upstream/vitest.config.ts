// Runs the tests that Credo has of its own backends: CREDO_TS is where its repository is checked out.
import { fileURLToPath } from 'node:url'

import { defineConfig } from 'vitest/config'

const root = process.env.CREDO_TS
if (!root) throw new Error('CREDO_TS has to name a checkout of credo-ts.')

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const REPLACED =
  /(\/(Node|Askar)KeyManagementService|\/core\/tests|\/NodeFileSystem|\/AskarModuleConfig|\/AskarStoreManager|askar-shared)$/

export default defineConfig({
  root,
  resolve: { tsconfigPaths: true, alias: { '@credo-ts/core': here('../../node_modules/@credo-ts/core') } },
  plugins: [
    {
      name: 'stand-in',
      enforce: 'pre',
      resolveId: (source) => (REPLACED.test(source) ? here('stand_in.ts') : undefined),
    },
  ],
  test: {
    include: ['packages/{node,askar}/src/kms/__tests__/*.test.ts'],
    globals: true,
    globalSetup: here('../server.ts'),
    testTimeout: 60_000,
  },
})
