// `console` as Node has it, into the server's log. Nothing that it is given makes it throw.

import output from "lictor:plugin/output@0.1.0";
import { formatted, inspect } from "./inspect.js";
import { withSources } from "./lines.js";
import { toUtf8 } from "./text.js";

const counts = new Map();
const timers = new Map();
let indent = "";

/// Logs values, as `console.log` does.
export const log = harmless((...values) => write(formatted(values)));

/// A function that does its best and never throws, whatever the values do that it is given.
function harmless(run) {
  return (...values) => {
    try {
      run(...values);
    } catch {
      output.print("[values that can't be shown]");
    }
  };
}

/// Units of a text that cross at once. The host takes 16 MiB; of a call it logs 64 KiB and counts the rest.
const PIECE_UNITS = 1 << 20;

function write(words) {
  const text = (indent === "" ? words : words.replace(/^/gm, indent)).toWellFormed();
  if (text.length <= PIECE_UNITS) return output.print(text);
  output.print("");
  for (let at = 0; at < text.length; at += PIECE_UNITS) output.write(toUtf8(text.slice(at, at + PIECE_UNITS)));
  output.print("");
}

function labelled(label) {
  return label === undefined ? "default" : inspectedLabel(label);
}

const inspectedLabel = (label) => (typeof label === "string" ? label : inspect(label));

const elapsed = (label, values) => {
  const began = timers.get(label);
  if (began === undefined) return log(`No such label '${label}' for console.time()`);
  log(`${label}: ${shownTime(performance.now() - began)}`, ...values);
};

const shownTime = (ms) => (ms >= 1000 ? `${(ms / 1000).toFixed(3)}s` : `${Number(ms.toFixed(3))}ms`);

function openGroup(...values) {
  if (values.length > 0) log(...values);
  indent += "  ";
}

const methods = {
  log,
  debug: log,
  info: log,
  warn: log,
  error: log,
  dir: (value, options) => write(inspect(value, { depth: options?.depth })),
  dirxml: log,
  assert(holds, ...values) {
    if (holds) return;
    if (typeof values[0] === "string") log(`Assertion failed: ${values[0]}`, ...values.slice(1));
    else log(...(values.length > 0 ? ["Assertion failed:", ...values] : ["Assertion failed"]));
  },
  count(label) {
    const name = labelled(label);
    counts.set(name, (counts.get(name) ?? 0) + 1);
    log(`${name}: ${counts.get(name)}`);
  },
  countReset: (label) => void counts.delete(labelled(label)),
  group: openGroup,
  groupCollapsed: openGroup,
  groupEnd: () => void (indent = indent.slice(2)),
  time: (label) => void timers.set(labelled(label), performance.now()),
  timeLog: (label, ...values) => elapsed(labelled(label), values),
  timeEnd(label) {
    elapsed(labelled(label), []);
    timers.delete(labelled(label));
  },
  trace(...values) {
    const lines = withSources(String(new Error().stack)).trimEnd().split("\n");
    const stack = lines.filter((line) => !line.includes("lictor/console.js")).join("\n");
    write(`Trace${values.length > 0 ? `: ${formatted(values)}` : ""}\n${stack}`);
  },
  table(rows, columns) {
    try {
      write(tableOf(rows, columns));
    } catch {
      log(rows);
    }
  },
  clear() {},
};

export const console = Object.fromEntries(Object.entries(methods).map(([name, run]) => [name, harmless(run)]));

/// Forgets groups, counts and timers of the command before.
export function reset() {
  indent = "";
  counts.clear();
  timers.clear();
}

/// A table of Node's: a line for each entry, a column for each of its properties.
function tableOf(rows, columns) {
  if (typeof rows !== "object" || rows === null) return formatted([rows]);
  const isMap = rows instanceof Map;
  const entries = isMap || rows instanceof Set ? [...rows.entries()].map(([key, value], at) => [String(at), isMap ? { Key: key, Values: value } : value]) : Object.entries(rows);
  const keys = new Set();
  let hasValues = false;
  const lines = entries.map(([index, row]) => {
    if (typeof row !== "object" || row === null) {
      hasValues = true;
      return { index, value: inspect(row), cells: {} };
    }
    const cells = {};
    for (const key of columns ?? Object.keys(row)) {
      keys.add(key);
      if (Object.hasOwn(row, key)) cells[key] = inspect(row[key], { depth: 0 });
    }
    return { index, cells };
  });
  const first = isMap || rows instanceof Set ? "(iteration index)" : "(index)";
  const head = [first, ...keys, ...(hasValues ? ["Values"] : [])];
  const body = lines.map(({ index, cells, value }) => [index, ...[...keys].map((key) => cells[key] ?? ""), ...(hasValues ? [value ?? ""] : [])]);
  const widths = head.map((name, at) => Math.max(...[name, ...body.map((line) => line[at])].map((cell) => cell.length)) + 2);
  const centred = (cell, width) => `${" ".repeat((width - cell.length) >> 1)}${cell}`.padEnd(width);
  const rule = (left, middle, right) => left + widths.map((width) => "─".repeat(width)).join(middle) + right;
  const line = (cells) => `│${cells.map((cell, at) => centred(cell, widths[at])).join("│")}│`;
  return [rule("┌", "┬", "┐"), line(head), rule("├", "┼", "┤"), ...body.map(line), rule("└", "┴", "┘")].join("\n");
}
