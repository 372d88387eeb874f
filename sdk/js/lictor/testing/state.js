// Stores of a test, by the rules of the server's: `lictor:plugin/state`, and `wasi:keyvalue` over the same entries.

import { Failure } from "../failure.js";

const MAX_KEY_BYTES = 256;
const MAX_VALUE_BYTES = 1 << 20;
const MAX_TTL_MS = 10 * 365 * 24 * 3_600_000;
const MAX_KEYS_OF_CALL = 1000;
const MAX_BYTES_OF_CALL = 16 << 20;
/// What a store holds at the most.
const MAX_KEYS = 100_000;
const MAX_BYTES = 64 << 20;

const byteLength = (text) => Buffer.byteLength(text);
const refuse = (code, message) => new Failure(code, message);
const tooLarge = (what, size, limit) => refuse("bad-arguments", `${what} is too large: ${size} where ${limit} are allowed`);

function checkKey(key) {
  const why =
    key === "" ? "it is empty"
    : byteLength(key) > MAX_KEY_BYTES ? "it is longer than 256 bytes"
    : /\p{Cc}/u.test(key) ? "it holds a control character"
    : null;
  if (why) throw refuse("bad-arguments", `not a key: ${why}`);
}

function checkValue(value) {
  if (value.length > MAX_VALUE_BYTES) throw tooLarge("a value in bytes", value.length, MAX_VALUE_BYTES);
}

function checkTtl(ttlMs) {
  if (ttlMs !== null && (ttlMs < 1 || ttlMs > MAX_TTL_MS)) {
    throw refuse("bad-arguments", "not a time to live: it must be from 1 millisecond to 10 years");
  }
}

/// One store: its entries, and the bytes of their keys and values.
class Store {
  entries = new Map();
  bytes = 0;
  #now;

  constructor(now) {
    this.#now = now;
  }

  /// The entry, if it has not expired.
  find(key) {
    const entry = this.entries.get(key);
    if (!entry || this.isLive(entry)) return entry ?? null;
    this.remove(key);
    return null;
  }

  isLive({ ends }) {
    return ends === null || ends > this.#now();
  }

  put(key, entry) {
    this.remove(key);
    this.entries.set(key, entry);
    this.bytes += size(key, entry);
  }

  remove(key) {
    const entry = this.entries.get(key);
    if (!entry) return false;
    this.bytes -= size(key, entry);
    return this.entries.delete(key);
  }

  /// Refuses to write these entries where the store would hold more than it may.
  makeRoom(written) {
    for (const isLast of [false, true]) {
      let [keys, bytes] = [this.entries.size, this.bytes];
      for (const [key, entry] of written) {
        const before = this.entries.get(key);
        if (!before) keys++;
        bytes += size(key, entry) - (before ? size(key, before) : 0);
      }
      const hasKeys = keys <= Math.max(MAX_KEYS, this.entries.size);
      if (hasKeys && bytes <= Math.max(MAX_BYTES, this.bytes)) return;
      if (isLast) throw hasKeys ? usedUp("bytes", MAX_BYTES, bytes) : usedUp("keys", MAX_KEYS, keys);
      for (const [key, entry] of this.entries) if (!this.isLive(entry)) this.remove(key);
    }
  }
}

const size = (key, { value }) => byteLength(key) + value.length;

/// All stores; `now` is the time of day in milliseconds.
export class Stores {
  #stores = new Map();
  #version = 0;
  #now;
  /// What each operation fails with, where the test wants that.
  failure = null;

  constructor(now) {
    this.#now = now;
  }

  /// Makes the store be there.
  add(name) {
    if (!this.#stores.has(name)) this.#stores.set(name, new Store(this.#now));
  }

  has(name) {
    return this.#stores.has(name);
  }

  #open(name) {
    const store = this.#stores.get(name);
    if (!store) throw refuse("denied", "this store is not granted to the plugin");
    if (this.failure) throw this.failure;
    return store;
  }

  get(store, key) {
    const opened = this.#open(store);
    checkKey(key);
    const entry = opened.find(key);
    if (!entry) return null;
    const left = entry.ends === null ? null : Math.min(Math.max(Math.ceil(entry.ends - this.#now()), 1), MAX_TTL_MS);
    return { value: entry.value, version: entry.version, expiresInMs: left };
  }

  set(store, key, value, ttlMs) {
    const opened = this.#open(store);
    checkKey(key);
    checkValue(value);
    checkTtl(ttlMs);
    return this.#write(opened, [[key, value]], this.#end(ttlMs));
  }

  delete(store, key) {
    const opened = this.#open(store);
    checkKey(key);
    return opened.find(key) !== null && opened.remove(key);
  }

  increment(store, key, delta, least = -(2n ** 63n)) {
    const opened = this.#open(store);
    checkKey(key);
    const before = opened.find(key);
    const sum = (before ? numberIn(before.value) : 0n) + BigInt(delta);
    if (sum < least || sum >= 2n ** 63n) throw refuse("failed", "the sum does not fit into 64 bits");
    this.#write(opened, [[key, new Uint8Array(Buffer.from(String(sum)))]], before?.ends ?? null);
    return Number(sum);
  }

  compareAndSet(store, key, expected, value, ttlMs) {
    checkKey(key);
    checkValue(value);
    checkTtl(ttlMs);
    const opened = this.#open(store);
    checkVersion(opened.find(key), expected);
    return this.#write(opened, [[key, value]], this.#end(ttlMs));
  }

  compareAndDelete(store, key, expected) {
    const opened = this.#open(store);
    checkKey(key);
    checkVersion(opened.find(key), expected);
    opened.remove(key);
  }

  touch(store, key, ttlMs) {
    const opened = this.#open(store);
    checkKey(key);
    checkTtl(ttlMs);
    const entry = opened.find(key);
    if (entry) Object.assign(entry, { version: ++this.#version, ends: this.#end(ttlMs) });
    return entry !== null;
  }

  listKeys(store, prefix, after, limit) {
    if (after !== null) checkKey(after);
    const opened = this.#open(store);
    const live = [...opened.entries].filter(([, entry]) => opened.isLive(entry));
    const [start, last] = [Buffer.from(prefix), Buffer.from(after ?? "")];
    const fits = (key) => key.subarray(0, start.length).equals(start) && Buffer.compare(key, last) > 0;
    const keys = live.map(([key]) => Buffer.from(key)).filter(fits).sort(Buffer.compare);
    const most = Math.min(Math.max(limit, 1), MAX_KEYS_OF_CALL);
    return { keys: keys.slice(0, most).map(String), more: keys.length > most };
  }

  getMany(store, keys) {
    keys.forEach(checkKey);
    checkNumber(keys.length);
    const found = keys.map((key) => this.get(store, key));
    checkBytes(found.reduce((sum, entry) => sum + (entry?.value.length ?? 0), 0));
    return found.map((entry, at) => (entry ? [keys[at], entry.value] : null));
  }

  /// All of them or none.
  setMany(store, entries) {
    for (const [key, value] of entries) {
      checkKey(key);
      checkValue(value);
    }
    checkNumber(entries.length);
    checkBytes(entries.reduce((sum, [key, value]) => sum + byteLength(key) + value.length, 0));
    const inOrder = [...new Map(entries)].sort(([one], [other]) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
    this.#write(this.#open(store), inOrder, null);
  }

  deleteMany(store, keys) {
    keys.forEach(checkKey);
    checkNumber(keys.length);
    const opened = this.#open(store);
    for (const key of keys) opened.remove(key);
  }

  #end(ttlMs) {
    return ttlMs === null ? null : this.#now() + ttlMs;
  }

  #write(opened, entries, ends) {
    const written = entries.map(([key, value]) => [key, { value, version: ++this.#version, ends }]);
    opened.makeRoom(written);
    for (const [key, entry] of written) opened.put(key, entry);
    return this.#version;
  }
}

function checkVersion(entry, expected) {
  if ((entry?.version ?? null) !== expected) throw refuse("conflict", "the entry is not what was expected");
}

function usedUp(kind, limit, needed) {
  return refuse("failed", `the store's quota of ${limit} ${kind} is used up: the write would make it ${needed}`);
}

function numberIn(value) {
  const text = Buffer.from(value).toString("latin1");
  const number = /^[+-]?[0-9]+$/.test(text) ? BigInt(text.replace("+", "")) : null;
  if (number === null || number < -(2n ** 63n) || number >= 2n ** 63n) {
    throw refuse("failed", "the entry is not a whole decimal number of 64 bits, so nothing can be added to it");
  }
  return number;
}

function checkNumber(keys) {
  if (keys > MAX_KEYS_OF_CALL) throw tooLarge("a call in keys", keys, MAX_KEYS_OF_CALL);
}

function checkBytes(bytes) {
  if (bytes > MAX_BYTES_OF_CALL) throw tooLarge("a call in bytes", bytes, MAX_BYTES_OF_CALL);
}
