// Shows any value as Node's `util.inspect` does. Never throws, and bounds what it returns.

import { withSources } from "./lines.js";
import { toUtf8 } from "./text.js";

const DEPTH = 2;
const BREAK_LENGTH = 80;
const MOST_ENTRIES = 100;
const MOST_TEXT = 10_000;

/// The value as text. `depth` is how many objects deep it is shown, `headBytes` how much of what an error says.
export function inspect(value, { depth = DEPTH, compact = 3, breakLength = BREAK_LENGTH, headBytes = Infinity } = {}) {
  const context = { headBytes, depth: depth ?? Infinity, compact, breakLength, seen: [], indent: 0, level: 0, circular: new Map() };
  try {
    return format(context, value, 0, true);
  } catch (error) {
    return unshowable(error);
  }
}

/// The beginning of a text, of at most so many bytes in UTF-8.
export function cut(text, bytes) {
  if (bytes === Infinity) return text;
  let shown = text.slice(0, bytes);
  while (toUtf8(shown).length > bytes) shown = shown.slice(0, shown.length * 0.75);
  return shown.length < text.length ? `${shown}…` : text;
}

/// `printf`-like: the first value's `%s`, `%d`, `%i`, `%f`, `%j`, `%o`, `%O`, `%c` and `%%` take the values behind it.
export function formatted(values) {
  let at = 0;
  let text = "";
  if (typeof values[0] === "string" && values.length > 1) {
    at = 1;
    text = values[0].replace(/%[sdifjoOc%]/g, (mark) => {
      if (mark === "%%") return "%";
      return at < values.length ? replaced(mark, values[at++]) : mark;
    });
  }
  const rest = values.slice(at).map((value) => (typeof value === "string" ? value : inspect(value)));
  return (at > 0 ? [text, ...rest] : rest).join(" ");
}

function replaced(mark, value) {
  const number = (read) => (typeof value === "symbol" ? "NaN" : safely(() => read(value), () => "NaN"));
  switch (mark) {
    case "%s":
      if (typeof value === "bigint") return `${value}n`;
      if (Object.is(value, -0)) return "-0";
      return typeof value === "object" && value !== null ? inspect(value, { depth: 0 }) : String(value);
    case "%d":
      return typeof value === "bigint" ? `${value}n` : typeof value === "object" ? "NaN" : number((of) => shownNumber(Number(of)));
    case "%i":
      return typeof value === "bigint" ? `${value}n` : typeof value === "object" ? "NaN" : number((of) => shownNumber(parseInt(of)));
    case "%f":
      return number((of) => shownNumber(parseFloat(of)));
    case "%j":
      return safely(() => JSON.stringify(value) ?? "undefined", () => "[Circular]");
    case "%o":
      return inspect(value, { depth: 4 });
    case "%O":
      return inspect(value);
    default:
      return "";
  }
}

function safely(read, otherwise) {
  try {
    return read();
  } catch (error) {
    return otherwise(error);
  }
}

const unshowable = (error) => `[${safely(() => `value that can't be shown: ${error?.message ?? String(error)}`, () => "value that can't be shown")}]`;

const shownNumber = (value) => (Object.is(value, -0) ? "-0" : String(value));

function format(context, value, level, isOuter = false) {
  switch (typeof value) {
    case "string":
      return quotedLines(context, value, isOuter);
    case "number":
      return shownNumber(value);
    case "bigint":
      return `${value}n`;
    case "symbol":
    case "undefined":
    case "boolean":
      return String(value);
  }
  if (value === null) return "null";
  if (context.seen.includes(value)) {
    if (!context.circular.has(value)) context.circular.set(value, context.circular.size + 1);
    return `[Circular *${context.circular.get(value)}]`;
  }
  return safely(() => formatObject(context, value, level), unshowable);
}

/// A long text with line breaks inside an object is shown as its lines, added up.
function quotedLines(context, text, isOuter) {
  const more = text.length - MOST_TEXT;
  const tail = more > 0 ? `... ${more} more character${more > 1 ? "s" : ""}` : "";
  const shown = more > 0 ? text.slice(0, MOST_TEXT) : text;
  if (!isOuter && shown.length > 16 && shown.length > context.breakLength - context.indent - 4 && shown.includes("\n")) {
    return shown.split(/(?<=\n)/).map(quoted).join(` +\n${" ".repeat(context.indent + 2)}`) + tail;
  }
  return quoted(shown) + tail;
}

const ESCAPES = { "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", "\\": "\\\\" };

export function quoted(text) {
  const quote = !text.includes("'") ? "'" : !text.includes('"') ? '"' : !text.includes("`") && !text.includes("${") ? "`" : "'";
  const escaped = text.replace(/[\0-\x1f\x7f-\x9f'\\]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, (unit) => {
    if (unit === "'") return quote === "'" ? "\\'" : "'";
    const code = unit.charCodeAt(0);
    if (code >= 0xd800) return `\\u${code.toString(16)}`;
    return ESCAPES[unit] ?? `\\x${code.toString(16).toUpperCase().padStart(2, "0")}`;
  });
  return `${quote}${escaped}${quote}`;
}

function formatObject(context, value, level) {
  const name = constructorName(value);
  const shape = shapeOf(context, value, name, level);
  const keys = shape.keys ?? Reflect.ownKeys(value).filter((key) => isShown(value, key));
  if (shape.base !== undefined && keys.length === 0 && !shape.entries) return shape.base;
  if (shape.base === undefined && keys.length === 0 && !shape.entries) return `${shape.open}${shape.close}`;
  if (level > context.depth) return `[${Array.isArray(value) ? "Array" : prefixOf(value, name, "Object").trim()}]`;

  context.seen.push(value);
  context.level = level;
  let output;
  let entries;
  try {
    output = (shape.entries?.(level + 1) ?? []).concat(
      keys.map((key) => property(context, value, key, level + 1, shape.isList)),
    );
    entries = output.length;
  } finally {
    context.seen.pop();
  }
  let { base = "" } = shape;
  let open = shape.open;
  if (context.circular.has(value)) {
    const mark = `<ref *${context.circular.get(value)}>`;
    if (base === "") open = `${mark} ${open}`;
    else base = `${mark} ${base}`;
  }
  if (entries === 0 && base === "") return `${open}${shape.close}`;
  if (shape.isList && entries > 6) output = inColumns(context, output, shape.isPlainList ? value : undefined, shape.hasMore);
  if (context.level - level < context.compact && entries === output.length) {
    const start = output.length + context.indent + open.length + base.length + 10;
    if (fits(context, output, start, base)) {
      const joined = output.join(", ");
      if (!joined.includes("\n")) return `${base ? `${base} ` : ""}${open} ${joined} ${shape.close}`;
    }
  }
  const line = `\n${" ".repeat(context.indent)}`;
  return `${base ? `${base} ` : ""}${open}${line}  ${output.join(`,${line}  `)}${line}${shape.close}`;
}

function fits(context, output, start, base) {
  let length = output.length + start;
  if (length + output.length > context.breakLength) return false;
  for (const entry of output) length += entry.length;
  return length <= context.breakLength && !base.includes("\n");
}

const isShown = (value, key) => Object.getOwnPropertyDescriptor(value, key)?.enumerable ?? false;

function constructorName(value) {
  for (let at = value; at; at = Object.getPrototypeOf(at)) {
    const made = Object.getOwnPropertyDescriptor(at, "constructor");
    if (typeof made?.value === "function" && made.value.name !== "" && value instanceof made.value) return made.value.name;
  }
  return null;
}

/// What stands in front of the bracket: nothing for plain objects.
function prefixOf(value, name, fallback, size = "") {
  const tag = safely(() => value[Symbol.toStringTag], () => "");
  const hasTag = typeof tag === "string" && tag !== "" && tag !== name;
  const of = name ?? `${fallback}${size}: null prototype`;
  return `${name === null ? `[${of}]` : `${of}${size}`} ${hasTag ? `[${tag}] ` : ""}`;
}

const TypedArray = Object.getPrototypeOf(Uint8Array);

/// The brackets of a value, what is in them beside its properties, and what stands for it if it has none.
function shapeOf(context, value, name, level) {
  if (Array.isArray(value)) return listShape(context, value, name, "Array", value.length, name === "Array" ? "" : prefixOf(value, name, "Array", `(${value.length})`));
  if (value instanceof TypedArray) {
    return listShape(context, value, name, name, value.length, prefixOf(value, name, "TypedArray", `(${value.length})`));
  }
  if (value instanceof Map) {
    const entries = (deeper) => withIndent(context, 2, () =>
      [...Map.prototype.entries.call(value)].map(([key, of]) => `${format(context, key, deeper)} => ${format(context, of, deeper)}`));
    return { open: `${prefixOf(value, name, "Map", `(${value.size})`)}{`, close: "}", entries: value.size > 0 ? entries : undefined };
  }
  if (value instanceof Set) {
    const entries = (deeper) => withIndent(context, 2, () => [...Set.prototype.values.call(value)].map((of) => format(context, of, deeper)));
    return { open: `${prefixOf(value, name, "Set", `(${value.size})`)}{`, close: "}", entries: value.size > 0 ? entries : undefined };
  }
  if (typeof value === "function") return { base: functionBase(value, name), open: "{", close: "}" };
  if (value instanceof Error) return errorShape(context, value, name, level);
  return plainShape(context, value, name);
}

function plainShape(context, value, name) {
  const opened = (fallback, base) => ({ base, open: `${base === undefined ? prefixOf(value, name, fallback) : ""}{`, close: "}" });
  if (value instanceof RegExp) return opened("RegExp", RegExp.prototype.toString.call(value));
  if (value instanceof Date) {
    return opened("Date", Number.isNaN(Date.prototype.getTime.call(value)) ? "Invalid Date" : Date.prototype.toISOString.call(value));
  }
  if (value instanceof ArrayBuffer) {
    const bytes = [...new Uint8Array(value, 0, Math.min(50, value.byteLength))].map((byte) => byte.toString(16).padStart(2, "0"));
    const more = value.byteLength - bytes.length;
    const contents = `<${bytes.join(" ")}${more > 0 ? ` ... ${more} more byte${more > 1 ? "s" : ""}` : ""}>`;
    return { ...opened("ArrayBuffer"), entries: () => [`[Uint8Contents]: ${contents}`, `byteLength: ${value.byteLength}`] };
  }
  if (value instanceof Promise) return { ...opened("Promise"), entries: () => ["<pending>"] };
  if (value instanceof WeakMap || value instanceof WeakSet) return { ...opened(name), entries: () => ["<items unknown>"] };
  for (const [type, Boxed] of [["Number", Number], ["Boolean", Boolean], ["String", String], ["BigInt", BigInt], ["Symbol", Symbol]]) {
    if (!(value instanceof Boxed)) continue;
    const inner = format(context, Boxed.prototype.valueOf.call(value), 0, true);
    const keys = Reflect.ownKeys(value).filter((key) => isShown(value, key) && !(type === "String" && /^\d+$/.test(String(key))));
    return { base: `[${type}: ${inner}]`, open: "{", close: "}", keys };
  }
  if (name === "Object") {
    const tag = safely(() => value[Symbol.toStringTag], () => "");
    return { open: typeof tag === "string" && tag !== "" ? `Object [${tag}] {` : "{", close: "}" };
  }
  return opened("Object");
}

function listShape(context, value, name, kind, length, prefix) {
  const keys = Reflect.ownKeys(value).filter((key) => isShown(value, key) && !(typeof key === "string" && /^(0|[1-9]\d*)$/.test(key)));
  const entries = (level) => {
    const output = [];
    let at = 0;
    while (at < length && output.length < MOST_ENTRIES) {
      if (!Object.hasOwn(value, at)) {
        const from = at;
        while (at < length && !Object.hasOwn(value, at)) at++;
        output.push(`<${at - from} empty item${at - from > 1 ? "s" : ""}>`);
      } else {
        output.push(property(context, value, String(at++), level, true, true));
      }
    }
    if (at < length) output.push(`... ${length - at} more item${length - at > 1 ? "s" : ""}`);
    return output;
  };
  return { open: `${prefix}[`, close: "]", entries: length > 0 ? entries : undefined, keys, isList: true, isPlainList: true, hasMore: length > MOST_ENTRIES };
}

function functionBase(value, name) {
  const source = Function.prototype.toString.call(value);
  if (/^class\b/.test(source) && source.endsWith("}")) {
    const parent = Object.getPrototypeOf(value)?.name;
    return `[class ${value.name || "(anonymous)"}${parent ? ` extends ${parent}` : ""}]`;
  }
  const kind = name ?? "Function";
  return `[${kind}${name === null ? " (null prototype)" : ""}${value.name ? `: ${value.name}` : " (anonymous)"}]`;
}

/// The stack as Node has it: the message, then where it was thrown.
function errorShape(context, error, name, level) {
  const keys = Reflect.ownKeys(error).filter((key) => isShown(error, key) && !["name", "message", "stack"].includes(key));
  for (const key of ["cause", "errors"]) {
    if (Object.hasOwn(error, key) && !keys.includes(key)) keys.push(key);
  }
  const head = safely(() => Error.prototype.toString.call(error), () => name ?? "Error");
  const stack = safely(() => withSources(String(error.stack ?? "")), () => "").trimEnd();
  const frames = stack.startsWith(head) ? stack.slice(head.length) : `\n${stack}`;
  const said = cut(head, context.headBytes);
  const whole = stack === "" ? `[${said}]` : `${said}${frames}`;
  const indented = whole.replaceAll("\n", `\n${" ".repeat(context.indent)}`);
  return { base: indented, open: "{", close: "}", keys, isError: true };
}

function withIndent(context, more, run) {
  context.indent += more;
  try {
    return run();
  } finally {
    context.indent -= more;
  }
}

function property(context, value, key, level, isOfList = false, isEntry = false) {
  const described = Object.getOwnPropertyDescriptor(value, key) ?? { value: value[key], enumerable: true };
  let text;
  if ("value" in described) {
    text = withIndent(context, isOfList && isEntry ? 2 : context.compact === 3 ? 2 : 3, () => format(context, described.value, level));
  } else {
    text = described.get ? (described.set ? "[Getter/Setter]" : "[Getter]") : "[Setter]";
  }
  if (isEntry) return text;
  const name = typeof key === "symbol" ? `[${String(key)}]` : /^[a-zA-Z_][a-zA-Z_0-9]*$/.test(key) ? key : quoted(key);
  return `${described.enumerable ? name : `[${typeof key === "symbol" ? String(key) : key}]`}: ${text}`;
}

/// Entries of a long list side by side.
function inColumns(context, output, value, hasMore) {
  const count = hasMore ? output.length - 1 : output.length;
  const lengths = output.slice(0, count).map((entry) => entry.length);
  const longest = Math.max(...lengths);
  const total = lengths.reduce((sum, length) => sum + length + 2, 0);
  const width = longest + 2;
  if (!(width * 3 + context.indent < context.breakLength && (total / width > 5 || longest <= 6))) return output;
  const biased = Math.max(width - 3 - Math.sqrt(width - total / output.length), 1);
  const columns = Math.min(
    Math.round(Math.sqrt(2.5 * biased * count) / biased),
    Math.floor((context.breakLength - context.indent) / width),
    context.compact * 4,
    15,
  );
  if (columns <= 1) return output;
  const widths = Array.from({ length: columns }, (_, column) => {
    const own = lengths.filter((_, at) => at % columns === column);
    return Math.max(0, ...own) + 2;
  });
  const isNumeric = value !== undefined && output.every((_, at) => ["number", "bigint"].includes(typeof value[at]));
  const pad = isNumeric ? "padStart" : "padEnd";
  const lines = [];
  for (let from = 0; from < count; from += columns) {
    const to = Math.min(from + columns, count);
    let line = "";
    for (let at = from; at < to - 1; at++) line += `${output[at]}, `[pad](widths[at - from]);
    line += isNumeric ? output[to - 1].padStart(widths[to - 1 - from] - 2) : output[to - 1];
    lines.push(line);
  }
  return hasMore ? [...lines, output[count]] : lines;
}
