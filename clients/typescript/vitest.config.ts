import { fileURLToPath } from 'node:url'

import { defineConfig } from 'vitest/config'

const source = fileURLToPath(new URL('src', import.meta.url))

export default defineConfig({
  resolve: {
    alias: [
      { find: /^@minikms\/client$/, replacement: `${source}/index.ts` },
      { find: '@minikms/client/testing', replacement: `${source}/testing/index.ts` },
      { find: /^@minikms\/client\/(.*)$/, replacement: `${source}/$1.ts` },
    ],
  },
  test: {
    globalSetup: './src/testing/vitest.ts',
    // With NODE_ENV `test`, which vitest sets, didwebvh-ts writes its logs to files.
    env: { NODE_ENV: 'development' },
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
  },
})
