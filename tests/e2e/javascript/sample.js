// A plugin that uses every function of the host, for tests over the host of a test.

import keyvalue from "wasi:keyvalue/store@0.2.0-draft";
import batch from "wasi:keyvalue/batch@0.2.0-draft";
import state_ from "lictor:plugin/state@0.1.0";
import {
  Failure, Store, body, call, caller, clock, command, config, decode, events, files, headers, http, logEvent, print, random, state, text, timeLeft,
} from "./lictor.js";

export { commands } from "./lictor.js";

const cache = new Store("cache");

/// A command whose client is told what the host says.
const asIs = (run) => (...args) => {
  try {
    return run(...args);
  } catch (error) {
    throw error instanceof Failure ? new Failure(error.code, error.message) : error;
  }
};

command("greet", "greets its caller", () => `${config.get("greeting") ?? "hello"} ${caller().name} ${JSON.stringify(config.all())}`);
command("echo", "tells what came", () => `${JSON.stringify(headers())} ${text()}`);
command("fetch URL [TIMEOUT-MS]", "fetches a page, and keeps it for a minute", asIs((url, timeout) => {
  const kept = cache.get(url);
  if (kept) return kept.value;
  const answer = http.get(url, { headers: { accept: "*/*" }, timeoutMs: timeout ? Number(timeout) : null });
  if (!answer.ok) return `the status is ${answer.status}`;
  cache.set(url, answer.body, { ttlMs: 60_000 });
  logEvent("info", `fetched ${url}`);
  return answer.body;
}));
command("left KEY", "tells when an entry expires", (key) => String(cache.get(key)?.expiresInMs));
command("run NAME", "runs another command", (name) => call([name, "a"], { body: "body" }));
command("wait MS", "waits", (ms) => {
  const begun = performance.now();
  clock.sleep(Number(ms));
  return `${performance.now() - begun} ${timeLeft()} ${new Date().toISOString()} ${Date.now() === clock.now()}`;
});
command("draw", "draws numbers", () => `${random.bytes(3)} ${Math.random()} ${crypto.randomUUID()}`);
command("publish PATH", "publishes what stands in a file", asIs((path) => {
  print("two\nlines");
  return events.publish("files", files.read(path));
}));
command("subscribe", "can't", () => events.subscribe("x"));
command("put KEY [MANY]", "writes entries", (key, many = 1) => {
  for (let at = 0; at < Number(many); at++) state.set(`${key}${at}`, body());
});
command("keys", "lists keys", () => [...state.keys()].join(" "));
command("bucket", "works on a store by wasi:keyvalue", () => {
  const store = keyvalue.open("default");
  batch.setMany(store, [["a", new Uint8Array([49])], ["b", new Uint8Array([50])]]);
  const many = batch.getMany(store, ["a", "none"]).map((entry) => entry && [entry[0], entry[1].length]);
  return JSON.stringify([many, store.exists("b"), store.get("none"), store.listKeys(null)]);
});
command("evaluate CODE", "evaluates", (code) => String((0, eval)(code)));
command("fail-plainly", "fails as an Error would", () => {
  throw new Failure("something went wrong");
});
command("later", "leaves a promise behind", () => {
  Promise.resolve().then(() => state.set("late", "x"));
  queueMicrotask(() => state.set("queued", "x"));
});
command("leave HOW", "leaves a promise to itself that is rejected", (how) => {
  const left = how === "constructed" ? new Promise((_, reject) => reject(new RangeError("none"))) : rejected(how);
  if (how === "handled") left.catch(() => print("never driven"));
  return "done";
});
async function rejected(how) {
  if (how === "later") await null;
  if (how === "followed") return rejected("now");
  if (how === "refused") throw new Failure("not-found", "none");
  null.x;
}
command("fail-at DEPTH", "fails within", function failing(depth) {
  if (Number(depth) > 0) return failing(depth - 1);
  return null.x;
});

// What a plugin would do wrong. This the kit refuses.
const REFUSED = {
  "a key that is a number": () => state.get(5),
  "a key that is missing": () => state.set(undefined, "v"),
  "a text that is no Unicode": () => state.get("\ud800"),
  "a time below zero": () => state.set("a", "b", { ttlMs: -1 }),
  "a time that is a text": () => http.get("http://a/", { timeoutMs: "5000" }),
  "a time that is no number": () => http.get("http://a/", { timeoutMs: NaN }),
  "a time in place of options": () => state.set("a", "b", 60_000),
  "an option that is none": () => http.get("http://a/", { timeout: 5 }),
  "options that are null": () => events.next(null),
  "half a step": () => state.increment("n", 1.5),
  "a step that is a text": () => state.increment("n", "5"),
  "a step that is a bigint": () => state.increment("n", 5n),
  "a version that is none": () => state.compareAndDelete("a", null),
  "a limit below zero": () => state.listKeys("", { limit: -1 }),
  "a level that is none": () => logEvent("warning", "x"),
  "a message that is missing": () => logEvent("warn", undefined),
  "too many random bytes": () => random.bytes((1 << 20) + 1),
  "random bytes below zero": () => random.bytes(-1),
  "more random values than there are": () => crypto.getRandomValues(new Uint8Array((1 << 20) + 1)),
  "a command that is a text": () => call("greet"),
  "an argument that is missing": () => call(["greet", undefined]),
  "a topic that is missing": () => events.publish(undefined, "x"),
  "topics that are a list": () => events.subscribe(["a"]),
  "a path that is a number": () => files.read(1),
  "a header that is missing": () => http.get("http://a/", { headers: { token: config.get("token") } }),
  "a URL that is missing": () => http.post(undefined, "x"),
  "a nap that is a text": () => clock.sleep("5"),
  "a name of a config that is missing": () => config.get(),
  "a store that is a number": () => new Store(1),
  "a text that is decoded": () => decode("x"),
  "a code that is a number": () => new Failure(404, "x"),
};
const WRONG = {
  "too few parameters": () => state_.get("default"),
  "a raw key that is a number": () => state_.get("default", 5),
  "too much at once": () => files.read("x".repeat(17 << 20)),
  "too many operations": () => {
    for (;;) state.get("a");
  },
  "too many bytes": () => {
    for (;;) state.set("a", new Uint8Array(1 << 20));
  },
  "sleeping for long": () => clock.sleep(6000),
  "a promise": async () => {},
  "a generator": function* () {},
  "a reply that is none": () => ({}),
};
const RETURNED = ["a promise", "a generator", "a reply that is none"];
command("wrong WHAT", "does something wrong, and tells of what it caught", (what) => {
  try {
    const done = WRONG[what]();
    if (RETURNED.includes(what)) return done;
  } catch (error) {
    return `caught ${error.name}: ${error.message}`;
  }
});
command("refused", "does all that the kit refuses, and tells how", () =>
  Object.entries(REFUSED).map(([what, work]) => {
    try {
      return `${what}: gave ${work()}`;
    } catch (error) {
      const place = /plugin\.js:\d+/.test(error.stack) ? "" : " without a place";
      return `${what}: ${error.name}: ${error.message}${place}`;
    }
  }).join("\n"),
);

const UNEXPECTED = {
  long: () => { throw new Error("v".repeat(5_000_000)); },
  wide: () => { throw new Error("日".repeat(5000)); },
  object: () => ({ a: 1 }),
  fetch: () => fetch("https://api/"),
  timer: () => setTimeout(() => {}, 1),
  storage: () => localStorage.getItem("a"),
  own: () => nowhere,
};
command("unexpected HOW", "goes wrong", (how) => UNEXPECTED[how]());
command("json URL", "asks for JSON", (url) => String(http.get(url).json()));
