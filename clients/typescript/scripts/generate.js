// Writes src/openapi.ts, src/operations.ts and src/methods.ts from the OpenAPI document: npm run generate [FILE]
// Without a file, it starts the service: `minikms` of the PATH, or the command in MINIKMS_COMMAND.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

import openapiTS, { astToString } from 'openapi-typescript'
import ts from 'typescript'

import { DECLARED, METHODS } from './methods.js'

const HEAD = '// Made by `npm run generate` from the OpenAPI document of the service. Do not edit.\n\n'
// The errors of calls for which the document has no responses of their own.
const EVERY_CALL = 'Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.'
// A plugin may bring names that are not in the document.
const OPEN = ['#/components/schemas/AlgorithmName', '#/components/schemas/JoseName']

/** The text of each file, by its name in src/. */
export async function generated(document) {
  const tree = await openapiTS(document, { transform, defaultNonNullable: false, emptyObjectsUnknown: true })
  const operations = operationsOf(document)
  return {
    'openapi.ts': `${HEAD}import type { Bytes, Jwk } from './types.js'\n\n${astToString(tree)}`,
    'operations.ts': table(operations),
    'methods.ts': methods(operations),
  }
}

function transform(schema, { path }) {
  const { factory } = ts
  const named = (name) => factory.createTypeReferenceNode(name)
  if (schema['x-bytes'] && schema.nullable) {
    return factory.createUnionTypeNode([named('Bytes'), factory.createLiteralTypeNode(factory.createNull())])
  }
  if (schema['x-bytes']) return named('Bytes')
  if (path === '#/components/schemas/Jwk') return named('Jwk')
  if (OPEN.includes(path)) {
    const names = schema.enum.map((name) => factory.createLiteralTypeNode(factory.createStringLiteral(name)))
    return factory.createUnionTypeNode([...names, named('(string & {})')])
  }
  return undefined
}

function operationsOf(document) {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([, operation]) => operation.operationId)
      .map(([method, { operationId: id, summary, description, parameters = [], requestBody, responses }]) => {
        if (METHODS[id] === undefined) throw new Error(`scripts/methods.js has no ${id}.`)
        const [, changes, positional, result = ''] = /^(!? ?)([^>]*?) ?(?:> (.+))?$/.exec(METHODS[id])
        const body = requestBody?.content['application/json'].schema
        const answer = responses['200'].content['application/json'].schema
        const hasQuery = parameters.some((parameter) => resolve(document, parameter).in === 'query')
        const inQuery = method === 'post' && !body && hasQuery ? '?' : ''
        return {
          ...{ id, path, body, positional, result, hasQuery, method: method.toUpperCase() + changes.trim() + inQuery },
          hover: { summary, scope: description, returns: responses['200'].description, problems: problems(responses) },
          takesJwk: requestBody && parts(document, body).some(({ properties }) => properties?.jwk && !properties.kid),
          bytesOfBody: bytes(document, body),
          bytesOfAnswer: bytes(document, answer),
        }
      })
  )
}

/** What calls need while they run. */
function table(operations) {
  const rows = operations.map(({ id, method, path, positional, bytesOfBody, bytesOfAnswer, result }) => {
    const names = positional.split(' ')
    const call = [method.replace('POST', ''), path, ...names.map((name) => (bytesOfBody.includes(name) ? `${name}*` : name))]
    const others = bytesOfBody.filter((name) => !names.includes(name))
    const row = [call.join(' ').trim(), result, bytesOfAnswer.join(' '), others.join(' ')].join('|').replace(/\|+$/, '')
    return `  ${id}: '${row}',\n`
  })
  return (
    `${HEAD}import type { operations as Documented } from './openapi.js'\n\n` +
    '/**\n * Of each operation, separated by |: the method, if it is not POST, with ! if two calls may do more than one, and ? if POST\n' +
    ' * has a query and no body; the path, and what its method takes in its order, with * if it is bytes (@ names the key); the member\n' +
    ' * of the answer that its method returns; the members of the answer that are bytes; other members of the body that are bytes.\n */\n' +
    `export const operations: Record<keyof Documented, string> = {\n${rows.join('')}}\n`
  )
}

/** The declarations of methods. */
function methods(operations) {
  const declarations = operations
    .filter(({ id }) => !DECLARED.includes(id))
    .map(({ id, hover, path, positional, body, bytesOfBody, takesJwk, hasQuery, result }) => {
      const names = positional ? positional.split(' ') : []
      const source = body ? 'Body' : 'Query'
      const given = names.map((name) => {
        if (name === '@') return path.includes('{kid}') ? 'key: Kid' : `key: ${takesJwk ? 'KeyOrJwk' : 'KeyName'}`
        const type = path.includes(`{${name}}`) ? 'string' : `Member<${source}<'${id}'>, '${name}'>`
        return `${name === 'key' ? 'secret' : name}: ${type}`
      })
      const taken = names.flatMap((name) => (name === '@' ? ['kid', 'alias', 'jwk'] : [name])).map((name) => `'${name}'`)
      const options = body || hasQuery ? `Options<${source}<'${id}'>, ${taken.join(' | ') || 'never'}>` : 'CallOptions'
      const answer = result ? `Member<Answer<'${id}'>, '${result}'>` : `Answer<'${id}'>`
      given.push(`o?: ${options}`)
      const oneLine = `  ${id}(${given.join(', ')}): Promise<${answer}>\n`
      const lines = `  ${id}(\n    ${given.join(',\n    ')}\n  ): Promise<${answer}>\n`
      return `${comment(hover, bytesOfBody.length > 0)}${oneLine.length > 130 ? lines : oneLine}`
    })
  return (
    `${HEAD}import type { Answer, Body, CallOptions, KeyName, KeyOrJwk, Kid, Member, Options, Query } from './transport.js'\n\n` +
    '/** Methods of the client that take what a call is about, then the key, then options. */\n' +
    `export interface Methods {\n${declarations.join('\n')}}\n`
  )
}

/** The classes of the problems that an operation has and not every call. */
function problems(responses) {
  return Object.entries(responses)
    .filter(([status]) => status !== 'default')
    .flatMap(([, { content }]) => Object.keys(content['application/problem+json']?.examples ?? {}))
    .map((slug) => slug.replace(/(^|-)(.)/g, (_, __, letter) => letter.toUpperCase()))
}

/** What editors show of a method. */
function comment({ summary, scope, returns, problems }, takesBytes) {
  // Methods return no headers.
  const answer = returns.replace(/; a Link header.*/, '.')
  const own = [...problems, ...(takesBytes ? ['TypeError'] : [])].join(', ')
  const errors = `${own ? `${own}; as` : 'As'} every call: ${EVERY_CALL}`
  const paragraphs = [`${summary}. ${scope ?? ''}`, '', `@returns ${answer}`, `@throws ${errors}`].map((text) => text.trim())
  const lines = paragraphs.flatMap((text) => text.match(/(?=\S).{1,122}(?!\S)|^$/g))
  return `  /**\n${lines.map((line) => `   * ${line}`.trimEnd() + '\n').join('')}   */\n`
}

/** The names of the members of a schema that are bytes; `items.sig` is the member `sig` of each item in the list `items`. */
function bytes(document, schema) {
  const names = parts(document, schema).flatMap(({ properties = {} }) =>
    Object.entries(properties).flatMap(([name, member]) => {
      if (member['x-bytes']) return [name]
      if (member.type !== 'array') return []
      return bytes(document, member.items).map((each) => `${name}.${each}`)
    })
  )
  return [...new Set(names)]
}

/** A schema and the ones of which it is one. */
function parts(document, schema) {
  const found = resolve(document, schema) ?? {}
  return [found, ...(found.oneOf ?? []).flatMap((part) => parts(document, part))]
}

function resolve(document, node) {
  const [, , kind, name] = node?.$ref?.split('/') ?? []
  return name ? document.components[kind][name] : node
}

/** The document of a service that is started for it. */
async function served() {
  const command = process.env.MINIKMS_COMMAND?.trim() || 'minikms'
  const [program, ...before] = command.split(/\s+/)
  // Its options are not the caller's.
  const variables = Object.entries(process.env).filter(([name]) => !name.startsWith('MINIKMS_'))
  const service = spawn(program, [...before, 'serve', '--port', '0', '--shutdown-grace', '0'], {
    env: Object.fromEntries(variables),
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  await once(service, 'spawn').catch(({ message }) => {
    throw new Error(`${message}: install Mini KMS, or set MINIKMS_COMMAND.`)
  })
  try {
    for await (const line of createInterface({ input: service.stderr })) {
      const url = /listening on (http:\/\/[^\s,]+)/.exec(line)?.[1]
      if (url) return await (await fetch(`${url}/openapi.json`)).json()
    }
    throw new Error(`${command} did not start.`)
  } finally {
    service.kill()
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const document = process.argv[2] ? JSON.parse(await readFile(process.argv[2], 'utf8')) : await served()
  for (const [name, text] of Object.entries(await generated(document))) {
    // Another process may read the file: it is never there in part.
    const file = new URL(`../src/${name}`, import.meta.url)
    const whole = new URL(`${file}.${process.pid}`)
    await writeFile(whole, text)
    await rename(whole, file)
  }
}
