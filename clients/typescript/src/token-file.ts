import { readFile } from 'node:fs/promises'

import { InvalidSetting } from './errors.js'

/** The token in a file. Throws InvalidSetting if the file cannot be read. */
export async function tokenOf(file: string): Promise<string> {
  try {
    return (await readFile(file, 'latin1')).trim()
  } catch (error: any) {
    throw new InvalidSetting(`The token file ${file} cannot be read: ${error.code}.`)
  }
}
