// The table of commands, and what becomes of what a command gives.

import { advice } from "./absent.js";
import { options as checked, run as runnable, shown, text } from "./check.js";
import { log as print, reset } from "./console.js";
import { Failure } from "./failure.js";
import { cut, inspect } from "./inspect.js";
import { forgetRejections, throwUnhandled } from "./promises.js";
import { dropMicrotasks, runMicrotasks } from "./runtime.js";
import { fromUtf8, toUtf8 } from "./text.js";

const table = new Map();

/// Codes that would blame the client for what the plugin asked of the host.
const BLAMING = ["bad-arguments", "not-found", "denied"];

/// Failures that the host gave, and not the author, each with the codes of which the client is not told.
const ofHost = new WeakMap();

/// What `use` gives; a failure of the host's as a Failure.
export function host(use, blaming = BLAMING) {
  try {
    return use();
  } catch (error) {
    const given = error?.payload;
    throw typeof given?.code === "string" ? failureOfHost(given.code, given.message, blaming) : error;
  }
}

/// A failure that goes to the log with its place where nobody catches it.
export function failureOfHost(code, message, blaming = BLAMING) {
  const failure = new Failure(code, message);
  ofHost.set(failure, blaming);
  return failure;
}

export function command(usage, summary, options, run) {
  if (typeof options === "function" && run === undefined) [options, run] = [{}, options];
  text(usage, "the usage of a command");
  const called = `command(${JSON.stringify(usage)}, "what it does", …)`;
  if (typeof summary !== "string") throw new TypeError(`${called} has to have a text for what it does, not ${shown(summary)}`);
  runnable(run, `the last argument of ${called}`);
  const { idempotent = false } = checked(options ?? {}, "idempotent");
  if (typeof idempotent !== "boolean") throw new TypeError(`idempotent has to be true or false, not ${shown(idempotent)}`);
  const { name, least, most } = parsed(usage);
  if (table.has(name)) throw new TypeError(`the command ${name} is added twice`);
  const fault = isAsync(run) ? new TypeError(`the command ${name} is async: it replies with what its function returns, so take out async`) : null;
  table.set(name, { name, usage, summary, idempotent, least, most, run, fault });
}

/// Of a function as the build writes it: those that are `async` call a helper of the build's.
const isAsync = (run) => /^[^{]*(=>|\{\s*return)\s*__async\d*\(/.test(String(run));

/// A command's name and how many arguments it takes.
function parsed(usage) {
  const wrong = (why) => new TypeError(`the usage ${JSON.stringify(usage)} ${why}`);
  const [name, ...parameters] = usage.split(" ");
  if (name === "" || parameters.includes("")) throw wrong("has to be a name and its arguments, with one space between them");
  const isOptional = (parameter) => parameter.startsWith("[");
  const firstOptional = parameters.findIndex(isOptional);
  const least = firstOptional < 0 ? parameters.length : firstOptional;
  const behind = parameters.slice(least).find((parameter) => !isOptional(parameter));
  if (behind) throw wrong(`has ${behind} behind ${parameters[least]}, which may be left out: put those last, each in brackets of its own`);
  const repeats = (parameter) => /\.\.\.\]*$/.test(parameter);
  const repeated = parameters.findIndex(repeats);
  if (repeated >= 0 && repeated < parameters.length - 1) throw wrong(`has ${parameters[repeated]} before its end: what may be repeated comes last`);
  return { name, least, most: repeated >= 0 ? Infinity : parameters.length };
}

export const described = () =>
  [...table.values()].map(({ name, summary, usage, idempotent }) => ({ name, summary, usage, idempotent }));

export const commands = {
  describe() {
    for (const { fault } of table.values()) if (fault) throw fault;
    return described();
  },

  handle([name, ...args]) {
    try {
      reset();
      forgetRejections();
      const entry = find(name, args.length);
      const reply = entry.run(...args);
      runMicrotasks();
      const bytes = replied(reply, entry);
      throwUnhandled();
      return bytes;
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

/// The bytes of a reply, or of a part of one, of this command.
export function replied(reply, { name }) {
  if (reply === undefined || reply === null) return new Uint8Array(0);
  const bytes = bytesOfAny(reply);
  if (bytes) return bytes;
  const returned = `the command ${name} returned`;
  if (reply instanceof Promise) throw new TypeError(`${returned} a promise: commands are not async, unless added by \`stream\``);
  if (typeof reply.next === "function") throw new TypeError(`${returned} a generator: add it by \`stream\`, not by \`command\``);
  throw new TypeError(`${returned} ${inspect(reply, { depth: 0 })}: a reply is a text, a number or a Uint8Array (JSON.stringify makes a text)`);
}

/// What the client is told. A failure that the host's interfaces gave (an error's `payload`) goes to the log with its place, since
/// the author did not write it, and is passed on unless that would blame the client. What nobody expected goes to the log too, and
/// the client only hears that it happened.
export function failureOf(error) {
  try {
    const failure = error instanceof Failure ? error : error?.payload;
    if (typeof failure?.code === "string" && typeof failure.message === "string") {
      const blaming = failure === error ? ofHost.get(error) : BLAMING;
      if (blaming) logUncaught(error);
      if (blaming?.includes(failure.code)) return UNEXPECTED;
      return { code: failure.code.toWellFormed(), message: failure.message.toWellFormed() };
    }
  } catch {
    // It is shown like any other value.
  }
  logUncaught(error);
  return UNEXPECTED;
}

const UNEXPECTED = { code: "failed", message: "the plugin met an error that it did not expect" };

/// Of a line of 2048 bytes, so that there is room for the places.
const MAX_HEAD_BYTES = 700;

/// In one line: a server logs so many lines a second of a plugin, and a stack has many.
function logUncaught(error) {
  const told = typeof error === "string" ? cut(error, MAX_HEAD_BYTES) : inspect(error, { headBytes: MAX_HEAD_BYTES });
  print(`uncaught ${told}${advice(error)}`.replace(/\s*\n\s*/g, " "));
}

// Texts and bytes

export const encode = (text) => toUtf8(String(text));

export function decode(bytes) {
  if (typeof bytes === "string") throw new TypeError("what is decoded has to be bytes, not a text");
  const known = bytesOf(bytes);
  try {
    return fromUtf8(known, true);
  } catch {
    throw new Failure("bad-arguments", "this is no text in UTF-8");
  }
}

export function bytesOf(value) {
  const bytes = bytesOfAny(value);
  if (bytes) return bytes;
  throw new TypeError(`a reply or a value is a text, a number or a Uint8Array, not ${inspect(value, { depth: 0 })}`);
}

function bytesOfAny(value) {
  if (value instanceof Uint8Array) return value;
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  return ["string", "number", "bigint"].includes(typeof value) ? encode(value) : null;
}
