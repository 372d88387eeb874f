// The table of commands, and what becomes of what a command gives.

import { log as print, reset } from "./console.js";
import { inspect } from "./inspect.js";
import { dropMicrotasks, runMicrotasks } from "./runtime.js";
import { fromUtf8, toUtf8 } from "./text.js";

const table = new Map();

export class Failure extends Error {
  constructor(code, message) {
    super(message);
    this.name = "Failure";
    this.code = code;
  }
}

export function command(usage, summary, options, run = options) {
  const [name, ...parameters] = usage.split(" ");
  const least = parameters.filter((parameter) => !parameter.startsWith("[")).length;
  const most = usage.endsWith("...") ? Infinity : parameters.length;
  table.set(name, { name, usage, summary, idempotent: options.idempotent ?? false, least, most, run });
}

export const commands = {
  describe: () =>
    [...table.values()].map(({ name, summary, usage, idempotent }) => ({ name, summary, usage, idempotent })),

  handle([name, ...args]) {
    try {
      reset();
      const reply = find(name, args.length).run(...args);
      runMicrotasks();
      return replied(reply);
    } catch (error) {
      dropMicrotasks();
      throw failureOf(error);
    }
  },
};

export function find(name, count) {
  const entry = table.get(name);
  if (!entry) throw new Failure("not-found", `this plugin has no command ${name}`);
  if (count < entry.least || count > entry.most) throw new Failure("bad-arguments", `usage: ${entry.usage}`);
  return entry;
}

export function replied(reply) {
  if (reply === undefined || reply === null) return new Uint8Array(0);
  if (reply instanceof Promise) throw new TypeError("a command returned a promise: commands are not async, unless added by `stream`");
  if (typeof reply.next === "function") throw new TypeError("a command returned a generator: add it by `stream`, not by `command`");
  return bytesOf(reply);
}

/// What the client is told. A failure that the host's interfaces gave (an error's `payload`) is passed on; what nobody
/// expected goes to the log, and the client only hears that it happened.
export function failureOf(error) {
  try {
    const failure = error instanceof Failure ? error : error?.payload;
    if (typeof failure?.code === "string" && typeof failure.message === "string") {
      return { code: failure.code.toWellFormed(), message: failure.message.toWellFormed() };
    }
  } catch {
    // It is shown like any other value.
  }
  // In one line: a server logs so many lines a second of a plugin, and a stack has many.
  print(`uncaught ${typeof error === "string" ? error : inspect(error)}`.replace(/\s*\n\s*/g, " "));
  return { code: "failed", message: "the plugin met an error that it did not expect" };
}

// Texts and bytes

export const encode = (text) => toUtf8(String(text));

export function decode(bytes) {
  try {
    return fromUtf8(bytes, true);
  } catch {
    throw new Failure("bad-arguments", "this is no text in UTF-8");
  }
}

export function bytesOf(value) {
  if (value instanceof Uint8Array) return value;
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (["string", "number", "bigint"].includes(typeof value)) return encode(value);
  throw new TypeError(`a reply or a value is a text, a number or a Uint8Array, not ${inspect(value, { depth: 0 })}`);
}
