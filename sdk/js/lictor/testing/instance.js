// An instance of a plugin in a test: its code in a context of its own, whose imports are the interfaces of a host.

import { Call } from "./call.js";
import { Failure } from "../failure.js";
import { Handle, INTERFACES, Payload } from "./interfaces.js";
import { Ended, Realm, typed } from "./realm.js";

/// The most bytes that a plugin hands over at once.
const MAX_PIECE_BYTES = (16 << 20) + (64 << 10);

/// A plugin asked the host while there was no call.
export class AsksTheHost extends Error {
  constructor(name) {
    super(`${name} asks the host while no command runs: what stands at a file's top level runs once, while the plugin is built`);
  }
}

export class Instance {
  /// The call that runs; none while the plugin is made, as while it is built.
  call = null;
  #realm;
  /// What the plugin asked while there was none.
  #asked = null;

  /// Of a plugin whose `script` makes a function of `require` and `module` when it is run.
  constructor(host, { script, isStreaming }) {
    this.host = host;
    this.#realm = new Realm({ now: () => host.now, elapsed: () => host.elapsed }, isStreaming);
    const module = this.#realm.make.object();
    module.exports = this.#realm.make.object();
    const interfaces = new Map();
    const require = (name) => {
      if (!interfaces.has(name)) interfaces.set(name, this.#interface(name));
      return interfaces.get(name);
    };
    try {
      script.runInContext(this.#realm.context)(require, module);
    } finally {
      // In a build that is a trap, whatever the plugin catches.
      if (this.#asked) throw this.#asked;
    }
    this.exports = module.exports;
  }

  #interface(name) {
    const functions = INTERFACES[name];
    if (!functions) throw new Error(`the host of a test has no ${name}`);
    return Object.freeze(this.#functions(functions, this.#realm.make.object()));
  }

  #functions(functions, target) {
    for (const [name, [signature, run]] of Object.entries(functions)) target[name] = this.#imported(name, signature, run);
    return target;
  }

  #imported(name, signature, run) {
    const types = signature.split(" ").filter((type) => type !== "");
    const { make } = this.#realm;
    return make.function((args) => {
      const { call } = this;
      if (!call) {
        this.#asked ??= new AsksTheHost(name);
        throw make.error(this.#asked.message);
      }
      if (args.length < types.length) throw make.typeError(`${name} requires ${types.length} arguments`);
      try {
        if (call.ended) throw call.ended;
        const values = types.map((type, at) => typed(type, args[at]));
        if (sizeOf(values) > MAX_PIECE_BYTES) throw call.end("plugin-limit", `handed the host more than ${MAX_PIECE_BYTES} bytes at once`);
        return this.#entered(run(call, ...values));
      } catch (error) {
        throw this.#thrown(call, error);
      }
    });
  }

  #entered(value) {
    if (!(value instanceof Handle)) return this.#realm.enter(value);
    return this.#functions(value.methods, this.#realm.enter(value.fields));
  }

  /// What the plugin sees of a failure. What is neither its nor the host's is the test's own, and ends the call.
  #thrown(call, error) {
    const { make } = this.#realm;
    if (error instanceof Payload) return make.error(error.message, this.#realm.enter(error.payload));
    if (error instanceof Failure && !(error instanceof Ended)) {
      const { code, message } = error;
      return make.error("[object Object] (see error.payload)", this.#realm.enter({ code, message }));
    }
    call.ended ??= error;
    return make.error(error.message);
  }

  /// Begins a call.
  begin(isStreaming) {
    this.call = new Call(this.host, isStreaming);
    return this.call;
  }

  /// Ends it: from now on the host is not there. Gives what ended it before its time.
  end() {
    const { call } = this;
    this.call = null;
    call.lines.end();
    return call.ended;
  }

  /// A list of texts as the plugin gets it.
  texts(values) {
    return this.#realm.enter(values);
  }

  /// Bytes that the plugin gave.
  bytes(value) {
    return typed("bytes", value);
  }
}

/// What a plugin throws that refuses a command, as a failure; what else it throws, as the end of the call.
export function failureOf(error, log) {
  if (typeof error?.code === "string" && typeof error?.message === "string") {
    const message = Array.from(error.message).slice(0, 1024).join("");
    // What nobody expected is told in the log alone, and shown with the failure.
    const cause = log.at(-1)?.startsWith("uncaught ") ? { cause: log.at(-1) } : undefined;
    return new Failure(error.code, message, cause);
  }
  return new Ended("plugin-trapped", `the plugin throws ${error}`, { cause: error });
}

function sizeOf(values) {
  return values.reduce((sum, value) => sum + (Array.isArray(value) ? sizeOf(value) : value?.length ?? 0), 0);
}
