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
  test: { globalSetup: './src/testing/vitest.ts', testTimeout: 60_000, hookTimeout: 60_000, maxWorkers: 2 },
})
