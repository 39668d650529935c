#!/usr/bin/env python3
"""Writes src/tidewire/_types.py from schema/, the source of truth for every shape on the wire.

    python scripts/generate_types.py           # writes it
    python scripts/generate_types.py --check   # fails if it is stale (a test runs this)

A TypedDict for each frame and each built-in event's `data`, and for each frame of the broker the members that
it must have (`SERVER_FRAMES`), by which `wire.parse` refuses what is no frame. Only the standard library is used.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent.parent
SCHEMA = PACKAGE.parent.parent / "schema"
TARGET = PACKAGE / "src" / "tidewire" / "_types.py"

HEADER = '''"""The shapes on the wire. Generated from schema/ by scripts/generate_types.py: do not edit."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, Union

'''

Schema = dict[str, Any]


def camel(text: str) -> str:
    return "".join(word.capitalize() for word in re.split(r"[^A-Za-z0-9]+", text) if word)


class Generator:
    """Turns schemas into Python, each named thing once and before those that use it."""

    def __init__(self) -> None:
        self.files: dict[Path, Schema] = {}
        self.written: dict[str, str] = {}

    def load(self, path: Path) -> Schema:
        if path not in self.files:
            self.files[path] = json.loads(path.read_text(encoding="utf-8"))
        return self.files[path]

    def resolve(self, ref: str, here: Path) -> tuple[Schema, Path, str]:
        """What a reference names, the file it stands in, and a name for it."""
        file, _, pointer = ref.partition("#")
        path = (here.parent / file).resolve() if file else here
        schema = self.load(path)
        name = path.name.removesuffix(".json")
        for step in pointer.strip("/").split("/") if pointer.strip("/") else []:
            schema, name = schema[step], step
        if path.parent.name == "events" and path.name != "envelope.json":
            name += ".data"
        return schema, path, camel(name)

    def type_of(self, schema: Schema, here: Path, name: str) -> str:
        if "$ref" in schema:
            target, path, its_name = self.resolve(schema["$ref"], here)
            if path.name == "envelope.json":
                its_name = "EventToPublish" if its_name == "New" else "EventEnvelope"
            if path.parent.name == "frames" and path.name == "client.json":
                its_name = "Client" + its_name
            return self.type_of(target, path, its_name)
        if "const" in schema:
            return f"Literal[{schema['const']!r}]"
        if "enum" in schema:
            return self.alias(name, f"Literal[{', '.join(repr(value) for value in schema['enum'])}]")
        alternatives = schema.get("anyOf") or (schema.get("oneOf") if "properties" not in schema else None)
        if alternatives and schema.get("type") != "object":
            types = [self.type_of(one, here, name) for one in alternatives]
            types = list(dict.fromkeys(types))
            return types[0] if len(types) == 1 else f"Union[{', '.join(types)}]"
        kind = schema.get("type")
        if kind == "array":
            return f"list[{self.type_of(schema.get('items', {}), here, name)}]"
        if kind == "object" and (schema.get("properties") or schema.get("anyOf") or schema.get("allOf")):
            return self.typed_dict(name, schema, here)
        plain = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
        return plain.get(str(kind), "dict[str, Any]" if kind == "object" else "Any")

    def alias(self, name: str, definition: str) -> str:
        self.written.setdefault(name, f"{name} = {definition}\n")
        return name

    def members(self, schema: Schema, here: Path) -> tuple[dict[str, tuple[Schema, Path]], set[str]]:
        """All members of an object and which it must have, through `allOf`, `anyOf` and references."""
        if "$ref" in schema:
            target, path, _ = self.resolve(schema["$ref"], here)
            return self.members(target, path)
        found = {key: (value, here) for key, value in schema.get("properties", {}).items()}
        required = set(schema.get("required", []))
        for one in schema.get("allOf", []):
            if "if" in one:
                continue
            more, needed = self.members(one, here)
            found = {**more, **found}
            required |= needed
        alternatives = [self.members(one, here) for one in schema.get("anyOf", [])]
        for more, _ in alternatives:
            found = {**more, **found}
        if alternatives:
            required |= set.intersection(*(needed for _, needed in alternatives))
        return found, required

    def typed_dict(self, name: str, schema: Schema, here: Path) -> str:
        if name in self.written:
            return name
        found, required = self.members(schema, here)
        types = {key: self.type_of(value, path, name + camel(key)) for key, (value, path) in found.items()}
        if name == "EventEnvelope":
            types["type"] = "str"  # each form of the envelope narrows it
            types["data"] = "Any"
        doc = schema.get("description", "").replace("\\", "\\\\").replace('"""', "'''")
        lines = []
        needed = {key: value for key, value in types.items() if key in required}
        optional = {key: value for key, value in types.items() if key not in required}
        base = "TypedDict"
        if needed and optional:
            lines.append(self.functional(f"_{name}Required", needed, total=True))
            base = f"_{name}Required"
            if any(not key.isidentifier() or key in {"from"} for key in optional):
                lines.append(self.functional(f"_{name}Optional", optional, total=False))
                lines.append(f"class {name}({base}, _{name}Optional):\n    {json.dumps(doc, ensure_ascii=False)}\n")
            else:
                lines.append(self.as_class(name, base, doc, optional, total=False))
        elif any(key in {"from"} for key in types):
            lines.append(self.functional(f"_{name}Members", types, total=bool(needed)))
            lines.append(f"class {name}(_{name}Members):\n    {json.dumps(doc, ensure_ascii=False)}\n")
        else:
            lines.append(self.as_class(name, base, doc, types, total=bool(needed)))
        self.written[name] = "\n\n".join(lines)
        return name

    @staticmethod
    def functional(name: str, types: dict[str, str], total: bool) -> str:
        body = "\n".join(f"        {key!r}: {value}," for key, value in types.items())
        tail = "" if total else "\n    total=False,"
        return f"{name} = TypedDict(\n    {name!r},\n    {{\n{body}\n    }},{tail}\n)\n"

    @staticmethod
    def as_class(name: str, base: str, doc: str, types: dict[str, str], total: bool) -> str:
        head = f"class {name}({base}):" if total else f"class {name}({base}, total=False):"
        body = "\n".join(f"    {key}: {value}" for key, value in types.items())
        return f"{head}\n    {json.dumps(doc, ensure_ascii=False)}\n\n{body}\n"

    def python_types(self, schema: Schema, here: Path) -> str:
        """The Python types that a value may have, as `isinstance` takes them."""
        if "$ref" in schema:
            target, path, _ = self.resolve(schema["$ref"], here)
            return self.python_types(target, path)
        if "const" in schema or "enum" in schema:
            values = [schema["const"]] if "const" in schema else schema["enum"]
            return ", ".join(dict.fromkeys(type(value).__name__ for value in values))
        for one in ("anyOf", "oneOf"):
            if one in schema and "type" not in schema:
                return ", ".join(dict.fromkeys(self.python_types(x, here) for x in schema[one]))
        names = {"string": "str", "integer": "int", "boolean": "bool", "array": "list", "object": "dict"}
        return names.get(schema.get("type", ""), "type(None)" if schema.get("type") == "null" else "object")

    def shape(self, schema: Schema, here: Path) -> tuple[dict[str, str], dict[str, str]]:
        if "oneOf" in schema and "properties" not in schema:
            forms = [self.shape(self.resolve(one["$ref"], here)[0], here) for one in schema["oneOf"]]
            common = set.intersection(*(set(needed) for needed, _ in forms))
            every = {key: value for needed, more in forms for key, value in {**more, **needed}.items()}
            return (
                {key: value for key, value in every.items() if key in common},
                {key: value for key, value in every.items() if key not in common},
            )
        found, required = self.members(schema, here)
        types = {key: self.python_types(value, path) for key, (value, path) in found.items() if key != "op"}
        return (
            {key: value for key, value in types.items() if key in required},
            {key: value for key, value in types.items() if key not in required},
        )


def generate() -> str:
    generator = Generator()
    shared = SCHEMA / "types.json"
    for name in ("code", "text_kind", "gap_reason", "reset_reason", "replay", "text_part", "producer"):
        generator.type_of({"$ref": f"#/$defs/{name}"}, shared, camel(name))
    built_in = sorted(path for path in (SCHEMA / "events").glob("*.json") if path.name != "envelope.json")
    for path in built_in:
        generator.type_of({"$ref": path.name}, path, "")
    frames: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
    unions = []
    for side, prefix in (("server", ""), ("client", "Client")):
        path = SCHEMA / "frames" / f"{side}.json"
        names = []
        for one in generator.load(path)["oneOf"]:
            op = one["$ref"].rsplit("/", 1)[1]
            schema = generator.load(path)["$defs"][op]
            name = prefix + camel(op)
            if side == "server":
                frames[op] = generator.shape(schema, path)
            if "oneOf" in schema and "properties" not in schema:
                names.append(generator.alias(name, generator.type_of(schema, path, name)))
            else:
                names.append(generator.typed_dict(name, schema, path))
        unions.append(f"{side.capitalize()}Frame = Union[{', '.join(names)}]\n")
    types = ", ".join(repr(path.name.removesuffix(".json")) for path in built_in)
    tail = f"#: The types that the broker knows and checks.\nBUILT_IN_TYPES = frozenset({{{types}}})\n"
    rows = []
    for op, (needed, optional) in frames.items():
        columns = ["{" + ", ".join(f"{k!r}: ({v},)" for k, v in part.items()) + "}" for part in (needed, optional)]
        rows.append(f"    {op!r}: ({', '.join(columns)}),\n")
    tail += (
        "\n#: For each frame of the broker: the members that it must have, and those that it may have.\n"
        "_Members = dict[str, tuple[type, ...]]\n"
        f"SERVER_FRAMES: dict[str, tuple[_Members, _Members]] = {{\n{''.join(rows)}}}\n"
    )
    return HEADER + "\n\n".join(generator.written.values()) + "\n\n" + "\n".join(unions) + "\n" + tail


def main() -> int:
    text = generate()
    if "--check" in sys.argv[1:]:
        if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
            print(f"{TARGET.name} is stale: run scripts/generate_types.py", file=sys.stderr)
            return 1
        return 0
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
