import { basename } from 'node:path'

import { ProblemError } from '@minikms/client'
import * as everything from '@minikms/client'
import { build } from 'esbuild'
import ts from 'typescript'
import { expect, test } from 'vitest'

import { generated } from '../scripts/generate.js'
import { operations } from '../src/operations.js'
import { kms } from './kms.js'

const source = (name: string) => new URL(`../src/${name}`, import.meta.url)

/** The program of the sources, with these texts of the generated files, by their names. */
function program(files: Record<string, string>): ts.Program {
  const root = source('..').pathname
  const { config } = ts.readConfigFile(`${root}tsconfig.json`, ts.sys.readFile)
  const { options, fileNames } = ts.parseJsonConfigFileContent(config, ts.sys, root)
  const host = ts.createCompilerHost(options)
  const made = new Map(Object.entries(files).map(([name, text]) => [source(name).pathname, text]))
  host.readFile = (file) => made.get(file) ?? ts.sys.readFile(file)
  host.fileExists = (file) => made.has(file) || ts.sys.fileExists(file)
  return ts.createProgram([...new Set([...fileNames, ...made.keys()])], options, host)
}

/** What tsc would print of a program. */
function errors(compiled: ts.Program): string[] {
  return ts
    .getPreEmitDiagnostics(compiled)
    .map(({ file, messageText }) => `${file && basename(file.fileName)}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`)
}

test('the generated files compile', async () => {
  expect(errors(program(await generated(await kms.openapi())))).toEqual([])
})

test('an operation that scripts/methods.js lacks ends the generation', async () => {
  const document: any = await kms.openapi()
  document.paths['/frob'] = { post: { ...document.paths['/sign'].post, operationId: 'frob' } }
  await expect(generated(document)).rejects.toThrow('scripts/methods.js has no frob.')
})

test('a problem without a class does not compile', async () => {
  const document: any = await kms.openapi()
  document.components.schemas.ProblemType.enum.push('urn:minikms:problem:frobbed')
  const found = errors(program(await generated(document)))
  expect(found.length).toBeGreaterThan(0)
  for (const error of found) expect(error).toMatch(/^errors\.ts: .*frobbed/s)
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
  const compiled = program(await generated(await kms.openapi()))
  const checker = compiled.getTypeChecker()
  const exported = new Map(
    checker.getExportsOfModule(checker.getSymbolAtLocation(compiled.getSourceFile(file)!)!).map((each) => [each.name, each])
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
