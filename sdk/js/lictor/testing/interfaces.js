// The interfaces that a plugin may import, over the host of a test. Each function has the types of its parameters.

import { Failure } from "../failure.js";
import { answerOf, bytesOf } from "./given.js";
import { bytesIn, send, shortened } from "./web.js";

const MAX_FILE_BYTES = 1 << 20;
const MAX_EVENT_BYTES = 64 << 10;
const MAX_TOPIC_BYTES = 128;
const MAX_SUBSCRIPTIONS = 32;
const MAX_RANDOM_BYTES = 1 << 20;
const MAX_HEAD_BYTES = 8192;
const MAX_ARGUMENTS = 1024;
/// The longest reply that is no stream, by default on a server.
export const MAX_REPLY_BYTES = 1 << 20;
/// What a command's client is told; a plugin's failure of another code is `plugin-failed` to it.
const CODES = new Set(
  `bad-request too-large unknown-command forbidden bad-arguments not-found conflict denied timeout cancelled busy rate-limited
  plugin-failed plugin-trapped plugin-limit reply-unframeable unavailable shutting-down internal`.split(/\s+/),
);
/// Listings that may be under way over one open store.
const MAX_CURSORS = 64;

/// An error of `wasi:keyvalue`, whose payload is a case of a variant.
export class Payload extends Error {
  constructor(payload) {
    super("[object Object] (see error.payload)");
    this.payload = payload;
  }
}

/// A handle that a plugin gets: its methods have types as functions do.
export class Handle {
  constructor(fields, methods) {
    Object.assign(this, { fields, methods });
  }
}

const of = (texts) => texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
const refuse = (code, message) => {
  throw new Failure(code, message);
};

export const INTERFACES = {
  "lictor:plugin/request@0.1.0": {
    caller: ["", ({ host }) => ({ name: host.caller, thumbprint: host.thumbprint })],
    id: ["", ({ host }) => host.id],
    header: ["string", ({ host }, name) => host.headerPairs().find(([known]) => known.toLowerCase() === name.toLowerCase())?.[1] ?? null],
    headers: ["", ({ host }) => host.headerPairs()],
    body: ["", ({ host }) => bytesOf(host.body)],
    timeLeftMs: ["", (call) => Math.floor(call.timeLeft)],
  },
  "lictor:plugin/output@0.1.0": {
    print: ["string", (call, text) => call.lines.print(text)],
    write: ["bytes", (call, bytes) => call.lines.write(bytes)],
  },
  "lictor:plugin/reply@0.1.0": {
    fail: ["failure", (call, failure) => void (call.failure = new Failure(failure.code, failure.message))],
  },
  "lictor:plugin/files@0.1.0": {
    read: ["string", (call, path) => {
      call.operation(Buffer.byteLength(path));
      const { files } = call.host;
      if (!Object.hasOwn(files, path)) refuse("denied", "this file is not granted to the plugin");
      const content = answerOf(files[path]);
      if (content === null) refuse("not-found", "there is no such file now");
      const bytes = bytesOf(content);
      if (bytes.length > MAX_FILE_BYTES) refuse("failed", "the file is larger than 1 MiB");
      call.carry(bytes.length);
      return bytes;
    }],
  },
  "lictor:plugin/call@0.1.0": { command: ["texts bytes", command] },
  "lictor:plugin/http@0.1.0": {
    send: ["request", (call, request) => {
      const { method, url, headers, body } = request;
      call.operation(of([method, url]) + bytesIn(headers) + body.length);
      const response = send(call.host.web, request, call.timeLeft, (ms) => call.wait(ms));
      call.carry(bytesIn(response.headers) + response.body.length);
      return response;
    }],
  },
  "lictor:plugin/events@0.1.0": {
    publish: ["string bytes", publish],
    subscribe: ["string", subscribe],
    next: ["option-u64", next],
  },
  "lictor:plugin/state@0.1.0": {
    get: ["string string", (call, store, key) => {
      call.operation(Buffer.byteLength(key));
      const entry = call.host.stores.get(store, key);
      call.carry(entry?.value.length ?? 0);
      return entry;
    }],
    set: ["string string bytes option-u64", over("set")],
    delete: ["string string", over("delete")],
    increment: ["string string s64", over("increment")],
    compareAndSet: ["string string option-u64 bytes option-u64", over("compareAndSet")],
    compareAndDelete: ["string string u64", over("compareAndDelete")],
    touch: ["string string option-u64", over("touch")],
    listKeys: ["string string option-string u32", (call, store, prefix, after, limit) => {
      call.operation(Buffer.byteLength(prefix));
      const page = call.host.stores.listKeys(store, prefix, after, limit);
      call.carry(of(page.keys));
      return page;
    }],
  },
  "wasi:config/store@0.2.0-rc.1": {
    get: ["string", ({ host }, key) => (Object.hasOwn(host.config, key) ? String(host.config[key]) : null)],
    getAll: ["", ({ host }) => Object.entries(host.config).map(([key, value]) => [key, String(value)])],
  },
  "wasi:logging/logging@0.1.0-draft": {
    log: ["level string string", ({ host }, level, context, message) => host.logged(`${level}: ${message}`)],
  },
  "wasi:random/random@0.2.0": {
    getRandomBytes: ["u64", (call, count) => {
      if (count > MAX_RANDOM_BYTES) throw call.end("plugin-trapped", "asked for more than 1 MiB of random bytes at once");
      return call.host.randomBytes(count);
    }],
    getRandomU64: ["", ({ host }) => Number(host.randomNumber())],
  },
  "wasi:clocks/monotonic-clock@0.2.0": {
    now: ["", ({ host }) => Math.floor(host.elapsed * 1e6)],
    resolution: ["", () => 1],
    subscribeDuration: ["u64", ({ host }, span) => pollable(host.elapsed + span / 1e6)],
    subscribeInstant: ["u64", (call, instant) => pollable(instant / 1e6)],
  },
  "wasi:clocks/wall-clock@0.2.0": {
    now: ["", ({ host }) => ({ seconds: Math.floor(host.now / 1000), nanoseconds: Math.floor((host.now % 1000) * 1e6) })],
    resolution: ["", () => ({ seconds: 0, nanoseconds: 1 })],
  },
  "wasi:keyvalue/store@0.2.0-draft": { open: ["string", open] },
  "wasi:keyvalue/atomics@0.2.0-draft": {
    increment: ["bucket string u64", kept((call, store, key, delta) => call.host.stores.increment(store, key, delta, 0n))],
  },
  "wasi:keyvalue/batch@0.2.0-draft": {
    getMany: ["bucket texts", kept((call, store, keys) => call.host.stores.getMany(store, keys))],
    setMany: ["bucket entries", kept((call, store, entries) => call.host.stores.setMany(store, entries))],
    deleteMany: ["bucket texts", kept((call, store, keys) => call.host.stores.deleteMany(store, keys))],
  },
};

/// A function of `state` that carries its key and its value.
function over(name) {
  return (call, store, key, ...rest) => {
    call.operation(Buffer.byteLength(key) + (rest.find((value) => value instanceof Uint8Array)?.length ?? 0));
    return call.host.stores[name](store, key, ...rest);
  };
}

/// A function of `wasi:keyvalue`, whose failures have words only.
function kept(run) {
  return (call, store, ...args) => {
    const bytes = (value) => (typeof value === "string" ? Buffer.byteLength(value) : Array.isArray(value) ? value.reduce((sum, each) => sum + bytes(each), 0) : value?.length ?? 0);
    call.operation(bytes(args));
    try {
      return run(call, store, ...args);
    } catch (error) {
      throw error.constructor === Failure ? new Payload({ tag: "other", val: error.message }) : error;
    }
  };
}

function open(call, name) {
  call.operation(Buffer.byteLength(name));
  if (!call.host.stores.has(name)) throw new Payload({ tag: "access-denied" });
  const cursors = [];
  const method = (run) => kept((of, ...args) => run(of.host.stores, ...args));
  const own = (run) => (of, ...args) => method(run)(of, ...args);
  return new Handle({ store: name }, {
    get: ["string", own((stores, key) => stores.get(name, key)?.value ?? null)],
    set: ["string bytes", own((stores, key, value) => void stores.set(name, key, value, null))],
    delete: ["string", own((stores, key) => void stores.delete(name, key))],
    exists: ["string", own((stores, key) => stores.get(name, key) !== null)],
    listKeys: ["option-u64", own((stores, cursor) => {
      const isKnown = cursor === null || (cursor > cursors.length - MAX_CURSORS && cursors[cursor - 1] !== undefined);
      if (!isKnown) refuse("failed", "this cursor is not one of this bucket's last");
      const { keys, more } = stores.listKeys(name, "", cursor === null ? null : cursors[cursor - 1], 1000);
      return { keys, cursor: more ? cursors.push(keys.at(-1)) : null };
    })],
  });
}

function pollable(ends) {
  return new Handle({}, {
    ready: ["", ({ host }) => host.elapsed >= ends],
    block: ["", (call) => call.wait(Math.max(0, ends - call.host.elapsed))],
  });
}

function command(call, args, body) {
  call.operation(of(args) + body.length);
  const { plugin, commands } = call.host;
  const name = args[0] ?? "";
  if (!Object.hasOwn(commands, name)) refuse("forbidden", `The plugin ${plugin} may not run ${shortened(name)}`);
  if (name === "") refuse("bad-arguments", "a command needs a name");
  if (of(args) + args.length > MAX_HEAD_BYTES) refuse("bad-arguments", "the arguments are longer than 8192 bytes; send large data as the body");
  if (args.length > MAX_ARGUMENTS) refuse("bad-arguments", "there are more than 1024 arguments; send many as the body");
  let reply;
  try {
    reply = bytesOf(answerOf(commands[name], args, body) ?? "");
  } catch (error) {
    // As its client would have been told.
    if (error instanceof Failure && !CODES.has(error.code)) throw new Failure("plugin-failed", error.message);
    throw error;
  }
  if (reply.length > MAX_REPLY_BYTES) refuse("plugin-limit", `Plugin ${name} returned more than its ${MAX_REPLY_BYTES} bytes`);
  call.carry(reply.length);
  return reply;
}

const isTopic = (text) => text.length <= MAX_TOPIC_BYTES && /^[A-Za-z0-9._\-/:]+$/.test(text);
const isPattern = (text) => (text.endsWith("*") ? text === "*" || isTopic(text.slice(0, -1)) && text.length <= MAX_TOPIC_BYTES : isTopic(text));
const covers = (outer, inner) => (outer.endsWith("*") ? inner.replace(/\*$/, "").startsWith(outer.slice(0, -1)) : outer === inner);

/// Whether the test's `topics`, written as in the grants, allow this.
function isGranted(topics, verb, text) {
  return topics.some((topic) => {
    const [, of, pattern] = /^(?:(publish|subscribe) )?(.*)$/.exec(topic);
    return (of === undefined || of === verb) && covers(pattern, text);
  });
}

function publish(call, topic, data) {
  const { host } = call;
  call.operation(Buffer.byteLength(topic) + data.length);
  if (!isTopic(topic)) refuse("bad-arguments", "a topic is 1 to 128 letters, digits and . _ - / :");
  if (data.length > MAX_EVENT_BYTES) refuse("bad-arguments", "an event has at most 65536 bytes");
  if (!isGranted(host.topics, "publish", topic)) refuse("denied", "the plugin may not publish to this topic");
  host.published(topic, data);
  const isOwn = call.subscribed.some((pattern) => covers(pattern, topic));
  if (isOwn) call.own.push({ topic, data, lost: 0 });
  return host.subscribers + Number(isOwn);
}

function subscribe(call, topics) {
  call.operation(Buffer.byteLength(topics));
  if (!call.isStreaming) refuse("unavailable", "only a command that streams may subscribe");
  if (!isPattern(topics)) refuse("bad-arguments", "this is no topic, and no start of topics with a * behind it");
  if (!isGranted(call.host.topics, "subscribe", topics)) refuse("denied", "the plugin may not subscribe to these topics");
  if (call.subscribed.length === MAX_SUBSCRIPTIONS) refuse("failed", "a command subscribes 32 times at most");
  call.subscribed.push(topics);
}

/// The next of those that the test has coming. No test waits for another: without a time to wait for, its client cancels.
function next(call, timeoutMs) {
  const { host } = call;
  if (call.subscribed.length === 0) refuse("failed", "there is nothing that it has subscribed to");
  if (call.own.length > 0) return call.own.shift();
  const at = host.coming.findIndex(({ topic }) => call.subscribed.some((pattern) => covers(pattern, topic)));
  if (at >= 0) {
    call.renew();
    return host.coming.splice(at, 1)[0];
  }
  if (timeoutMs === null) throw call.end("cancelled", "waits for an event, the test has none, and its client cancels");
  host.pass(timeoutMs);
  return null;
}
