// Commands whose replies come in parts. The build makes a plugin that has one for `world streaming-plugin`, and hands the host
// `streamingCommands` in the place of `commands`: then all of its commands stream.

import reply from "lictor:plugin/reply@0.1.0";
import { command, commands, failureOf, find, replied } from "./commands.js";
import { reset } from "./console.js";

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
  describe: () => commands.describe(),

  async handle([name, ...args]) {
    try {
      reset();
      return parts(find(name, args.length).run, args);
    } catch (error) {
      throw failureOf(error);
    }
  },
};

/// What a command yields, and last what it returns. A part is asked for when the host has taken the one before it.
async function* parts(run, args) {
  try {
    const given = await run(...args);
    const isGenerator = typeof given?.next === "function";
    for (let isDone = false; !isDone; ) {
      const { done, value } = isGenerator ? await given.next() : { done: true, value: given };
      const part = replied(await value);
      if (part.length > 0) yield part;
      isDone = done;
    }
  } catch (error) {
    fail(failureOf(error));
  }
}
