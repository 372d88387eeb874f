// Where a plugin's code runs in a test: a context of its own, with the globals of QuickJS and without those of Node.js. What
// crosses into it and out of it is copied, and refused as the component model refuses it.

import vm from "node:vm";
import { Failure } from "./failure.js";

/// Globals that QuickJS has in a plugin. What else V8 has is taken away.
const GLOBALS = new Set(
  `Object Function Error EvalError RangeError ReferenceError SyntaxError TypeError URIError InternalError AggregateError
  SuppressedError Iterator Array parseInt parseFloat isNaN isFinite queueMicrotask decodeURI decodeURIComponent encodeURI
  encodeURIComponent escape unescape Infinity NaN undefined eval Number Boolean String Math Reflect Symbol DisposableStack
  globalThis BigInt Date RegExp JSON Proxy Map Set WeakMap WeakSet ArrayBuffer SharedArrayBuffer Uint8ClampedArray Int8Array
  Uint8Array Int16Array Uint16Array Int32Array Uint32Array BigInt64Array BigUint64Array Float16Array Float32Array Float64Array
  DataView Promise AsyncDisposableStack WeakRef FinalizationRegistry DOMException btoa atob performance`.split(/\s+/),
);

/// Run in the context before the plugin: what QuickJS has and V8 lacks, and clocks that the test sets.
const PRELUDE = new vm.Script(`(now, elapsed, { atob, btoa, textOf, bytesOf, DOMException }) => {
  const Real = Date;
  globalThis.Date = new Proxy(Real, {
    apply: () => new Real(now()).toString(),
    construct: (target, args, made) => Reflect.construct(target, args.length > 0 ? args : [now()], made),
    get: (target, name) => (name === "now" ? now : target[name]),
  });
  Real.prototype.constructor = globalThis.Date;
  globalThis.performance = Object.freeze({ now: () => elapsed() });
  globalThis.DOMException = DOMException;
  globalThis.btoa = (text) => btoa(String(text));
  globalThis.atob = (text) => atob(String(text));
  const add = (target, methods) => {
    for (const [name, value] of Object.entries(methods)) {
      if (!Object.hasOwn(target, name)) Object.defineProperty(target, name, { value, writable: true, configurable: true });
    }
  };
  add(Uint8Array, {
    fromBase64: (text) => new Uint8Array(bytesOf(text)),
    fromHex: (text) => Uint8Array.from(text.match(/../g) ?? [], (digits) => parseInt(digits, 16)),
  });
  add(Uint8Array.prototype, {
    toBase64() {
      return textOf(this);
    },
    toHex() {
      return Array.from(this, (byte) => byte.toString(16).padStart(2, "0")).join("");
    },
  });
  add(Promise, {
    withResolvers() {
      const made = {};
      made.promise = new this((resolve, reject) => Object.assign(made, { resolve, reject }));
      return made;
    },
  });
  return {
    bytes: (length) => new Uint8Array(length),
    array: () => [],
    object: () => ({}),
    error: (message, payload) => Object.assign(new Error(message), payload === undefined ? {} : { payload }),
    typeError: (message) => new TypeError(message),
    function: (run) => (...args) => run(args),
  };
}`);

const BASE64 = {
  atob,
  btoa,
  DOMException,
  textOf: (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64"),
  bytesOf(text) {
    if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw new SyntaxError("this is no base64");
    return Buffer.from(text, "base64");
  },
};

/// The host ended the call, or the call broke off: whatever the plugin makes of it, that is its end.
export class Ended extends Failure {}

/// A context, with `clocks` (`now` and `elapsed`, in milliseconds) behind its `Date` and `performance`. Promises are driven where
/// the plugin's commands stream, and nowhere else.
export class Realm {
  constructor(clocks, isStreaming) {
    this.context = vm.createContext({}, isStreaming ? {} : { microtaskMode: "afterEvaluate" });
    for (const name of vm.runInContext("Object.getOwnPropertyNames(globalThis)", this.context)) {
      if (!GLOBALS.has(name)) vm.runInContext(`delete globalThis[${JSON.stringify(name)}]`, this.context);
    }
    const { now, elapsed } = clocks;
    this.make = PRELUDE.runInContext(this.context)(now, elapsed, BASE64);
  }

  /// A copy of a value in the context. What is missing is null there.
  enter(value) {
    if (value === undefined || value === null) return null;
    if (typeof value === "function") return this.make.function((args) => this.enter(value(...args)));
    if (typeof value !== "object") return value;
    if (value instanceof Uint8Array) {
      const bytes = this.make.bytes(value.length);
      bytes.set(value);
      return bytes;
    }
    const copy = Array.isArray(value) ? this.make.array() : this.make.object();
    for (const key of Object.keys(value)) copy[key] = this.enter(value[key]);
    return copy;
  }
}

/// Breaks the call off, as the component's runtime does where a value is of another type than the interface's.
function trap(expected, value) {
  const shown = typeof value === "object" && value !== null ? "an object" : typeof value === "string" ? JSON.stringify(value) : String(value);
  return new Ended("plugin-trapped", `the plugin hands over ${shown} where the host expects ${expected}`);
}

const isArray = (value) => Array.isArray(value);
const typeOf = (value) => Object.prototype.toString.call(value).slice(8, -1);

function integer(value, least, most, expected) {
  if (typeof value !== "number") throw trap(expected, value);
  const whole = Number.isNaN(value) ? 0 : Math.trunc(value);
  if (whole < least || whole > most) throw trap(expected, value);
  return whole;
}

const LEVELS = ["trace", "debug", "info", "warn", "error", "critical"];

/// Types of interfaces: what a value of the plugin's is to the host.
export const TYPES = {
  string(value) {
    if (typeof value !== "string" || !value.isWellFormed()) throw trap("a text", value);
    return value;
  },
  bytes(value) {
    if (typeOf(value) === "Uint8Array") return new Uint8Array(value);
    if (!isArray(value)) throw trap("a Uint8Array", value);
    return Uint8Array.from(value, (byte) => integer(byte, -(2 ** 31), 2 ** 32, "a byte"));
  },
  u64: (value) => integer(value, 0, 2 ** 64, "a number from 0"),
  s64: (value) => integer(value, -(2 ** 63), 2 ** 63, "a number"),
  u32: (value) => integer(value, -(2 ** 63), 2 ** 64, "a number") >>> 0,
  level(value) {
    if (!LEVELS.includes(value)) throw trap(`one of ${LEVELS.join(", ")}`, value);
    return value;
  },
  texts: (value) => list(value, TYPES.string),
  pairs: (value) => list(value, (pair) => list(pair, TYPES.string)),
  entries: (value) => list(value, (entry) => [TYPES.string(entry?.[0]), TYPES.bytes(entry?.[1])]),
  failure: (value) => record(value, { code: "string", message: "string" }),
  request: (value) =>
    record(value, { method: "string", url: "string", headers: "pairs", body: "bytes", timeoutMs: "option-u64" }),
  bucket(value) {
    if (typeof value?.store !== "string") throw trap("an open store", value);
    return value.store;
  },
};

function list(value, each) {
  if (!isArray(value)) throw trap("an array", value);
  return Array.from(value, each);
}

function record(value, fields) {
  if (typeof value !== "object" || value === null) throw trap("an object", value);
  return Object.fromEntries(Object.entries(fields).map(([name, type]) => [name, typed(type, value[name])]));
}

/// The value as one of this type; `option-` before it lets it be missing.
export function typed(type, value) {
  if (!type.startsWith("option-")) return TYPES[type](value);
  return value === undefined || value === null ? null : typed(type.slice("option-".length), value);
}
