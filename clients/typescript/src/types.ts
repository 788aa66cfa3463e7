declare const marker: unique symbol

/** Bytes in the OpenAPI document, which JSON has as base64url; `Input` and `Output` say what a program has. */
export interface Bytes {
  readonly [marker]: true
}

/** Bytes that a program gives: a view such as Uint8Array, a buffer, or a string, which is sent as its UTF-8. */
export type Data = ArrayBufferView | ArrayBufferLike | string

/** A type of the document as a program gives it, with its bytes as `Data`. */
export type Input<T> = Mapped<T, Data>

/** A type of the document as a program gets it: bytes as Uint8Array. */
export type Output<T> = Mapped<T, OwnBytes>

// Uint8Array<ArrayBuffer>, which TypeScript before 5.7 calls Uint8Array.
type OwnBytes = ReturnType<typeof Uint8Array.from>

type Mapped<T, B> = T extends Bytes
  ? B
  : T extends (infer Item)[]
    ? Mapped<Item, B>[]
    : T extends object
      ? { [Name in keyof T]: Mapped<T[Name], B> }
      : T

/** A JSON Web Key (RFC 7517). It is no interface, so that it fits the types of libraries with other members. */
export type Jwk = {
  kty: string
  kid?: string
  alg?: string
  use?: string
  key_ops?: string[]
  crv?: string
  x?: string
  y?: string
  n?: string
  e?: string
  pub?: string
  priv?: string
  d?: string
  p?: string
  q?: string
  dp?: string
  dq?: string
  qi?: string
  k?: string
  x5c?: string[]
  x5t?: string
  'x5t#S256'?: string
  x5u?: string
}
