// A plugin that uses every function of the host, for tests over the host of a test.

import keyvalue from "wasi:keyvalue/store@0.2.0-draft";
import batch from "wasi:keyvalue/batch@0.2.0-draft";
import state_ from "lictor:plugin/state@0.1.0";
import {
  Store, body, call, caller, clock, command, config, events, files, headers, http, logEvent, print, random, state, text, timeLeft,
} from "./lictor.js";

export { commands } from "./lictor.js";

const cache = new Store("cache");

command("greet", "greets its caller", () => `${config.get("greeting") ?? "hello"} ${caller().name} ${JSON.stringify(config.all())}`);
command("echo", "tells what came", () => `${JSON.stringify(headers())} ${text()}`);
command("fetch URL [TIMEOUT-MS]", "fetches a page, and keeps it for a minute", (url, timeout) => {
  const kept = cache.get(url);
  if (kept) return kept.value;
  const answer = http.get(url, { headers: { accept: "*/*" }, timeoutMs: timeout ? Number(timeout) : null });
  if (!answer.ok) return `the status is ${answer.status}`;
  cache.set(url, answer.body, { ttlMs: 60_000 });
  logEvent("info", `fetched ${url}`);
  return answer.body;
});
command("left KEY", "tells when an entry expires", (key) => String(cache.get(key)?.expiresInMs));
command("run NAME", "runs another command", (name) => call([name, "a"], { body: "body" }));
command("wait MS", "waits", (ms) => {
  const begun = performance.now();
  clock.sleep(Number(ms));
  return `${performance.now() - begun} ${timeLeft()} ${new Date().toISOString()} ${Date.now() === clock.now()}`;
});
command("draw", "draws numbers", () => `${random.bytes(3)} ${Math.random()} ${crypto.randomUUID()}`);
command("publish PATH", "publishes what stands in a file", (path) => {
  print("two\nlines");
  return events.publish("files", files.read(path));
});
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
command("later", "leaves a promise behind", () => {
  Promise.resolve().then(() => state.set("late", "x"));
  queueMicrotask(() => state.set("queued", "x"));
});
command("fail-at DEPTH", "fails within", function failing(depth) {
  if (Number(depth) > 0) return failing(depth - 1);
  return null.x;
});

// What a plugin would do wrong.
const WRONG = {
  "a key that is a number": () => state.get(5),
  "a time below zero": () => state.set("a", "b", { ttlMs: -1 }),
  "a level that is none": () => logEvent("loud", "x"),
  "a text that is no Unicode": () => state.get("\ud800"),
  "too few parameters": () => state_.get("default"),
  "too many random bytes": () => random.bytes((1 << 20) + 1),
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
command("wrong WHAT", "does something wrong, and tells of what it caught", (what) => {
  try {
    const done = WRONG[what]();
    if (["a promise", "a generator", "a reply that is none"].includes(what)) return done;
  } catch (error) {
    return `caught ${error.name}: ${error.message}`;
  }
});
