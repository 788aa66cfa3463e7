import { readFile } from 'node:fs/promises'

import { ProblemError } from '@minikms/client'
import * as everything from '@minikms/client'
import { build } from 'esbuild'
import ts from 'typescript'
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
    expect(error).toBeInstanceOf(everything[classOf(slug) as 'KeyNotFound'])
    expect(error.slug).toBe(slug)
  }
  expect(slugs.length).toBeGreaterThan(40)
})

test('a slug of a later service has the class of its status', async () => {
  const { problemOf } = await import('../src/errors.js')
  const later = (status: number) =>
    problemOf({ type: 'urn:minikms:problem:new-one', status, title: 'T', detail: 'D' } as any, new Headers())
  const { NotFound, Conflict, Invalid, Unavailable } = everything
  const classes = [404, 409, 422, 503].map((status) => later(status).constructor)
  expect(classes).toEqual([NotFound, Conflict, Invalid, Unavailable])
  expect(later(418).constructor).toBe(ProblemError)
})

test('a slug or status that names a member of every object is an error like others', async () => {
  const { problemOf } = await import('../src/errors.js')
  for (const name of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) {
    const problem = { type: `urn:minikms:problem:${name}`, status: name, title: 'T', detail: 'D' } as any
    const error = problemOf(problem, new Headers())
    expect(error.constructor).toBe(ProblemError)
    expect(error).toMatchObject({ slug: name, message: 'D' })
  }
})

test('editors show of each method what it returns and throws', async () => {
  const file = source('index.ts').pathname
  const program = ts.createProgram([file], { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.NodeNext, types: [] })
  const checker = program.getTypeChecker()
  const exported = new Map(
    checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(file)!)!).map((each) => [each.name, each])
  )
  const classes = ['Minikms', 'RemoteKey'].map((name) => checker.getDeclaredTypeOfSymbol(exported.get(name)!))
  const methods = classes.flatMap((type) => type.getProperties()).filter(({ valueDeclaration }) => isPublicCall(valueDeclaration))
  const shown = new Map(
    methods.map((method) => [
      method.name,
      Object.fromEntries(method.getJsDocTags(checker).map(({ name, text }) => [name, ts.displayPartsToString(text)])),
    ])
  )
  shown.delete('forProfile') // makes no call
  for (const [name, tags] of shown) expect([name, Object.keys(tags).sort()]).toEqual([name, ['returns', 'throws']])
  const document: any = await kms.openapi()
  for (const { operationId, responses } of Object.values(document.paths as object).flatMap(Object.values as any) as any[]) {
    if (!operationId) continue
    const { default: _, ...own } = responses
    const problems = Object.values(own).map(({ content }: any) => content['application/problem+json'])
    const slugs = problems.flatMap((problem) => Object.keys(problem?.examples ?? {}))
    const { throws } = shown.get(operationId)!
    for (const slug of slugs) expect(throws, operationId).toContain(classOf(slug))
  }
})

function isPublicCall(declared: ts.Declaration | undefined): boolean {
  const isMethod = declared !== undefined && (ts.isMethodDeclaration(declared) || ts.isMethodSignature(declared))
  const hidden = ts.ModifierFlags.Protected | ts.ModifierFlags.Private
  return isMethod && !ts.isPrivateIdentifier(declared.name) && !(ts.getCombinedModifierFlags(declared) & hidden)
}

function classOf(slug: string): string {
  return slug.replace(/(^|-)(.)/g, (_, __, letter) => letter.toUpperCase())
}

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
