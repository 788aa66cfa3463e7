import { readFile } from 'node:fs/promises'

import { ProblemError } from '@minikms/client'
import * as everything from '@minikms/client'
import { build } from 'esbuild'
import { expect, test } from 'vitest'

import { generated } from '../scripts/generate.js'
import { operations } from '../src/operations.js'
import { kms } from './kms.js'

const source = (name: string) => new URL(`../src/${name}`, import.meta.url)

test('the generated files are those of the document of the service', async () => {
  for (const [name, text] of Object.entries(await generated(await kms.openapi()))) {
    expect(await readFile(source(name), 'utf8'), `${name}: npm run generate`).toBe(text)
  }
})

test('every operation has a method', async () => {
  const document = await kms.openapi()
  const ids = Object.values(document.paths as object).flatMap((methods) =>
    Object.values(methods as object).flatMap(({ operationId }) => operationId ?? [])
  )
  expect(ids.length).toBeGreaterThan(60)
  expect(ids.filter((id) => typeof kms[id as 'sign'] !== 'function')).toEqual([])
  expect(Object.keys(operations)).toEqual(ids)
})

test('every slug has a class of its own name, below the class of its status', async () => {
  const document: any = await kms.openapi()
  const slugs: string[] = document.components.schemas.ProblemType.enum.map((type: string) => type.split(':').at(-1))
  const { problemOf } = await import('../src/errors.js')
  for (const slug of slugs) {
    const error = problemOf({ type: `urn:minikms:problem:${slug}`, status: 400, title: 'T', detail: 'D' } as any, new Headers())
    const name = slug.replace(/(^|-)(.)/g, (_, __, letter) => letter.toUpperCase())
    expect(error).toBeInstanceOf(everything[name as 'KeyNotFound'])
    expect(error.slug).toBe(slug)
  }
  expect(slugs.length).toBeGreaterThan(40)
})

test('a slug of a later service has the class of its status', async () => {
  const { problemOf } = await import('../src/errors.js')
  const later = (status: number) =>
    problemOf({ type: 'urn:minikms:problem:new-one', status, title: 'T', detail: 'D' } as any, new Headers())
  expect(later(404)).toBeInstanceOf(everything.NotFound)
  expect(later(418).constructor).toBe(ProblemError)
})

test('the core is bundled for browsers, and has at most 14 KiB minified', async () => {
  const { outputFiles } = await build({
    stdin: { contents: "export { Minikms } from './index.ts'", resolveDir: source('').pathname },
    ...{ bundle: true, minify: true, splitting: true, write: false, format: 'esm', outdir: '/', platform: 'browser' },
  })
  // What a program loads at once: `key` with a JWK loads more.
  const core = outputFiles.filter(({ path }) => !path.includes('public'))
  expect(core.reduce((sum, { contents }) => sum + contents.length, 0)).toBeLessThanOrEqual(14 * 1024)
  expect(core.map(({ text }) => text).join()).not.toMatch(/import\W+node:/)
})
