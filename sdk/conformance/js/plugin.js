// The conformance plugin in JavaScript: all commands of docs/conformance.md.

import atomics from "wasi:keyvalue/atomics@0.2.0-draft";
import keyvalue from "wasi:keyvalue/store@0.2.0-draft";
import {
  Failure, body, caller, command, config, decode, encode, header, headers, http, id, logEvent, print, state, timeLeft,
} from "./lictor.js";

export { commands } from "./lictor.js";

const LEVELS = ["trace", "debug", "info", "warn", "error", "critical"];
const pure = { idempotent: true };
const once = { idempotent: false };

command("echo [TEXT]...", "replies with its arguments", pure, (...texts) => texts.join(" "));
command("body", "replies with the body", pure, () => body());
command("fail CODE MESSAGE", "fails", pure, (code, message) => {
  throw new Failure(code, message);
});
command("panic TEXT", "throws what nobody expects", once, (text) => {
  throw new Error(text);
});

command("log LEVEL CONTEXT MESSAGE", "logs an event", once, (level, context, message) => {
  if (!LEVELS.includes(level)) throw new Failure("bad-arguments", `${level} is no level`);
  logEvent(level, message, context);
});
command("print TEXT", "logs a text", once, (text) => print(text));
command("say", "prints the body", once, () => console.log(decode(body())));
command("print-odd", "logs what is hard to show", pure, () => {
  const circular = { list: [] };
  circular.list.push(circular);
  const failing = () => {
    throw new Error("no");
  };
  const proxy = new Proxy({}, { get: failing, ownKeys: failing, getPrototypeOf: failing });
  console.log(1n, Symbol("s"), undefined, null, circular, new Map([[1n, circular]]), new Set([circular]));
  console.log(new Error("outer", { cause: circular }), { get bad() { return failing(); } }, proxy, { toString: failing });
  console.log("%s %d %j %o", failing, 1n, circular, proxy, "\ud800", () => 1, class {}, Object.create(null));
  console.log("%s", Object.assign(() => 1, { toString: failing }));
  console.table([circular]);
  console.dir(circular, proxy);
  console.trace(proxy);
  console.group(circular);
  console.count(1n);
  console.assert(false, 1n);
  console.dir(proxy);
  console.time();
  console.timeEnd();
  console.groupEnd();
  console.log("all", "shown");
});
command("config KEY", "replies with a value of the config", pure, (key) =>
  found(config.get(key), `the config has no ${key}`));

command("caller", "tells who asks", pure, () => {
  const { name, thumbprint } = caller();
  return `${name} ${thumbprint}`;
});
command("id", "replies with the request's id", pure, () => id());
command("header NAME", "replies with a header", pure, (name) => found(header(name), `there is no header ${name}`));
command("headers", "replies with all headers", pure, () =>
  headers().map(([name, value]) => `${name}: ${value}`).join("\n"));
command("time-left", "replies with the milliseconds left", pure, () => timeLeft());

command("kv-set KEY VALUE", "writes a key", pure, (key, value) => inStore((store) => store.set(key, encode(value))));
command("kv-get KEY", "reads a key", pure, (key) =>
  found(inStore((store) => store.get(key)), `there is no key ${key}`));
command("kv-delete KEY", "deletes a key", pure, (key) => inStore((store) => store.delete(key)));
command("kv-increment KEY DELTA", "adds to a key", once, (key, delta) =>
  inStore((store) => atomics.increment(store, key, number(delta))));
command("kv-keys", "lists the keys", pure, () => inStore((store) => [...keys(store)].join("\n")));
command("kv-open STORE", "opens a store", pure, (name) => inStore(() => {}, name));

command("state-set KEY VALUE TTL-MS", "writes a key that expires", once, (key, value, ttl) =>
  state.set(key, value, { ttlMs: number(ttl) }));
command("state-swap KEY VERSION VALUE", "writes a key if it is as expected", once, (key, version, value) =>
  state.compareAndSet(key, number(version) || null, value));

command("http METHOD URL WORD TIMEOUT-MS", "sends a request", once, (method, url, word, timeout) => {
  const timeoutMs = number(timeout) || null;
  const answer = http.send({ method, url, headers: { "x-word": word }, body: body(), timeoutMs });
  const head = encode(`${answer.status} ${answer.header("X-Answer") ?? "-"}\n`);
  const reply = new Uint8Array(head.length + answer.body.length);
  reply.set(head);
  reply.set(answer.body, head.length);
  return reply;
});

command("state-put KEY", "writes the body", pure, (key) => state.set(key, body()));
command("state-renew KEY", "writes an entry back as it was read", pure, (key) => {
  const { value, version, expiresInMs } = found(state.get(key), `there is no key ${key}`);
  return state.compareAndSet(key, version, value, { ttlMs: expiresInMs });
});

let calls = 0;
command("count", "counts this instance's calls", once, () => ++calls);
command("spin", "computes without end", once, () => {
  for (;;);
});
command("grow", "takes memory without end", once, () => {
  const taken = [];
  for (;;) taken.push(new Uint8Array(1 << 20).fill(1));
});

function found(value, message) {
  if (value === null) throw new Failure("not-found", message);
  return value;
}

/// A number from 0 to 2^53 - 1: what is more does not fit a number of JavaScript.
function number(text) {
  const value = Number(text);
  if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(value)) {
    throw new Failure("bad-arguments", `${text} is no number`);
  }
  return value;
}

/// What `use` gives of this store. The payloads of errors of `wasi:keyvalue` are `{ tag, val }`.
function inStore(use, name = "default") {
  try {
    return use(keyvalue.open(name));
  } catch (error) {
    switch (error.payload?.tag) {
      case "access-denied":
      case "no-such-store":
        throw new Failure("denied", `the store ${name} is not granted`);
      case "other":
        throw new Failure("failed", error.payload.val);
      default:
        throw error;
    }
  }
}

function* keys(store) {
  let cursor = null;
  do {
    const page = store.listKeys(cursor);
    yield* page.keys;
    cursor = page.cursor;
  } while (cursor !== null);
}
