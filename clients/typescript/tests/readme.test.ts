import { readdir, readFile } from 'node:fs/promises'

import { expect, test, vi } from 'vitest'

const file = (name: string) => readFile(new URL(`../${name}`, import.meta.url), 'utf8')
const readme = await file('README.md')
const recipes = await readdir(new URL('../recipes', import.meta.url))

test.each(recipes)('the README links the recipe %s, or has it as it is tested', async (name) => {
  expect(readme.includes(`](recipes/${name})`) || readme.includes(`\`\`\`ts\n${await file(`recipes/${name}`)}\`\`\``)).toBe(true)
})

test.each(recipes.filter((name) => !name.includes('.test.')))('the recipe %s prints what its comments say', async (name) => {
  const printed: string[] = []
  const log = vi.spyOn(console, 'log').mockImplementation((...values) => void printed.push(values.join(' ')))
  await import(/* @vite-ignore */ `../recipes/${name}`)
  log.mockRestore()
  const expected = [...(await file(`recipes/${name}`)).matchAll(/^ *console\.log.*\/\/ (.*)$/gm)].map(([, text]) => text)
  expect(expected.length).toBeGreaterThan(0)
  expect(printed).toEqual(expected)
})

test('the table names the versions of the libraries that are tested', async () => {
  const { devDependencies, exports } = JSON.parse(await file('package.json'))
  const rows = [...readme.matchAll(/^\| `(@?[\w./-]+)`.*? \| ([\d.]+) \| `(\S+)` \|/gm)]
  expect(rows.length).toBeGreaterThan(12)
  for (const [, library, version, subpath] of rows) {
    expect([library, devDependencies[library!]]).toEqual([library, version])
    expect(exports).toHaveProperty([`./${subpath}`])
  }
  const named = new Set(rows.map(([, , , subpath]) => `./${subpath}`))
  const others = ['.', './testing', './testing/vitest', './package.json']
  expect([...Object.keys(exports)].filter((name) => !named.has(name) && !others.includes(name))).toEqual([])
})
