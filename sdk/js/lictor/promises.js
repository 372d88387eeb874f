// Promises that are rejected and that nobody handles. Node.js is told of these by its engine and ends the process; QuickJS tells nobody
// here. So `Promise` is a class that knows, and the build makes functions that return one of those that are `async`.

const Native = Promise;
const { then } = Native.prototype;

/// Those of the call that nobody has handled yet, and what they were rejected with.
const unhandled = new Map();

/// What has had no handler for so many turns of the queue gets none. And so long goes on what is left when a command ends.
const TURNS = 100;
/// Ends the part that is waited for; none where nothing drives promises.
let alarm = null;

class Watched extends Native {
  #isHandled = false;

  constructor(run) {
    let isSettled = false;
    // Until there is a promise, what there is to note of it.
    let self, later;
    super(typeof run !== "function" ? run : (resolve, reject) => {
      const fail = (why) => {
        if (isSettled) return;
        isSettled = true;
        reject(why);
        if (self) self.#rejected(why);
        else later = () => self.#rejected(why);
      };
      const done = (value) => {
        if (isSettled) return;
        isSettled = true;
        resolve(value);
        if (!(value instanceof Native)) return;
        if (self) self.#follow();
        else later = () => self.#follow();
      };
      try {
        run(done, fail);
      } catch (why) {
        fail(why);
      }
    });
    self = this;
    if (later) later();
  }

  then(done, failed) {
    if (#isHandled in this) this.#isHandled = true;
    unhandled.delete(this);
    return super.then(done, failed);
  }

  /// It goes the way of another promise, and is rejected without a call of `reject`.
  #follow() {
    then.call(this, undefined, (why) => this.#rejected(why));
  }

  #rejected(why) {
    if (this.#isHandled) return;
    unhandled.set(this, why);
    // An engine that tells of such promises has not to tell of this one as well.
    then.call(this, undefined, () => {});
    if (alarm) afterTurns(() => unhandled.has(this) && alarm(why));
  }
}

Object.defineProperty(Watched, "name", { value: "Promise" });
globalThis.Promise = Watched;

function afterTurns(run, turns = TURNS) {
  if (turns === 0) run();
  else then.call(Native.resolve(), () => afterTurns(run, turns - 1));
}

/// Forgets what was left at the top level, or by the call before.
export function forgetRejections() {
  unhandled.clear();
}

/// Throws what a promise was rejected with that nobody handles.
export function throwUnhandled() {
  for (const [promise, why] of unhandled) {
    unhandled.delete(promise);
    throw why;
  }
}

/// Hears what goes on behind the end of a command.
export const heardOut = () => heard(() => new Watched((done) => afterTurns(done))).then(throwUnhandled);

/// What comes of `work`, unless a promise is rejected meanwhile that nobody handles.
export function heard(work) {
  return new Watched((resolve, reject) => {
    throwUnhandled();
    alarm = reject;
    const given = work();
    if (typeof given?.then === "function") given.then(resolve, reject);
    else resolve(given);
  });
}
