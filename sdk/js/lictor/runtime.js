// Globals that every plugin has.

import request from "lictor:plugin/request@0.1.0";
import { console } from "./console.js";
import "./promises.js";
import { fromUtf8, toUtf8 } from "./text.js";

class TextEncoder {
  get encoding() {
    return "utf-8";
  }
  encode(text = "") {
    return toUtf8(String(text));
  }
  encodeInto(text, target) {
    let [read, written] = [0, 0];
    for (const character of String(text)) {
      const bytes = toUtf8(character);
      if (written + bytes.length > target.length) break;
      target.set(bytes, written);
      read += character.length;
      written += bytes.length;
    }
    return { read, written };
  }
}

class TextDecoder {
  #fatal;
  #ignoreBOM;
  #kept = new Uint8Array(0);
  #isLater = false;
  constructor(label = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
    if (!["utf-8", "utf8", "unicode-1-1-utf-8"].includes(String(label).trim().toLowerCase())) {
      throw new RangeError(`this host decodes UTF-8 only, not ${label}`);
    }
    [this.#fatal, this.#ignoreBOM] = [Boolean(fatal), Boolean(ignoreBOM)];
  }
  get encoding() {
    return "utf-8";
  }
  get fatal() {
    return this.#fatal;
  }
  get ignoreBOM() {
    return this.#ignoreBOM;
  }
  decode(data, { stream = false } = {}) {
    let bytes = bytesOf(data);
    if (this.#kept.length > 0) bytes = joined(this.#kept, bytes);
    const whole = stream ? bytes.length - cutOff(bytes) : bytes.length;
    this.#kept = bytes.slice(whole);
    const text = fromUtf8(bytes.subarray(0, whole), this.#fatal);
    const isFirst = !this.#isLater;
    this.#isLater = stream && (!isFirst || text !== "");
    return isFirst && !this.#ignoreBOM && text.startsWith("\ufeff") ? text.slice(1) : text;
  }
}

function bytesOf(data) {
  if (data === undefined) return new Uint8Array(0);
  if (data instanceof Uint8Array) return data;
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return new Uint8Array(data);
}

function joined(one, other) {
  const both = new Uint8Array(one.length + other.length);
  both.set(one);
  both.set(other, one.length);
  return both;
}

/// Bytes at the end that begin a character and do not end it.
function cutOff(bytes) {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back];
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) return back < (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) ? back : 0;
  }
  return 0;
}

/// A copy of a value and all that is in it.
function structuredClone(value) {
  return cloned(value, new Map());
}

function cloned(value, known) {
  if (typeof value === "function" || typeof value === "symbol") {
    throw new DOMException(`${String(value)} could not be cloned.`, "DataCloneError");
  }
  if (typeof value !== "object" || value === null) return value;
  if (known.has(value)) return known.get(value);
  const add = (copy) => {
    known.set(value, copy);
    return copy;
  };
  for (const Boxed of [Number, Boolean, String, BigInt]) if (value instanceof Boxed) return add(Object(value.valueOf()));
  if (value instanceof Date) return add(new Date(value.getTime()));
  if (value instanceof RegExp) return add(new RegExp(value.source, value.flags));
  if (value instanceof ArrayBuffer) return add(value.slice(0));
  if (value instanceof DataView) return add(new DataView(cloned(value.buffer, known), value.byteOffset, value.byteLength));
  if (ArrayBuffer.isView(value)) return add(new value.constructor(cloned(value.buffer, known), value.byteOffset, value.length));
  if (value instanceof Map) {
    const copy = add(new Map());
    for (const [key, of] of [...value]) copy.set(cloned(key, known), cloned(of, known));
    return copy;
  }
  if (value instanceof Set) {
    const copy = add(new Set());
    for (const of of [...value]) copy.add(cloned(of, known));
    return copy;
  }
  if (value instanceof Error) return clonedError(value, known, add);
  if (value instanceof WeakMap || value instanceof WeakSet || value instanceof WeakRef || value instanceof Promise) {
    throw new DOMException(`${Object.prototype.toString.call(value)} could not be cloned.`, "DataCloneError");
  }
  const copy = add(Array.isArray(value) ? new Array(value.length) : {});
  for (const key of Object.keys(value)) copy[key] = cloned(value[key], known);
  return copy;
}

const ERRORS = { EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };

function clonedError(value, known, add) {
  const copy = add(new (ERRORS[value.name] ?? Error)(value.message));
  copy.stack = value.stack;
  if (Object.hasOwn(value, "cause")) copy.cause = cloned(value.cause, known);
  return copy;
}

/// Functions that run when the command's own has returned: nothing else drives them here.
const microtasks = [];

function queueMicrotask(run) {
  if (typeof run !== "function") throw new TypeError("queueMicrotask takes a function");
  microtasks.push(run);
}

/// Runs what was queued, and what that queues.
export function runMicrotasks() {
  for (let run; (run = microtasks.shift()); ) run();
}

/// Forgets what a command that failed has queued.
export function dropMicrotasks() {
  microtasks.length = 0;
}

Object.assign(globalThis, { TextEncoder, TextDecoder, structuredClone, queueMicrotask, console });

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
