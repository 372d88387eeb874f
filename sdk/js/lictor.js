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
import clock_ from "wasi:clocks/monotonic-clock@0.2.0";
import config_ from "wasi:config/store@0.2.0-rc.1";
import logging_ from "wasi:logging/logging@0.1.0-draft";
import random_ from "wasi:random/random@0.2.0";
import { Failure, bytesOf, decode, encode } from "./lictor/commands.js";
import { log as print } from "./lictor/console.js";
import { fromUtf8 } from "./lictor/text.js";

export { command, commands } from "./lictor/commands.js";
export { stream } from "./lictor/streaming.js";
export { Failure, decode, encode };

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
  subscribe: (topics) => host(() => events_.subscribe(topics)),
  next({ timeoutMs = null } = {}) {
    const event = host(() => events_.next(timeoutMs));
    return event ? new Event(event) : null;
  },
};

class Event {
  constructor({ topic, data, lost }) {
    this.topic = topic;
    this.data = data;
    this.lost = lost;
  }
  text() {
    return fromUtf8(this.data);
  }
  json() {
    return JSON.parse(this.text());
  }
}

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
  sleep(ms) {
    const over = clock_.subscribeDuration(Math.max(0, Math.ceil(ms * 1e6)));
    over.block();
    over[Symbol.dispose]?.();
  },
};

export const random = {
  bytes: (count) => random_.getRandomBytes(count),
};
