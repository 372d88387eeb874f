// Commands called by a plugin's own tests, which run on the author's machine by `node --test`, without a server:
//
//     import assert from "node:assert/strict";
//     import { test } from "node:test";
//     import { Host } from "./lictor/testing.js";
//
//     test("greets", () => {
//       const host = new Host({ caller: "ada", config: { greeting: "good day" } });
//       assert.equal(host.run("greet", "Grace").text(), "good day Grace, from ada");
//     });
//
// testing.d.ts documents it. The plugin is bundled as for a build, and runs in a context with the globals that it has there. No
// test waits, and a fake is no kinder than the server: see testing/.

import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { scriptOf } from "./bundle.mjs";
import { Failure } from "./failure.js";
import { Content, bytesOf } from "./testing/given.js";
import { Instance, failureOf } from "./testing/instance.js";
import { MAX_REPLY_BYTES } from "./testing/interfaces.js";
import { Stores } from "./testing/state.js";
import { Stream } from "./testing/stream.js";

export { Failure };

/// Headers that the protocol itself reads.
const OF_THE_PROTOCOL = ["sequence", "size", "timeout-ms"];

// A component has no other time zone.
process.env.TZ = "UTC";

const project = dirname(dirname(fileURLToPath(import.meta.url)));
const plugin = await load();

/// The plugin's code, ready to be run in a context.
async function load() {
  const tools = join(process.env.LICTOR_TOOLS ?? join(project, ".tools"), "js-1");
  if (!existsSync(join(tools, "installed"))) throw new Error(`${tools} has no tools: run ./build.sh once, which installs them`);
  return scriptOf({ project, tools });
}

/// What a test may give a host, and what there is without.
const given = () => ({
  caller: "tester",
  thumbprint: "0".repeat(64),
  id: "c0-1",
  headers: {},
  body: "",
  timeLeft: 5000,
  config: {},
  files: {},
  commands: {},
  web: {},
  topics: ["*"],
  subscribers: 0,
  instances: "per-request",
});

export class Host {
  plugin = basename(project);
  elapsed = 0;
  coming = [];
  // A day like any other: 2026-01-01.
  #beganAt = 1_767_225_600_000;
  #seed = 0n;
  #log = [];
  #published = [];
  #instances = new Map();

  constructor({ stores = { default: {} }, now, seed, ...options } = {}) {
    const known = given();
    const unknown = Object.keys(options).filter((name) => !Object.hasOwn(known, name));
    if (unknown.length > 0) throw new TypeError(`a host has no ${unknown.join(", ")}; it has ${Object.keys(known).join(", ")}, stores, now, seed`);
    Object.assign(this, known, options);
    if (now !== undefined) this.#beganAt = Number(now);
    if (seed !== undefined) this.#seed = BigInt.asUintN(64, BigInt(seed));
    Object.defineProperty(this, "stores", { value: new Stores(() => this.now) });
    for (const [name, entries] of Object.entries(stores)) {
      this.stores.add(name);
      for (const [key, value] of Object.entries(entries)) this.store(name).set(key, value);
    }
  }

  /// The time of day.
  get now() {
    return this.#beganAt + this.elapsed;
  }

  run(...args) {
    if (plugin.isStreaming) throw new TypeError("the commands of this plugin stream: call `host.stream`");
    return this.#within(false, (instance, call) => {
      const reply = instance.exports.commands.handle(instance.texts(args.map(String)));
      const body = instance.bytes(reply);
      if (body.length > MAX_REPLY_BYTES) throw call.end("plugin-limit", `returned more than its ${MAX_REPLY_BYTES} bytes`);
      return new Content(body);
    });
  }

  stream(...args) {
    if (!plugin.isStreaming) throw new TypeError("no command of this plugin streams: call `host.run`");
    return new Stream(this, () => new Instance(this, plugin), args.map(String));
  }

  describe() {
    const { commands, streamingCommands } = new Instance(this, plugin).exports;
    return structuredClone((commands ?? streamingCommands).describe());
  }

  store(name = "default") {
    const { stores } = this;
    if (!stores.has(name)) throw new TypeError(`the host has no store ${name}; give it one: new Host({ stores: { ${JSON.stringify(name)}: {} } })`);
    return {
      get(key) {
        const entry = stores.get(name, key);
        return entry && Object.assign(new Content(entry.value), entry);
      },
      set: (key, value, { ttlMs = null } = {}) => stores.set(name, key, bytesOf(value), ttlMs),
      delete: (key) => stores.delete(name, key),
      keys: (prefix = "") => stores.listKeys(name, prefix, null, 1000).keys,
    };
  }

  storesFail(failure) {
    this.stores.failure = failure;
  }

  event(topic, data, { lost = 0 } = {}) {
    this.coming.push({ topic, data: bytesOf(data), lost });
  }

  advance(ms) {
    this.pass(ms);
  }

  takeLog() {
    return this.#log.splice(0);
  }

  takePublished() {
    return this.#published.splice(0);
  }

  /// Runs `work` in an instance, as one call; what broke the call off drops the instance.
  #within(isStreaming, work) {
    const key = { "per-request": null, "per-client": this.caller, shared: "" }[this.instances];
    if (key === undefined) throw new TypeError(`instances is "per-request", "per-client" or "shared", not ${this.instances}`);
    const instance = this.#instances.get(key) ?? new Instance(this, plugin);
    this.#instances.delete(key);
    const call = instance.begin(isStreaming);
    let done, failed;
    try {
      done = work(instance, call);
    } catch (error) {
      failed = error;
    }
    const ended = instance.end();
    if (ended) throw ended;
    if (failed !== undefined && !(failed instanceof Failure)) failed = failureOf(failed, this.#log);
    if (key !== null) this.#instances.set(key, instance);
    if (failed !== undefined) throw failed;
    return done;
  }

  // What the interfaces ask.

  headerPairs() {
    const pairs = this.headers[Symbol.iterator] ? [...this.headers] : Object.entries(this.headers);
    return pairs.map(([name, value]) => [name, String(value)]).filter(([name]) => !OF_THE_PROTOCOL.includes(name.toLowerCase()));
  }

  pass(ms) {
    this.elapsed += ms;
  }

  logged(line) {
    this.#log.push(line);
  }

  lastLogged() {
    return this.#log;
  }

  published(topic, data) {
    this.#published.push(Object.assign(new Content(data), { topic, data }));
  }

  /// SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
  randomNumber() {
    this.#seed = BigInt.asUintN(64, this.#seed + 0x9e3779b97f4a7c15n);
    let number = this.#seed;
    number = BigInt.asUintN(64, (number ^ (number >> 30n)) * 0xbf58476d1ce4e5b9n);
    number = BigInt.asUintN(64, (number ^ (number >> 27n)) * 0x94d049bb133111ebn);
    return number ^ (number >> 31n);
  }

  randomBytes(count) {
    const bytes = Buffer.alloc(Math.ceil(count / 8) * 8);
    for (let at = 0; at < bytes.length; at += 8) bytes.writeBigUInt64LE(this.randomNumber(), at);
    return new Uint8Array(bytes.subarray(0, count));
  }
}
