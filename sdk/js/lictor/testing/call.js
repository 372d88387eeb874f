// One call of a plugin in a test: its request, what is left for it, and how it ended.

import { Lines } from "./lines.js";
import { Ended } from "./realm.js";

/// What one call may ask of the host, by default on a server.
const MAX_OPERATIONS = 10_000;
const MAX_BYTES = 64 << 20;

export class Call {
  /// What the host or a broken-off call ended it with, or what the test's own functions threw.
  ended = null;
  /// How a streamed reply is to end.
  failure = null;
  subscribed = [];
  own = [];
  #operations = MAX_OPERATIONS;
  #bytes = MAX_BYTES;

  constructor(host, isStreaming) {
    this.host = host;
    this.isStreaming = isStreaming;
    this.timeLeft = host.timeLeft;
    this.lines = new Lines((line) => host.logged(line));
  }

  end(code, words) {
    this.ended ??= new Ended(code, `Plugin ${this.host.plugin} ${words}`);
    return this.ended;
  }

  /// One operation of the host that carries so many bytes.
  operation(bytes) {
    if (this.#operations-- === 0) throw this.end("plugin-limit", `asked for more than its ${MAX_OPERATIONS} operations of the host`);
    this.carry(bytes);
  }

  carry(bytes) {
    this.#bytes -= bytes;
    if (this.#bytes < 0) throw this.end("plugin-limit", `moved more than its ${MAX_BYTES} bytes through the host`);
  }

  /// Lets time pass; no test waits.
  wait(ms) {
    this.host.pass(Math.min(ms, this.timeLeft));
    this.timeLeft -= ms;
    if (!(this.timeLeft > 0)) throw this.end("timeout", "was stopped at the deadline");
  }

  /// A part was taken, or an event came: the bounds begin anew.
  renew() {
    this.timeLeft = this.host.timeLeft;
    this.#operations = MAX_OPERATIONS;
    this.#bytes = MAX_BYTES;
    this.lines.renew();
  }
}
