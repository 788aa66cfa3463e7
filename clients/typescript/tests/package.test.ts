import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { afterAll, beforeAll, expect, test } from 'vitest'

const run = promisify(execFile)
const root = fileURLToPath(new URL('..', import.meta.url))

const { exports, version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
const subpaths = Object.keys(exports).filter((name) => name !== './package.json')

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'minikms-client-'))
  await run('npm', ['run', 'build'], { cwd: root })
  await run('npm', ['pack', '--silent', '--pack-destination', folder], { cwd: root })
  await writeFile(join(folder, 'package.json'), '{"type": "module", "private": true}')
  await run('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', `./minikms-client-${version}.tgz`], { cwd: folder })
}, 300_000)
afterAll(() => rm(folder, { recursive: true, force: true }))

test('the package installs nothing else', async () => {
  const { stdout } = await run('npm', ['ls', '--all', '--parseable'], { cwd: folder })
  expect(stdout.trim().split('\n').length).toBe(2)
})

test.each(subpaths.filter((name) => !['./viem', './ethers'].includes(name)))('%s is imported in a fresh folder', async (name) => {
  const { stdout } = await run(
    'node',
    ['-p', `import('@minikms/client${name.slice(1)}').then((module) => Object.keys(module).length > 0).then(console.log), 1`],
    { cwd: folder }
  )
  expect(stdout).toContain('true')
})

test('viem and ethers are imported where they are installed, and each subpath has types under nodenext and bundler', async () => {
  const wanted = ['viem', 'ethers', '@types/node', 'typescript']
  await run(
    'npm',
    ['install', '--no-audit', '--no-fund', '--no-save', '--ignore-scripts', ...(await Promise.all(wanted.map(exact)))],
    { cwd: folder }
  )
  for (const name of ['viem', 'ethers'])
    await run('node', ['-e', `await import('@minikms/client/${name}')`, '--input-type=module'], { cwd: folder })
  const imports = subpaths.map(
    (name, at) => `import * as m${at} from '@minikms/client${name.slice(1)}'\nexport const k${at}: object = m${at}\n`
  )
  await writeFile(join(folder, 'types.ts'), imports.join(''))
  for (const module of ['nodenext', 'esnext']) {
    const resolution = module === 'esnext' ? 'bundler' : 'nodenext'
    const options = [
      '--noEmit',
      '--strict',
      '--target',
      'es2022',
      '--module',
      module,
      '--moduleResolution',
      resolution,
      '--types',
      'node',
    ]
    await run(join(folder, 'node_modules/.bin/tsc'), [...options, '--skipLibCheck', 'types.ts'], { cwd: folder }).catch(
      ({ stdout }) => {
        throw new Error(stdout)
      }
    )
  }
}, 300_000)

async function exact(name: string): Promise<string> {
  const { version } = JSON.parse(await readFile(join(root, 'node_modules', name, 'package.json'), 'utf8'))
  return `${name}@${version}`
}
