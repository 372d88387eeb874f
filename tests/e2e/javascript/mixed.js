// Random operations, of which a component over the host and a test over its fakes are to make the same, letter for letter.

import atomics from "wasi:keyvalue/atomics@0.2.0-draft";
import batch from "wasi:keyvalue/batch@0.2.0-draft";
import keyvalue from "wasi:keyvalue/store@0.2.0-draft";
import http_ from "lictor:plugin/http@0.1.0";
import state_ from "lictor:plugin/state@0.1.0";
import { Store, call, command, config, events, files, header, headers, http } from "./lictor.js";

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
    compareAndDelete: (store, key) => store.compareAndDelete(key, pick(versions.slice(-2))),
    touch: (store, key) => store.touch(key, pick(TTLS)),
    listKeys: (store) => store.listKeys(pick(["", "a", "é", "x"]), { after: pick([null, "a", "", "é", "zz"]), limit: pick([0, 1, 2, 1000, 5000]) }),
    bucketGet: (store, key) => bucket().get(key)?.length ?? null,
    bucketIncrement: (store, key) => atomics.increment(bucket(), key, pick([0, 1, 5])),
    bucketKeys(store, key) {
      const opened = bucket();
      return [opened.listKeys(null), opened.exists(key)];
    },
    setMany: (store, key) => batch.setMany(bucket(), [[key, new Uint8Array([49])], [pick(KEYS), new Uint8Array(below(3))]]),
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
    return String(JSON.stringify(work()));
  } catch (error) {
    return error.payload ? `payload ${JSON.stringify(error.payload)}` : `${error.name} ${error.code} ${error.message}`;
  }
}

const CLOSED = "http://127.0.0.1:1/";
const PATHS = [
  "v1", "v1/", "v1/x", "v1?x", "v1/?../", "v10", "v1/..", "v1/../x", "v1/..;/x", "v1/.;a/x", "v1/...", "v1/%zz", "v1/%", "v1/%4", "v1/%4g",
  "v1/%41", "v1/%2e", "v1/%2E%2e", "v1/%2f", "v1/%5c", "v1/%25", "v1/%3b", "v1/%00", "v1/%1f", "v1/%7f", "v1/%80", "v1/\\x", "v1//x",
  "v1/;x", "V1/x", "%761/x", "v1#/..", "v2", "v2/", "v2/x", "v2/..", "v2//", "", "/v1", "v1/%+1", "v1/%-1", "v1/% 1",
];
const AUTHORITIES = [
  "127.0.0.1:1", "127.0.0.1:01", "127.0.0.1:", "127.0.0.1:+1", "127.0.0.1", "127.0.0.1.:1", "127.1:1", "0x7f.0.0.1:1", "127.0.0.1:99999",
  "a:b", "a:b:c", "[::1]", "[::1]:1", "[::1", "::1", "[::1%25lo]", "[127.0.0.1]:1", "a_b", "a..b", ".", "-", "u@127.0.0.1:1", "", "a|b", "a%00", "x".repeat(64),
  "x".repeat(1025),
];
const URLS = [
  ...PATHS.map((path) => CLOSED + path), ...AUTHORITIES.map((authority) => `http://${authority}/v1`), "HTTP://127.0.0.1:1/v1", "ftp://a", "",
  "http:/127.0.0.1:1/v1", "http://127.0.0.1:1", "http://a b", "http://a/ü", "http://a/<>", "http://a/x?y z", "http://a/{}", "http://a/|^`",
  "http://a/?`^|", "http://a/?<", "http://a/#f g", "http://127.0.0.1:1?q", "https://127.0.0.1:1/v1", `${CLOSED}v1/${"x".repeat(16384)}`,
];
const FIELDS = [
  {}, { Host: "x" }, { "a b": "c" }, { a: "b\r\nc" }, { a: "b\tc" }, { "content-length": "5" }, { "content-length": "0" },
  { "content-length": " 0 " }, { "Content-Length": "+0" }, { a: "x".repeat(17000) }, { a: "ü" }, { "": "x" }, { TE: "trailers" },
  { "Proxy-Connection": "x" }, { "proxy-authenticate": "x" }, { trailer: "x" }, { a: "b\x7f" }, { a: "\0" }, { [`${"x".repeat(70)} `]: "y" }, { é: "x" },
  { "HTTP2-Settings": "x" },
];
const METHODS = ["GET", "get", "PUR GE", "", "M".repeat(32), "M".repeat(33), "CONNECT", "connect", "TRACE", "G(T", "Ü", "M\n"];

command("requests", "sends requests to nobody", () => {
  const url = `${CLOSED}v1`;
  const requests = [
    ...URLS.map((url) => ({ url })),
    ...FIELDS.map((headers) => ({ url, headers })),
    ...METHODS.map((method) => ({ url, method })),
    // What is wrong with the first of several things.
    ...[{ url: "ftp://a", method: "G T" }, { url, method: "G T", headers: { Host: "x" } }, { url: "http://b/", method: "CONNECT" }, { url: "ftp://a", method: "CONNECT" }],
  ];
  return requests.map((request) => `${JSON.stringify(request).slice(0, 80)} ${shown(() => http.send(request).status)}`).join("\n");
});

command("answers URL", "asks what has no body, whatever is behind its head", (url) =>
  ["GET", "HEAD", "PUT"].map((method) => shown(() => {
    const answer = http.send({ method, url });
    return [answer.status, answer.headers, answer.text()];
  })).join("\n"),
);

command("others PATH...", "reads files, the config and the request, and calls commands", (...paths) => {
  const reads = [...paths, "", "relative", `${paths[0]}/`, `${paths[0]}\0`].map((path) => shown(() => files.read(path).length));
  const keys = ["greeting", "Greeting", "", "number"].map((key) => shown(() => config.get(key)));
  const asked = ["lang", "LANG", "", "size", "timeout-ms", "idempotency-key"].map((name) => shown(() => header(name)));
  const lines = [["none"], ["none", "a".repeat(8187)], ["none", "a".repeat(8186)], Array(1025).fill("none")];
  const calls = lines.map((args) => shown(() => call(args).length));
  return [...reads, ...keys, JSON.stringify(Object.entries(config.all()).sort()), ...asked, JSON.stringify(headers()), ...calls].join("\n");
});

const BASE64 = ["aGk=", "aGk", "aG k=", " a\tG\nk = ", "aGl", "aG==", "aH==", "a", "a=", "aGk==", "aGk=a", "_-8=", "/+8=", "", "=", "====", "é", "aGk=aGk="];
const OPTIONS = ["", ", {}", ", { alphabet: 'base64url' }", ", { lastChunkHandling: 'strict' }", ", { lastChunkHandling: 'stop-before-partial' }"];
const HEX = ["", "00fF", "0", "0g", "é0", " 00"];
const ODD = [", null", ", 5", ", undefined", ", { alphabet: 'base32' }", ", { alphabet: null }", ", { lastChunkHandling: 'no' }"];
const BYTES = "new Uint8Array([251, 239, 255, 1])";
command("encodings", "reads and writes base64 and hex", () => {
  const quoted = (texts) => texts.map((text) => JSON.stringify(text));
  const codes = [
    ...quoted(BASE64).flatMap((text) => OPTIONS.map((options) => `[...Uint8Array.fromBase64(${text}${options})]`)),
    ...quoted(BASE64).flatMap((text) => OPTIONS.map((options) => `{ const to = new Uint8Array(3); [to.setFromBase64(${text}${options}), [...to]] }`)),
    ...ODD.flatMap((options) => [`[...Uint8Array.fromBase64("aGk="${options})]`, `${BYTES}.toBase64(${options.slice(2)})`]),
    ...["5", "null", "undefined", "{}", "new String('aGk=')"].flatMap((value) => [`Uint8Array.fromBase64(${value})`, `Uint8Array.fromHex(${value})`]),
    ...["", "{}", "{ omitPadding: true }", "{ alphabet: 'base64url' }", "{ alphabet: 'base64url', omitPadding: 1 }"].map((options) => `${BYTES}.toBase64(${options})`),
    ...quoted(HEX).flatMap((text) => [`[...Uint8Array.fromHex(${text})]`, `{ const to = new Uint8Array(1); [to.setFromHex(${text}), [...to]] }`]),
    `${BYTES}.toHex()`, `${BYTES}.subarray(1, 3).toBase64()`, "Uint8Array.prototype.toHex.call([1])", "Uint8Array.prototype.toBase64.call(new Uint16Array(1))",
    ...quoted(BASE64).map((text) => `atob(${text})`), "btoa('é')", "btoa('日')", "btoa(5)", "atob(5)", "btoa()", "atob()",
  ];
  return codes.map((code) => `${code} ${told(() => (0, eval)(code))}`).join("\n");
});

/// What came of it, or the kind of its error: engines have words of their own.
function told(work) {
  try {
    return JSON.stringify(work());
  } catch (error) {
    return error.name;
  }
}

const RAW = {
  "a number for a text": () => state_.get("default", 5),
  "nothing for a text": () => state_.get("default", undefined),
  "a surrogate": () => state_.get("default", "\ud800"),
  "an object for a text": () => state_.get("default", new String("a")),
  "a text for bytes": () => state_.set("default", "a", "b", null),
  "a buffer for bytes": () => state_.set("default", "a", new ArrayBuffer(1), null),
  "other bytes for bytes": () => state_.set("default", "a", new Uint8ClampedArray(1), null),
  "larger numbers for bytes": () => state_.set("default", "a", new Uint16Array(1), null),
  "an array for bytes": () => state_.set("default", "a", [1, 2], null),
  "an array of what is no byte": () => state_.set("default", "a", [256], null),
  "a fraction": () => state_.increment("default", "n", 1.5),
  "a fraction above nothing": () => state_.touch("default", "a", 0.5),
  "a fraction below nothing": () => state_.touch("default", "a", -0.5),
  "nothing below nothing": () => state_.listKeys("default", "", null, -0),
  "less than nothing": () => state_.touch("default", "a", -1),
  "no number": () => state_.touch("default", "a", NaN),
  "what has no end": () => state_.touch("default", "a", Infinity),
  "too much": () => state_.listKeys("default", "", null, 2 ** 32),
  "a bigint": () => state_.increment("default", "n", 5n),
  "a text for a number": () => state_.increment("default", "n", "5"),
  "true for a number": () => state_.increment("default", "n", true),
  "undefined for what may be missing": () => state_.touch("default", "a", undefined),
  "too few": () => state_.touch("default", "a"),
  "too many": () => state_.get("default", "a", "b"),
  "a text for a list": () => batch.deleteMany(keyvalue.open("default"), "ab"),
  "a set for a list": () => batch.deleteMany(keyvalue.open("default"), new Set(["a"])),
  "a list that is too long for a pair": () => batch.setMany(keyvalue.open("default"), [["a", new Uint8Array(1), "b"]]),
  "a list that is too short for a pair": () => batch.setMany(keyvalue.open("default"), [["a"]]),
  "an object for a store": () => batch.deleteMany({}, ["a"]),
  "a request that lacks its body": () => http_.send({ method: "GET", url: `${CLOSED}v1`, headers: [] }),
  "a request of pairs of numbers": () => http_.send({ method: "GET", url: `${CLOSED}v1`, headers: [["a", 1]], body: new Uint8Array(0), timeoutMs: null }),
};
command("raw [WHAT]", "hands interfaces what the kit would refuse, or tells what there is of that", (what) => (what ? shown(RAW[what]) : Object.keys(RAW).join("\n")));

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
