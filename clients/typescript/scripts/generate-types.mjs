// Writes src/schema.ts: the TypeScript types of everything that stands in schema/ (but the AppSync dialect).
//
//   node scripts/generate-types.mjs            writes it
//   node scripts/generate-types.mjs --check    exits with 1 if what is checked in is stale
//
// Every schema file and each of its `$defs` becomes one exported type, named by its place:
// `frames/server.json#/$defs/events` is `FramesServerEvents`. What JSON Schema can say and TypeScript cannot
// (patterns, bounds, `not`, conditions) is left out; a form that this script does not know is an error, so
// that nothing becomes `unknown` unnoticed.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import path from 'node:path';

const here = path.dirname(fileURLToPath(import.meta.url));
const schemas = path.resolve(here, '../../../schema');
const target = path.resolve(here, '../src/schema.ts');
const folders = ['', 'events', 'frames', 'sse', 'http'];
const documents = new Set(['openapi.json', 'asyncapi.json']);

/** What is said about a shape, not what it is. */
const SILENT = new Set([
  '$schema', '$id', '$comment', 'title', 'description', 'examples', 'default', 'deprecated', 'pattern', 'format',
  'minLength', 'maxLength', 'minimum', 'maximum', 'minItems', 'maxItems', 'not', 'if', 'then', 'else', '$defs',
  'unevaluatedProperties', 'uniqueItems', 'dependentRequired', 'dependentSchemas', 'contentMediaType',
  'contentEncoding', 'propertyNames',
]);
const SHAPE = new Set([
  '$ref', 'type', 'enum', 'const', 'properties', 'required', 'additionalProperties', 'items', 'oneOf', 'anyOf', 'allOf',
]);

function typeName(file, def) {
  const words = `${file.replace(/\.json$/, '')} ${def ?? ''}`.split(/[^A-Za-z0-9]+/).filter(Boolean);
  return words.map((word) => word[0].toUpperCase() + word.slice(1)).join('');
}

function refName(ref, file) {
  const [where, pointer] = ref.split('#');
  const full = where ? path.posix.join(path.posix.dirname(file), where) : file;
  const def = pointer?.match(/^\/\$defs\/([^/]+)$/)?.[1];
  if (pointer && !def) throw new Error(`${file}: a reference that is not to a definition: ${ref}`);
  return typeName(full, def);
}

const union = (types) => {
  const all = [...new Set(types)];
  return all.includes('unknown') ? 'unknown' : all.length === 1 ? all[0] : `(${all.join(' | ')})`;
};

function comment(schema, indent) {
  if (!schema.description) return '';
  return `${indent}/** ${schema.description.replaceAll('*/', '*\\/')} */\n`;
}

function objectType(schema, file, indent) {
  const required = new Set(schema.required ?? []);
  const inner = `${indent}  `;
  let out = '';
  for (const [name, member] of Object.entries(schema.properties ?? {})) {
    const key = /^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name);
    out += comment(member, inner);
    out += `${inner}${key}${required.has(name) ? '' : '?'}: ${typeOf(member, file, inner)};\n`;
  }
  for (const name of required) {
    if (!(name in (schema.properties ?? {})) && schema.type === 'object' && !schema.allOf) {
      out += `${inner}${JSON.stringify(name)}: unknown;\n`;
    }
  }
  const rest = schema.additionalProperties;
  if (rest && typeof rest === 'object') out += `${inner}[member: string]: ${typeOf(rest, file, inner)};\n`;
  // what is not closed is open: a receiver ignores what it does not know
  else if (rest === true || out === '') out += `${inner}[member: string]: unknown;\n`;
  return `{\n${out}${indent}}`;
}

function typeOf(schema, file, indent = '') {
  if (schema === true) return 'unknown';
  if (schema === false) return 'never';
  for (const key of Object.keys(schema)) {
    if (!SILENT.has(key) && !SHAPE.has(key)) throw new Error(`${file}: this script does not know "${key}"`);
  }
  const all = [];
  if (schema.$ref) all.push(refName(schema.$ref, file));
  if ('const' in schema) all.push(JSON.stringify(schema.const));
  else if (schema.enum) all.push(union(schema.enum.map((value) => JSON.stringify(value))));
  else if (schema.properties || schema.type === 'object') all.push(objectType(schema, file, indent));
  else if (schema.type === 'array' || schema.items) all.push(`${typeOf(schema.items ?? true, file, indent)}[]`);
  else if (schema.type) all.push(union([schema.type].flat().map(plain)));
  for (const alternatives of [schema.oneOf, schema.anyOf]) {
    // alternatives that only say which members stand together have no shape of their own
    const types = (alternatives ?? []).map((one) => typeOf(one, file, indent)).filter((type) => type !== 'unknown');
    if (types.length > 0 && types.length === alternatives.length) all.push(union(types));
  }
  for (const one of schema.allOf ?? []) all.push(typeOf(one, file, indent));
  const known = [...new Set(all)].filter((type) => type !== 'unknown');
  return known.length === 0 ? 'unknown' : known.join(' & ');
}

function plain(type) {
  const types = { string: 'string', integer: 'number', number: 'number', boolean: 'boolean', null: 'null' };
  return types[type] ?? (type === 'object' ? '{ [member: string]: unknown }' : 'unknown[]');
}

function generate() {
  const names = new Set();
  let out =
    '// Generated from schema/ by scripts/generate-types.mjs: change the schemas and run `npm run generate`.\n' +
    '// Integers of 64 bits are `number`: no topic reaches 2^53 events.\n';
  for (const folder of folders) {
    const files = readdirSync(path.join(schemas, folder)).filter((f) => f.endsWith('.json')).sort();
    for (const name of files) {
      const file = path.posix.join(folder, name);
      if (documents.has(file)) continue;
      const schema = JSON.parse(readFileSync(path.join(schemas, file), 'utf8'));
      const all = Object.entries(schema.$defs ?? {}).map(([def, one]) => [typeName(file, def), one]);
      if (Object.keys(schema).some((key) => SHAPE.has(key))) all.unshift([typeName(file), schema]);
      for (const [type, one] of all) {
        if (names.has(type)) throw new Error(`two shapes would be called ${type}`);
        names.add(type);
        out += `\n${comment(one, '')}export type ${type} = ${typeOf(one, file)};\n`;
      }
    }
  }
  return out;
}

const fresh = generate();
if (process.argv.includes('--check')) {
  let held = '';
  try {
    held = readFileSync(target, 'utf8');
  } catch {
    // not there is stale too
  }
  if (held !== fresh) {
    console.error('src/schema.ts is stale: run `npm run generate` in clients/typescript');
    process.exit(1);
  }
} else {
  writeFileSync(target, fresh);
}
