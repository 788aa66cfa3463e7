import { InvalidSetting } from './errors.js'

/** Whether the kid that a library uses is the kid of a key or an alias. */
export type By = 'kid' | 'alias'

/** Check the option `by` of a program without types. */
export function checkedBy(by: By): By {
  if (by !== 'kid' && by !== 'alias') throw new InvalidSetting(`The option by is "kid" or "alias", not ${JSON.stringify(by)}.`)
  return by
}
