// The API reference, from the doc comments: docs/index.html, made of the declarations that the compiler wrote.
//
// It fails where something that an application can import, or a member of it, has no doc comment, and where a
// declaration names a type that cannot be imported. `--check` only looks. (TypeDoc does not take this TypeScript.)
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const { exports, name: packageName, version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
const entries = Object.entries(exports).filter(([, { types }]) => types);

const DECLARATION = /^export (?:declare )?(?:class|interface|function|const|type) (\w+)/;
const FROM = /^export (?:type )?\{(.*)\} from '(.*)\.js';$/;

/** The declarations of a file, and what it passes on: `{ name, comment, text, members }` and `{ name, as, file }`. */
function parse(file) {
  const declarations = [];
  const passedOn = [];
  const lines = readFileSync(file, 'utf8').split('\n');
  for (let at = 0, comment = ''; at < lines.length; at += 1) {
    const [taken, next] = statement(lines, at, '');
    at = next;
    if (taken.startsWith('/**')) {
      comment = taken;
      continue;
    }
    const name = DECLARATION.exec(taken)?.[1];
    if (name) declarations.push({ name, comment, ...body(taken) });
    const from = FROM.exec(taken);
    if (from) {
      for (const one of from[1].split(',')) {
        const [, original, as = original] = /^\s*(?:type )?(\w+)(?: as (\w+))?\s*$/.exec(one);
        passedOn.push({ name: original, as, file: path.resolve(path.dirname(file), `${from[2]}.d.ts`) });
      }
    }
    comment = '';
  }
  return { declarations, passedOn };
}

/** The comment or statement that begins at a line and is indented so: its text and its last line. */
function statement(lines, at, indent) {
  const isComment = lines[at].startsWith(`${indent}/**`);
  let end = at;
  const isOver = (line) => (isComment ? line.endsWith('*/') : line.startsWith(indent) && !/^\s/.test(line.slice(indent.length)) && /[;}]$/.test(line));
  while (end < lines.length - 1 && !isOver(lines[end])) end += 1;
  return [lines.slice(at, end + 1).join('\n').slice(indent.length), end];
}

/** Divides a class or interface into its head and the members that applications see. */
function body(text) {
  if (!/^export (?:declare )?(?:class|interface)/.test(text)) return { text, members: [] };
  const lines = text.split('\n');
  const members = [];
  for (let at = 1, comment = ''; at < lines.length - 1; at += 1) {
    const [taken, next] = statement(lines, at, '    ');
    at = next;
    const isComment = taken.startsWith('/**');
    // what an iterator is, everybody knows
    const isSeen = !isComment && !comment.includes('@internal') && !/^(#private|\[)/.test(taken);
    if (isSeen) members.push({ name: /^(?:readonly |get |static |override )*(\w+)/.exec(taken)[1], comment, text: taken.replace(/\n {4}/g, '\n') });
    comment = isComment ? taken : '';
  }
  return { text: lines[0].replace(/ \{$/, '').replace(/ implements .*/, ''), members };
}

/** What can be imported from a file, with its declarations found. */
function exported(file) {
  const { declarations, passedOn } = parse(file);
  const found = passedOn.map(({ name, as, file: other }) => {
    const one = parse(other).declarations.find((declaration) => declaration.name === name);
    if (!one) throw new Error(`${file} passes on ${name}, which ${other} does not declare`);
    return { ...one, as };
  });
  return [...found, ...declarations.map((one) => ({ ...one, as: one.name }))];
}

const pages = entries.map(([entry, { types }]) => ({
  module: path.posix.join(packageName, entry),
  things: exported(path.join(root, types)).sort((a, b) => a.as.localeCompare(b.as)),
}));

const importable = new Set(pages.flatMap(({ things }) => things.map(({ name }) => name)));
const declared = new Set();
for (const { things } of pages) for (const { text, members } of things) for (const part of [text, ...members.map((one) => one.text)]) for (const [name] of part.matchAll(/(?<![\w'.])[A-Z]\w+/g)) declared.add(name);
const ofThePackage = new Set(declarationNames());
const problems = [...declared].filter((name) => ofThePackage.has(name) && !importable.has(name)).map((name) => `${name} is named and cannot be imported`);
for (const { module, things } of pages) {
  for (const { as, comment, members } of things) {
    if (!comment) problems.push(`${module}: ${as} has no doc comment`);
    for (const member of members) if (!member.comment) problems.push(`${module}: ${as}.${member.name} has no doc comment`);
  }
}
if (problems.length > 0) {
  console.error(problems.join('\n'));
  process.exit(1);
}
if (!process.argv.includes('--check')) {
  mkdirSync(path.join(root, 'docs'), { recursive: true });
  writeFileSync(path.join(root, 'docs/index.html'), page());
  console.log('docs/index.html');
}

function declarationNames() {
  const files = new Set();
  const visit = (file) => {
    if (files.has(file)) return;
    files.add(file);
    for (const [, other] of readFileSync(file, 'utf8').matchAll(/from '(\.[^']*)\.js'/g)) visit(path.resolve(path.dirname(file), `${other}.d.ts`));
  };
  for (const [, { types }] of entries) visit(path.join(root, types));
  return [...files].flatMap((file) => parse(file).declarations.map(({ name }) => name));
}

function escaped(text) {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}

/** The text of a comment, as paragraphs and lists. */
function prose(comment) {
  const text = comment.replace(/^\/\*\*\s?|\s*\*\/$/g, '').replace(/^\s*\* ?/gm, '');
  const html = escaped(text).replace(/`([^`]+)`/g, '<code>$1</code>');
  return html.split(/\n\n/).map((paragraph) => `<p>${paragraph.trim().replace(/\n- /g, '<br>• ').replace(/^- /, '• ')}</p>`).join('');
}

/** Code, with links to what is described on the page. */
function code(text) {
  return `<pre>${escaped(text.replace(/^export (?:declare )?/, '')).replace(/[A-Z]\w+/g, (name) => (importable.has(name) ? `<a href="#${name}">${name}</a>` : name))}</pre>`;
}

function page() {
  const thing = ({ name, as, comment, text, members }) =>
    `<section id="${name}"><h3>${as}</h3>${prose(comment)}${code(text)}${members.map((member) => `<div class="member">${code(member.text)}${prose(member.comment)}</div>`).join('')}</section>`;
  const list = ({ module, things }) => `<p><b>${module}</b> ${things.map(({ name, as }) => `<a href="#${name}">${as}</a>`).join(' ')}</p>`;
  // a name that several modules pass on is described once
  const seen = new Set();
  const first = ({ name }) => !seen.has(name) && seen.add(name);
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${packageName} ${version}</title>
<style>
:root { color-scheme: light dark } body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
pre { background: #8882; padding: .4rem .7rem; overflow-x: auto } section { margin: 2rem 0 } .member { margin-left: 1.5rem } nav a { margin-right: .4rem }
</style>
<h1>${packageName} ${version}</h1>
<nav>${pages.map(list).join('\n')}</nav>
${pages.map(({ module, things }) => `<h2>${module}</h2>\n${things.filter(first).map(thing).join('\n')}`).join('\n')}
</html>
`;
}
