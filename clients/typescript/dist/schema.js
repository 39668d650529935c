// Generated from schema/ by scripts/generate-types.mjs: change the schemas and run `npm run generate`.
// Integers of 64 bits are `number`: no topic reaches 2^53 events.
export {};
