// A reply in parts, as a test reads it.

import { Failure } from "../failure.js";
import { Content } from "./given.js";
import { failureOf } from "./instance.js";
import { Ended } from "./realm.js";

/// What came of a stream that was read to its end.
class Streamed extends Content {
  constructor(parts, failure) {
    super(new Uint8Array(Buffer.concat(parts)));
    this.parts = parts;
    this.failure = failure;
  }
}

/// Parts as they are asked for: a client that does not read holds the plugin back, and one that stops reading cancels.
export class Stream {
  #host;
  #instantiate;
  #args;

  constructor(host, instantiate, args) {
    [this.#host, this.#instantiate, this.#args] = [host, instantiate, args];
  }

  async *[Symbol.asyncIterator]() {
    const instance = this.#instantiate();
    const call = instance.begin(true);
    try {
      const handled = instance.exports.streamingCommands.handle(instance.texts(this.#args));
      const parts = await this.#settled(call, handled);
      for (;;) {
        const { done, value } = await this.#settled(call, parts.next());
        if (done) break;
        call.renew();
        yield instance.bytes(value);
      }
      if (call.failure) throw failureOf(call.failure, this.#host.lastLogged());
    } catch (error) {
      throw error instanceof Failure ? error : failureOf(error, this.#host.lastLogged());
    } finally {
      // Also where the test reads no further: the instance is dropped where it stands.
      instance.end();
    }
  }

  /// Reads all of it.
  async all() {
    const parts = [];
    try {
      for await (const part of this) parts.push(part);
      return new Streamed(parts, null);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      return new Streamed(parts, error);
    }
  }

  /// Waits for a promise of the plugin's, which nothing but the plugin settles: what has not settled when all of it has run never
  /// will.
  async #settled(call, promise) {
    const stalled = new Promise((resolve) => setImmediate(resolve, Ended));
    let settled;
    try {
      settled = await Promise.race([promise, stalled]);
    } catch (error) {
      throw call.ended ?? error;
    }
    if (call.ended) throw call.ended;
    if (settled === Ended) throw call.end("timeout", "sent nothing and was stopped");
    return settled;
  }
}
