// Commands whose replies come in parts. The build makes a plugin that has one for `world streaming-plugin`, and hands the host
// `streamingCommands` in the place of `commands`: then all of its commands stream.

import reply from "lictor:plugin/reply@0.1.0";
import { command, described, failureOf, find, replied } from "./commands.js";
import { reset } from "./console.js";
import { forgetRejections, heard, heardOut } from "./promises.js";

/// Ends the reply with a failure. The build takes a plugin that imports `reply` for one that streams: so only `stream` names it.
let fail;

export function stream(usage, summary, options, run) {
  command(usage, summary, options, run);
  fail = (why) => reply.fail(why);
  // Here the host drives promises, and a command may wait for what it queued.
  globalThis.queueMicrotask = queuePromise;
}

function queuePromise(run) {
  if (typeof run !== "function") throw new TypeError("queueMicrotask takes a function");
  Promise.resolve().then(run);
}

export const streamingCommands = {
  describe: described,

  async handle([name, ...args]) {
    try {
      reset();
      forgetRejections();
      const entry = find(name, args.length);
      return new Parts(entry, () => entry.run(...args));
    } catch (error) {
      throw failureOf(error);
    }
  },
};

/// What a command yields, and last what it returns. A part is asked for when the host has taken the one before it.
class Parts {
  #entry;
  #begin;
  #given = null;
  #isDone = false;

  constructor(entry, begin) {
    this.#entry = entry;
    this.#begin = begin;
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  async next() {
    try {
      this.#given ??= { of: await heard(this.#begin) };
      while (!this.#isDone) {
        const part = replied(await heard(() => this.#step()), this.#entry);
        if (this.#isDone) await heardOut();
        if (part.length > 0) return { done: false, value: part };
      }
    } catch (error) {
      this.#isDone = true;
      fail(failureOf(error));
    }
    return { done: true, value: undefined };
  }

  /// The next value, or a promise of it.
  #step() {
    const { of } = this.#given;
    const noted = ({ done, value }) => {
      this.#isDone = done;
      return value;
    };
    if (typeof of?.next !== "function") return noted({ done: true, value: of });
    const next = of.next();
    return typeof next?.then === "function" ? next.then(noted) : noted(next);
  }
}
