// The kit of a plugin in JavaScript: a table of commands over what `lictor:plugin` imports and exports.
//
//     import { command } from "./lictor.js";
//     export { commands } from "./lictor.js";
//     command("greet [WHO]", "greets somebody", { idempotent: true }, (who = "world") => `hello ${who}`);
//
// This file runs once while the plugin is built, and is frozen then: nothing here may ask the host at top level.

import output from "lictor:plugin/output@0.1.0";
import request from "lictor:plugin/request@0.1.0";

const table = new Map();

/// Says no to the client. `code` is `bad-arguments`, `not-found`, `conflict`, `denied`, `unavailable` or `failed`.
export class Failure extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/// Adds a command. `usage` begins with its name and says how many arguments it takes: `[X]` may be left out, and what
/// ends with `...` may be repeated. `run` gets them as texts, and returns the reply: a text, a number, bytes, or nothing.
export function command(usage, summary, { idempotent = false }, run) {
  const [name, ...parameters] = usage.split(" ");
  const least = parameters.filter((parameter) => !parameter.startsWith("[")).length;
  const most = usage.endsWith("...") ? Infinity : parameters.length;
  table.set(name, { name, usage, summary, idempotent, least, most, run });
}

/// What the plugin exports; a plugin's own file has `export { commands } from "./lictor.js"`.
export const commands = {
  describe: () =>
    [...table.values()].map(({ name, summary, usage, idempotent }) => ({ name, summary, usage, idempotent })),

  handle([name, ...args]) {
    try {
      return bytesOf(find(name, args.length).run(...args));
    } catch (error) {
      throw failureOf(error);
    }
  },
};

/// Who sent the request: `{ name, thumbprint }`.
export const caller = () => request.caller();

/// The id of the request, which stands in the log beside all that it does.
export const id = () => request.id();

/// The first header of this name, or null.
export const header = (name) => request.header(name);

/// All headers, as pairs of name and value.
export const headers = () => request.headers();

/// The body of the request.
export const body = () => request.body();

/// Milliseconds until the host stops this call.
export const timeLeft = () => request.timeLeftMs();

/// Units of a text that cross at once. The host takes 16 MiB; of a call it logs 64 KiB and counts the rest.
const PIECE_UNITS = 1 << 20;

/// Logs a text. `console.log` and its like do so too.
export function print(value) {
  const text = String(value).toWellFormed();
  if (text.length <= PIECE_UNITS) return output.print(text);
  output.print("");
  for (let at = 0; at < text.length; at += PIECE_UNITS) output.write(encode(text.slice(at, at + PIECE_UNITS)));
  output.print("");
}

/// The UTF-8 bytes of a text. QuickJS has no `TextEncoder`.
export function encode(text) {
  const binary = unescape(encodeURIComponent(text.toWellFormed()));
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/// The text which these bytes are in UTF-8; fails with `bad-arguments` where they are none.
export function decode(bytes) {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 4096) {
    binary += String.fromCharCode(...bytes.subarray(at, at + 4096));
  }
  try {
    return decodeURIComponent(escape(binary));
  } catch {
    throw new Failure("bad-arguments", "this is no text in UTF-8");
  }
}

function find(name, count) {
  const entry = table.get(name);
  if (!entry) throw new Failure("not-found", `this plugin has no command ${name}`);
  if (count < entry.least || count > entry.most) throw new Failure("bad-arguments", `usage: ${entry.usage}`);
  return entry;
}

function bytesOf(reply) {
  if (reply instanceof Uint8Array) return reply;
  if (reply === undefined) return new Uint8Array(0);
  if (["string", "number", "bigint"].includes(typeof reply)) return encode(String(reply));
  throw new TypeError("a reply is a text, a number or a Uint8Array (and no promise: commands are not async)");
}

/// What the client is told. A failure that the host's interfaces gave (an error's `payload`) is passed on; what nobody
/// expected goes to the log, and the client only hears that it happened.
function failureOf(error) {
  const failure = error instanceof Failure ? error : error?.payload;
  if (typeof failure?.code === "string" && typeof failure.message === "string") {
    return { code: failure.code, message: failure.message };
  }
  print(`uncaught ${shown(error)}`);
  return { code: "failed", message: "the plugin met an error that it did not expect" };
}

function shown(value) {
  if (value instanceof Error) return `${value}\n${value.stack}`;
  if (typeof value === "string") return value;
  return JSON.stringify(value) ?? String(value);
}

const log = (...values) => print(values.map(shown).join(" "));
globalThis.console ??= { log, debug: log, info: log, warn: log, error: log };

/// QuickJS chose its seed while the plugin was built: without this, each fresh instance would draw the same numbers.
/// The numbers are different ones, and still no secrets. (xorshift, after a hash of the time and the request's id)
let seed = 0;
Math.random = () => {
  if (seed === 0) {
    const text = `${request.id()} ${Date.now()} ${performance.now()}`;
    for (const unit of text) seed = Math.imul(seed ^ unit.charCodeAt(0), 0x9e3779b1);
    seed ||= 1;
  }
  return (step() * 2 ** 21 + (step() >>> 11)) / 2 ** 53;
};

function step() {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return seed >>> 0;
}
