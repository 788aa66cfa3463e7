import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

import { beforeAll, expect, inject, it } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))

const node = (...args: string[]) => execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8' })

beforeAll(() => {
  execFileSync('npm', ['run', 'build', '--silent'], { cwd: root })
}, 180_000)

const NAME = 'console.log(MinikmsKeyManagementService.name)'

it('is required as CommonJS', () => {
  const program = `const { MinikmsKeyManagementService } = require('@minikms/credo'); ${NAME}`
  expect(node('--input-type=commonjs', '-e', program).trim()).toBe('MinikmsKeyManagementService')
})

it('is imported as an ES module, and works as its README says', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  const [, program] = /```js\n(.*?)```/s.exec(readme)!
  // What a reader has for records and files has a native library, which does not come from npm: without it here.
  const replaced = program!
    .replace("import { agentDependencies } from '@credo-ts/node'\n", "import { agentDependencies, records } from './tests/without_files.js'\n")
    .replace(/^import .* from '@(credo-ts\/askar|openwallet-foundation\/askar-nodejs)'\n/gm, '')
    .replace(/^ +askar: new AskarModule\(.*\),\n/m, '    askar: records,\n')
    .replace('http://127.0.0.1:8080', inject('url'))
  expect(node('--input-type=module', '-e', replaced + NAME)).toMatch(
    /^did:key:z6Mk\S+\nsignature of 64 bytes\nMinikmsKeyManagementService\n$/
  )
})
