// Where a plugin's code runs in a test: a context of its own, with the globals of QuickJS and without those of Node.js. What
// crosses into it and out of it is copied, and refused as the component model refuses it.

import vm from "node:vm";
import { array, delta, level, refusal, text, whole } from "../check.js";
import { Failure } from "../failure.js";
import * as base64 from "./base64.js";

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
const PRELUDE = new vm.Script(`(now, elapsed, { atob, btoa, base64, DOMException }) => {
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
  const chosen = (given, ...names) => {
    const { fault, ...options } = base64.options(given, ...names);
    if (fault) throw new TypeError(fault);
    return options;
  };
  const textOf = (text) => {
    if (typeof text !== "string") throw new TypeError("what is read has to be a text");
    return text;
  };
  const bytesOf = (array) => {
    if (!(array instanceof Uint8Array)) throw new TypeError("this is no Uint8Array");
    return array;
  };
  const read = ({ bytes, fault }) => {
    if (fault) throw new SyntaxError(fault);
    return new Uint8Array(bytes);
  };
  const set = (array, { bytes, read, fault }) => {
    array.set(bytes);
    if (fault) throw new SyntaxError(fault);
    return { read, written: bytes.length };
  };
  const OF_READING = ["alphabet", "lastChunkHandling"];
  add(Uint8Array, {
    fromBase64: (text, options) => read(base64.fromBase64(textOf(text), chosen(options, ...OF_READING))),
    fromHex: (text) => read(base64.fromHex(textOf(text))),
  });
  add(Uint8Array.prototype, {
    toBase64(options) {
      return base64.toBase64(bytesOf(this), chosen(options, "alphabet"), Boolean(options?.omitPadding));
    },
    setFromBase64(text, options) {
      return set(this, base64.fromBase64(textOf(text), chosen(options, ...OF_READING), bytesOf(this).length));
    },
    toHex() {
      return Array.from(bytesOf(this), (byte) => byte.toString(16).padStart(2, "0")).join("");
    },
    setFromHex(text) {
      return set(this, base64.fromHex(textOf(text), bytesOf(this).length));
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
    this.make = PRELUDE.runInContext(this.context)(now, elapsed, { atob, btoa, base64, DOMException });
  }

  /// A copy of a value in the context.
  enter(value) {
    if (typeof value === "function") return this.make.function((args) => this.enter(value(...args)));
    if (typeof value !== "object" || value === null) return value;
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

const typeOf = (value) => Object.prototype.toString.call(value).slice(8, -1);

/// Types of interfaces: what a value of the plugin's is to the host.
export const TYPES = {
  string: text,
  bytes(value, name) {
    if (typeOf(value) === "Uint8Array") return new Uint8Array(value);
    if (!Array.isArray(value)) throw refusal(TypeError, name, "a Uint8Array", value);
    return Uint8Array.from(value, (byte) => whole(byte, name, 0, 256));
  },
  u64: (value, name) => whole(value, name),
  s64: delta,
  u32: (value, name) => whole(value, name, 0, 2 ** 32),
  level,
  texts: list((value, name) => text(value, name)),
  pairs: list(list((value, name) => text(value, name))),
  entries: list((entry, name) => [text(entry?.[0], name), TYPES.bytes(entry?.[1], name)]),
  failure: record({ code: "string", message: "string" }),
  request: record({ method: "string", url: "string", headers: "pairs", body: "bytes", timeoutMs: "option-u64" }),
  bucket(value, name) {
    if (typeof value?.store !== "string") throw refusal(TypeError, name, "an open store", value);
    return value.store;
  },
};

function list(each) {
  return (value, name) => Array.from(array(value, name), (of) => each(of, name));
}

function record(fields) {
  return (value, name) => {
    if (typeof value !== "object" || value === null) throw refusal(TypeError, name, "an object", value);
    return Object.fromEntries(Object.entries(fields).map(([field, type]) => [field, checked(type, value[field], field)]));
  };
}

/// The value as one of this type; `option-` before it lets it be missing.
function checked(type, value, name) {
  if (!type.startsWith("option-")) return TYPES[type](value, name);
  return value === undefined || value === null ? null : checked(type.slice("option-".length), value, name);
}

/// The same. A value of another type breaks the call off, as it does in a component's runtime.
export function typed(type, value) {
  try {
    return checked(type, value, "what the plugin hands to the host");
  } catch (error) {
    throw new Ended("plugin-trapped", error.message);
  }
}
