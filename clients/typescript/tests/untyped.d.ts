// These libraries have no types.
declare module '@digitalbazaar/*'
