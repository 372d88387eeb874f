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
import { array, delta, level, options, refusal, text as string, texted, whole, wholeOrNull } from "./lictor/check.js";
import { bytesOf, decode, encode, failureOfHost, host } from "./lictor/commands.js";
import { log as print } from "./lictor/console.js";
import { Failure } from "./lictor/failure.js";
import { fromUtf8 } from "./lictor/text.js";

export { command, commands } from "./lictor/commands.js";
export { stream } from "./lictor/streaming.js";
export { Failure, decode, encode };

// The request

export const caller = () => request.caller();
export const id = () => request.id();
export const header = (name) => request.header(string(name, "name"));
export const headers = () => request.headers();
export const body = () => request.body();
export const text = () => decode(request.body());
export const timeLeft = () => request.timeLeftMs();

// The log

export { print };

export function logEvent(severity, message, context = "") {
  // A text that was cut within a character is no reason to fail.
  const whole = (value, name) => string(value?.toWellFormed?.() ?? value, name);
  logging_.log(level(severity, "level"), whole(context, "context"), whole(message, "message"));
}

// The operator's config

export const config = {
  get: (key) => config_.get(string(key, "key")) ?? null,
  all: () => Object.fromEntries(config_.getAll()),
};

// Key-value state

export class Store {
  #name;
  constructor(name = "default") {
    this.#name = string(name, "the name of a store");
  }
  get(key) {
    const entry = this.#of(key, "get");
    return entry ? new Entry(entry) : null;
  }
  set(key, value, given = {}) {
    const { ttlMs } = options(given, "ttlMs");
    return this.#of(key, "set", bytesOf(value), wholeOrNull(ttlMs, "ttlMs"));
  }
  delete(key) {
    return this.#of(key, "delete");
  }
  increment(key, by = 1) {
    return this.#of(key, "increment", delta(by, "delta"));
  }
  compareAndSet(key, expected, value, given = {}) {
    const { ttlMs } = options(given, "ttlMs");
    return this.#of(key, "compareAndSet", wholeOrNull(expected, "expected"), bytesOf(value), wholeOrNull(ttlMs, "ttlMs"));
  }
  compareAndDelete(key, expected) {
    this.#of(key, "compareAndDelete", whole(expected, "expected"));
  }
  touch(key, ttlMs = null) {
    return this.#of(key, "touch", wholeOrNull(ttlMs, "ttlMs"));
  }
  listKeys(prefix = "", given = {}) {
    const { after = null, limit = 1000 } = options(given, "after", "limit");
    const [from, most] = [after === null ? null : string(after, "after"), whole(limit, "limit", 0, 2 ** 32)];
    return host(() => state_.listKeys(this.#name, string(prefix, "prefix"), from, most));
  }
  #of(key, name, ...rest) {
    return host(() => state_[name](this.#name, string(key, "key"), ...rest));
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
  read: (path) => host(() => files_.read(string(path, "path"))),
  text: (path) => decode(files.read(path)),
};

export function call(args, given = {}) {
  const { body = "" } = options(given, "body");
  const texts = array(args, "args").map((arg) => texted(arg, "each of args"));
  // Its failures are what another command told the client.
  return host(() => caller_.command(texts, bytesOf(body)), []);
}

export const events = {
  publish: (topic, data) => host(() => events_.publish(string(topic, "topic"), bytesOf(data))),
  subscribe: (topics) => host(() => events_.subscribe(string(topics, "topics"))),
  next(given = {}) {
    const timeoutMs = wholeOrNull(options(given, "timeoutMs").timeoutMs, "timeoutMs");
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

const OF_REQUEST = ["headers", "body", "json", "timeoutMs"];

export const http = {
  send(request) {
    const { method = "GET", url, headers = {}, body, json, timeoutMs } = options(request, "url", "method", ...OF_REQUEST);
    const pairs = headers[Symbol.iterator] ? [...headers] : Object.entries(headers);
    const fields = pairs.map(([name, value]) => [string(name, "the name of a header"), texted(value, `the header ${name}`)]);
    let content = body ?? "";
    if (json !== undefined) {
      content = JSON.stringify(json);
      if (!fields.some(([name]) => name.toLowerCase() === "content-type")) fields.push(["content-type", "application/json"]);
    }
    const sent = {
      method: string(method, "method").toUpperCase(),
      url: string(url?.href ?? url, "url"),
      headers: fields,
      body: bytesOf(content),
      timeoutMs: wholeOrNull(timeoutMs, "timeoutMs"),
    };
    return new Response(host(() => http_.send(sent)), sent.url);
  },
  get: (url, given = {}) => http.send({ ...options(given, ...OF_REQUEST), method: "GET", url }),
  post: (url, body, given = {}) => http.send({ ...options(given, ...OF_REQUEST), method: "POST", url, body }),
};

class Response {
  #url;
  constructor({ status, headers, body }, url) {
    this.#url = url;
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
    try {
      return JSON.parse(this.text());
    } catch (error) {
      throw failureOfHost("failed", `the answer of ${this.#url.split("?")[0]} is no JSON: ${error.message}`);
    }
  }
}

// Time and randomness

export const clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep(ms) {
    if (typeof ms !== "number" || !(ms < 2 ** 43)) throw refusal(TypeError, "ms", "a number of milliseconds", ms);
    const over = clock_.subscribeDuration(Math.max(0, Math.ceil(ms * 1e6)));
    over.block();
    over[Symbol.dispose]?.();
  },
};

export const random = {
  bytes: (count) => random_.getRandomBytes(whole(count, "count", 0, (1 << 20) + 1)),
};
