// Random operations, of which a component over the host and a test over its fakes are to make the same, letter for letter.

import atomics from "wasi:keyvalue/atomics@0.2.0-draft";
import batch from "wasi:keyvalue/batch@0.2.0-draft";
import keyvalue from "wasi:keyvalue/store@0.2.0-draft";
import { Store, command, events, http } from "./lictor.js";

export { commands } from "./lictor.js";

const KEYS = ["", "a", "b", "é", "z\n", "x".repeat(256), "x".repeat(257), "ab", "日本", "\u{10ffff}", "\uffff"];
const VALUES = [
  "", "5", "-3", "+7", "x", " 1", "9223372036854775807", "007", "v".repeat(1000), "1".repeat(1 << 20), "1".repeat((1 << 20) + 1),
];
const TTLS = [null, 0, 3_600_000, 315_360_000_000, 315_360_000_001];

command("state SEED COUNT", "works on stores", (seed, count) => {
  let state = Number(seed) >>> 0;
  const below = (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
  const pick = (of) => of[below(of.length)];
  const versions = [0, 0];
  const noted = (version) => versions.push(version) && version;
  const bucket = () => keyvalue.open(below(9) === 0 ? "other" : "default");
  const operations = {
    get(store, key) {
      const entry = store.get(key);
      return entry && [entry.value.length, noted(entry.version), entry.expiresInMs && Math.ceil(entry.expiresInMs / 600_000)];
    },
    set: (store, key, value) => noted(store.set(key, value, { ttlMs: pick(TTLS) })),
    delete: (store, key) => store.delete(key),
    increment: (store, key) => store.increment(key, pick([1, -1, 100, 0])),
    compareAndSet: (store, key, value) => noted(store.compareAndSet(key, pick([null, ...versions.slice(-2)]), value, { ttlMs: pick(TTLS) })),
    compareAndDelete: (store, key) => store.compareAndDelete(key, pick(versions.slice(-2))) ?? "done",
    touch: (store, key) => store.touch(key, pick(TTLS)),
    listKeys: (store) => store.listKeys(pick(["", "a", "é", "x"]), { after: pick([null, "a", "", "é", "zz"]), limit: pick([0, 1, 2, 1000, 5000]) }),
    bucketGet: (store, key) => bucket().get(key)?.length ?? null,
    bucketIncrement: (store, key) => atomics.increment(bucket(), key, pick([0, 1, 5])),
    bucketKeys(store, key) {
      const opened = bucket();
      return [opened.listKeys(null), opened.exists(key)];
    },
    setMany: (store, key) => batch.setMany(bucket(), [[key, new Uint8Array([49])], [pick(KEYS), new Uint8Array(below(3))]]) ?? "done",
    getMany: (store, key) => batch.getMany(bucket(), [key, pick(KEYS)]).map((entry) => entry && [entry[0], entry[1].length]),
  };
  const lines = Array.from({ length: Number(count) }, () => {
    const name = pick(Object.keys(operations));
    return `${name} ${shown(() => operations[name](new Store(below(12) === 0 ? "other" : "default"), pick(KEYS), pick(VALUES)))}`;
  });
  return lines.join("\n");
});

/// What came of it, or how it failed.
function shown(work) {
  try {
    return JSON.stringify(work());
  } catch (error) {
    return error.payload ? `payload ${JSON.stringify(error.payload)}` : `${error.name} ${error.code} ${error.message}`;
  }
}

const CLOSED = "http://127.0.0.1:1/";
const URLS = [
  CLOSED, "http://127.0.0.1:1", `${CLOSED}v1`, "HTTP://127.0.0.1:1/x", "ftp://a", "", "http://", "http:///b", "http://a b", "http://a/ü",
  "http://u@a/", "http://a:b/", "http://a:b:c/", "http://[::1]/", "http://[::1", "http://a/<>", "http://a:99999/", "http://127.1/",
  "http://a/x?y z", "http://a%00/", "http://a_b/", "http://a/\\x", "http://a/{}", "http://a/|^`", "http://a/?`^|", "http://a|b/",
  "http://127.0.0.1:/", "http://127.0.0.1:01/", "http://a/#f g", "http://a?q", `http://a/${"x".repeat(16384)}`,
];
const HEADERS = [
  {}, { Host: "x" }, { "a b": "c" }, { a: "b\r\nc" }, { a: "b\tc" }, { "content-length": "5" }, { "content-length": "0" },
  { "content-length": " 0 " }, { a: "x".repeat(17000) }, { a: "ü" }, { "": "x" }, { TE: "trailers" }, { "Proxy-Connection": "x" },
  { a: "b\x7f" }, { a: "\0" },
];
const METHODS = ["GET", "get", "PUR GE", "", "M".repeat(32), "M".repeat(33), "CONNECT", "G(T"];

command("requests", "sends requests to nobody", () => {
  const requests = [
    ...URLS.map((url) => ({ url })),
    ...HEADERS.map((headers) => ({ url: CLOSED, headers })),
    ...METHODS.map((method) => ({ url: CLOSED, method })),
  ];
  return requests.map((request) => `${JSON.stringify(request).slice(0, 80)} ${shown(() => http.send(request).status)}`).join("\n");
});

command("topics", "publishes and subscribes", () => {
  const names = ["a", "", "a b", "a*", "*", "é", "x".repeat(128), "x".repeat(129), "a/b:c.d_e-f", `${"x".repeat(128)}*`];
  const uses = {
    publish: (topic) => events.publish(topic, "x"),
    large: (topic) => events.publish(topic, new Uint8Array(65537)),
    subscribe: (topic) => events.subscribe(topic),
    next: () => events.next(),
  };
  const each = Object.entries(uses).flatMap(([name, use]) => names.map((topic) => `${name} ${topic.slice(0, 9)} ${shown(() => use(topic))}`));
  return each.join("\n");
});
