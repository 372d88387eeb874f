// The conformance plugin in JavaScript: all commands of docs/conformance.md.

import config from "wasi:config/store@0.2.0-rc.1";
import atomics from "wasi:keyvalue/atomics@0.2.0-draft";
import keyvalue from "wasi:keyvalue/store@0.2.0-draft";
import logging from "wasi:logging/logging@0.1.0-draft";
import state from "lictor:plugin/state@0.1.0";
import { Failure, body, caller, command, decode, encode, header, headers, id, print, timeLeft } from "./lictor.js";

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
  logging.log(level, context, message);
});
command("print TEXT", "logs a text", once, (text) => print(text));
command("say", "prints the body", once, () => console.log(decode(body())));
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
  state.set("default", key, encode(value), number(ttl)));
command("state-swap KEY VERSION VALUE", "writes a key if it is as expected", once, (key, version, value) =>
  state.compareAndSet("default", key, number(version) || null, encode(value), null));

command("state-put KEY", "writes the body", pure, (key) => state.set("default", key, body(), null));
command("state-renew KEY", "writes an entry back as it was read", pure, (key) => {
  const { value, version, expiresInMs } = found(state.get("default", key), `there is no key ${key}`);
  return state.compareAndSet("default", key, version, value, expiresInMs);
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
