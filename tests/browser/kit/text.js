// A text that finds what a reader of streams gets wrong: characters of 1 to 4 bytes, ones made of several, markup,
// quotes, every kind of line end. Long enough to be cut, switched and reloaded in its middle.

const PARAGRAPHS = [
  '# Ebbe & Flut — "the tide" \\ <wire>\n\n',
  'Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich; l’été où « la marée » monta.\n',
  'これは潮の流れです。波が来て、波が去る。順序は失われない。\r\n',
  'Людям нужен порядок: ни одной потерянной буквы, ни одной повторённой.\n\n',
  'Emoji of one and of many: 🌊 👩‍👩‍👧‍👦 🏳️‍🌈 🇸🇪 👍🏽 — and combining: e\u0301 a\u0308 n\u0303 \u0E01\u0E33.\n',
  '\t<script>alert("no")</script> &amp; <b>not bold</b> {"json":"\\n"} data: id: event:\r\n',
  'מימין לשמאל, ואז English, ואז שוב עברית. Zero\u200Bwidth, no\u00A0break, line\u2028separator, mark\uFEFF.\n',
  'A quiet line of plain words, so that there is something to read while the water rises.\r\n\r\n',
];

/** About 1,200 of the demo's tokens; ends without a line end. */
export const TEXT = `${Array.from({ length: 5 }, (_, verse) => [`\n## Verse ${verse + 1}\n`, ...PARAGRAPHS].join('')).join('')}Fin 🌊`;
