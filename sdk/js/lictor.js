// The kit of a plugin in JavaScript: a table of commands over what `lictor:plugin` imports and exports.
//
//     import { command } from "./lictor.js";
//     export { commands } from "./lictor.js";
//     command("greet [WHO]", "greets somebody", { idempotent: true }, (who = "world") => `hello ${who}`);
//
// lictor.d.ts documents each function. This file runs once while the plugin is built, and is frozen then: nothing here may
// ask the host at top level. An interface of the host is a part of the plugin only where the plugin uses it.

import caller_ from "lictor:plugin/call@0.1.0";
import events_ from "lictor:plugin/events@0.1.0";
import files_ from "lictor:plugin/files@0.1.0";
import http_ from "lictor:plugin/http@0.1.0";
import request from "lictor:plugin/request@0.1.0";
import state_ from "lictor:plugin/state@0.1.0";
import config_ from "wasi:config/store@0.2.0-rc.1";
import logging_ from "wasi:logging/logging@0.1.0-draft";
import random_ from "wasi:random/random@0.2.0";
import { log as print, reset } from "./lictor/console.js";
import { inspect } from "./lictor/inspect.js";
import { dropMicrotasks, runMicrotasks } from "./lictor/runtime.js";
import { fromUtf8, toUtf8 } from "./lictor/text.js";

const table = new Map();

// The commands

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

/// What `use` gives; a failure of the host's as a Failure.
function host(use) {
  try {
    return use();
  } catch (error) {
    const failure = error?.payload;
    if (typeof failure?.code === "string") throw new Failure(failure.code, failure.message);
    throw error;
  }
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

// The request

export const caller = () => request.caller();
export const id = () => request.id();
export const header = (name) => request.header(name);
export const headers = () => request.headers();
export const body = () => request.body();
export const text = () => decode(request.body());
export const timeLeft = () => request.timeLeftMs();

// The log

export { print };

export function logEvent(level, message, context = "") {
  logging_.log(level, context, message);
}

// The operator's config

export const config = {
  get: (key) => config_.get(key) ?? null,
  all: () => Object.fromEntries(config_.getAll()),
};

// Key-value state

export class Store {
  #name;
  constructor(name = "default") {
    this.#name = name;
  }
  get(key) {
    const entry = host(() => state_.get(this.#name, key));
    return entry ? new Entry(entry) : null;
  }
  set(key, value, { ttlMs = null } = {}) {
    return host(() => state_.set(this.#name, key, bytesOf(value), ttlMs));
  }
  delete(key) {
    return host(() => state_.delete(this.#name, key));
  }
  increment(key, delta = 1) {
    return host(() => state_.increment(this.#name, key, delta));
  }
  compareAndSet(key, expected, value, { ttlMs = null } = {}) {
    return host(() => state_.compareAndSet(this.#name, key, expected, bytesOf(value), ttlMs));
  }
  compareAndDelete(key, expected) {
    host(() => state_.compareAndDelete(this.#name, key, expected));
  }
  touch(key, ttlMs = null) {
    return host(() => state_.touch(this.#name, key, ttlMs));
  }
  listKeys(prefix = "", { after = null, limit = 1000 } = {}) {
    return host(() => state_.listKeys(this.#name, prefix, after, limit));
  }
  *keys(prefix = "") {
    for (let after = null, more = true; more; ) {
      const page = this.listKeys(prefix, { after });
      yield* page.keys;
      after = page.keys.at(-1);
      more = page.more;
    }
  }
}

class Entry {
  constructor({ value, version, expiresInMs }) {
    this.value = value;
    this.version = version;
    this.expiresInMs = expiresInMs ?? null;
  }
  text() {
    return decode(this.value);
  }
  json() {
    return JSON.parse(this.text());
  }
}

export const state = /* @__PURE__ */ new Store();

// Files, other commands, events

export const files = {
  read: (path) => host(() => files_.read(path)),
  text: (path) => decode(files.read(path)),
};

export function call(args, { body = "" } = {}) {
  return host(() => caller_.command(args.map(String), bytesOf(body)));
}

export const events = {
  publish: (topic, data) => host(() => events_.publish(topic, bytesOf(data))),
};

// HTTP

export const http = {
  send({ method = "GET", url, headers = {}, body, json, timeoutMs = null }) {
    const pairs = headers[Symbol.iterator] ? [...headers] : Object.entries(headers);
    const fields = pairs.map(([name, value]) => [String(name), String(value)]);
    if (json !== undefined) {
      body = JSON.stringify(json);
      if (!fields.some(([name]) => name.toLowerCase() === "content-type")) fields.push(["content-type", "application/json"]);
    }
    const sent = { method: method.toUpperCase(), url: String(url), headers: fields, body: bytesOf(body ?? ""), timeoutMs };
    return new Response(host(() => http_.send(sent)));
  },
  get: (url, options = {}) => http.send({ ...options, method: "GET", url }),
  post: (url, body, options = {}) => http.send({ ...options, method: "POST", url, body }),
};

class Response {
  constructor({ status, headers, body }) {
    this.status = status;
    this.headers = headers;
    this.body = body;
  }
  get ok() {
    return this.status >= 200 && this.status < 300;
  }
  header(name) {
    return this.headers.find(([known]) => known === name.toLowerCase())?.[1] ?? null;
  }
  text() {
    return fromUtf8(this.body);
  }
  json() {
    return JSON.parse(this.text());
  }
}

// Time and randomness

export const clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
};

export const random = {
  bytes: (count) => random_.getRandomBytes(count),
};

// Texts and bytes

export const encode = (text) => toUtf8(String(text));

export function decode(bytes) {
  try {
    return fromUtf8(bytes, true);
  } catch {
    throw new Failure("bad-arguments", "this is no text in UTF-8");
  }
}

function bytesOf(value) {
  if (value instanceof Uint8Array) return value;
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (["string", "number", "bigint"].includes(typeof value)) return encode(value);
  throw new TypeError(`a reply or a value is a text, a number or a Uint8Array, not ${inspect(value, { depth: 0 })}`);
}

function find(name, count) {
  const entry = table.get(name);
  if (!entry) throw new Failure("not-found", `this plugin has no command ${name}`);
  if (count < entry.least || count > entry.most) throw new Failure("bad-arguments", `usage: ${entry.usage}`);
  return entry;
}

function replied(reply) {
  if (reply === undefined || reply === null) return new Uint8Array(0);
  if (reply instanceof Promise) throw new TypeError("a command returned a promise: commands are not async");
  return bytesOf(reply);
}

/// What the client is told. A failure that the host's interfaces gave (an error's `payload`) is passed on; what nobody
/// expected goes to the log, and the client only hears that it happened.
function failureOf(error) {
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
