// The host of a test, by a plugin that uses every function of it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Failure, Host } from "./lictor/testing.js";

const run = (host, ...args) => {
  try {
    return host.run(...args).text();
  } catch (failure) {
    if (!(failure instanceof Failure)) throw failure;
    return `${failure.message} (${failure.code})`;
  }
};

test("without a host's gifts there is nothing", () => {
  const host = new Host();
  assert.equal(run(host, "greet"), "hello tester {}");
  assert.match(run(host, "fetch", "http://a/"), /\(denied\)$/);
  assert.match(run(host, "run", "echo"), /may not run echo \(forbidden\)$/);
  assert.match(run(host, "publish", "/x"), /\(denied\)$/);
  assert.throws(() => new Host({ boddy: "x" }), /a host has no boddy/);
  assert.throws(() => new Host({ instances: "some" }).run("greet"), /instances is/);
  assert.throws(() => host.stream("greet"), /no command of this plugin streams/);
});

test("a command finds what the test gives it", () => {
  const host = new Host({ caller: "ada", config: { greeting: "good day" }, headers: [["Lang", "de"], ["Size", "1"]], body: "x" });
  assert.equal(run(host, "greet"), 'good day ada {"greeting":"good day"}');
  assert.equal(run(host, "echo"), '[["Lang","de"]] x');
  host.body = new Uint8Array([0xff]);
  assert.equal(run(host, "echo"), "this is no text in UTF-8 (bad-arguments)");
  host.commands = {
    hi(args, body) {
      assert.deepEqual([args, Buffer.from(body).toString()], [["hi", "a"], "body"]);
      throw new Failure("conflict", "not now");
    },
    fails: new Failure("failed", "no"),
    plain: "a reply",
    broken() {
      throw new RangeError("of the test");
    },
  };
  assert.equal(run(host, "run", "hi"), "not now (conflict)");
  assert.equal(run(host, "run", "fails"), "no (plugin-failed)", "as its client is told");
  assert.match(host.takeLog().join("\n"), /^uncaught Failure: not now .*plugin\.js:\d+.*\nuncaught Failure: no .*$/, "since the plugin didn't write these");
  assert.equal(run(host, "run", "plain"), "a reply");
  assert.throws(() => host.run("run", "broken"), new RangeError("of the test"));
  host.files = { "/proc/x": "1 2", "/gone": null, "/large": new Uint8Array((1 << 20) + 1), "/held": new Failure("unavailable", "no") };
  host.subscribers = 3;
  assert.equal(run(host, "publish", "/proc/x"), "3");
  assert.deepEqual(host.takePublished().map((event) => [event.topic, event.text()]), [["files", "1 2"]]);
  assert.deepEqual(host.takeLog(), ["two", "lines"]);
  assert.deepEqual([host.takePublished(), host.takeLog()], [[], []]);
  assert.equal(run(host, "publish", "/gone"), "there is no such file now (not-found)");
  assert.equal(run(host, "publish", "/large"), "the file is larger than 1 MiB (failed)");
  assert.equal(run(host, "publish", "/held"), "no (unavailable)");
  host.topics = ["subscribe files"];
  assert.match(run(host, "publish", "/proc/x"), /may not publish to this topic \(denied\)/);
  assert.match(run(host, "subscribe"), /only a command that streams may subscribe \(unavailable\)/);
});

test("a web answers, and what is kept expires with the clock", () => {
  const asked = [];
  const host = new Host({
    stores: { cache: {} },
    web: {
      "http://a/v1": (request) => {
        asked.push(request.url);
        assert.deepEqual([request.method, request.header("Accept"), request.headers.length], ["GET", "*/*", 1]);
        return { "/v1/short": "short", "/v1/slow": { body: "slow", after: 2000 }, "/v1/large": new Uint8Array((8 << 20) + 1) }[request.path] ?? { status: 404 };
      },
      "http://down": new Failure("unavailable", "the server refuses the connection"),
    },
  });
  assert.equal(run(host, "fetch", "http://a/v1/short"), "short");
  assert.deepEqual(host.takeLog(), ["info: fetched http://a/v1/short"]);
  for (const [args, words] of [
    [["http://a/v1/slow", "1999"], "the server did not answer in time (unavailable)"],
    [["http://a/v1/large"], "the server's answer has more than 8 MiB (failed)"],
    [["http://a/v1/none"], "the status is 404"],
    [["http://down/"], "the server refuses the connection (unavailable)"],
    [["a"], "the URL does not begin with https:// or http:// (bad-arguments)"],
    [["http://a/v10"], "this URL is not granted to the plugin (denied)"],
    [["http://a/v1/../x"], "this URL is not granted to the plugin (denied)"],
    [["http://a/v1/%2e%2e"], "this URL is not granted to the plugin (denied)"],
    [["https://a/v1"], "this URL is not granted to the plugin (denied)"],
    [["http://a:81/v1"], "this URL is not granted to the plugin (denied)"],
    [["http://u@a/v1"], "the URL has a user's name in it; a header says who asks (bad-arguments)"],
  ]) assert.equal(run(host, "fetch", ...args), words);
  assert.equal(run(host, "fetch", "http://A.:80/v1/slow", "2001"), "slow");
  host.store("cache").delete("http://a/v1/short");
  assert.equal(run(host, "fetch", "http://a/v1/short"), "short");
  const before = asked.length;
  host.advance(59_000);
  assert.equal(run(host, "left", "http://a/v1/short"), "1000");
  assert.equal(run(host, "fetch", "http://a/v1/short"), "short");
  assert.equal(asked.length, before, "it was kept");
  host.advance(1000);
  assert.equal(run(host, "left", "http://a/v1/short"), "undefined");
  host.storesFail(new Failure("unavailable", "the disk is full"));
  assert.equal(run(host, "fetch", "http://a/v1/short"), "the disk is full (unavailable)");
});

test("stores have the rules of the server's", () => {
  const host = new Host({ stores: { default: { a: 5, "é": "x" } }, body: "1" });
  const store = host.store();
  assert.deepEqual([store.get("a").text(), store.get("none"), store.get("a").expiresInMs], ["5", null, null]);
  // The client chose no store.
  assert.equal(run(host, "left", "a"), "the plugin met an error that it did not expect (failed)");
  assert.match(host.takeLog()[0], /^uncaught Failure: this store is not granted to the plugin .*plugin\.js:\d+/);
  assert.throws(() => host.store("cache"), /the host has no store cache/);
  for (const key of ["", "a\nb", "x".repeat(257), "é".repeat(129)]) assert.throws(() => store.set(key, ""), { code: "bad-arguments" });
  for (const ttlMs of [0, 10 * 365 * 24 * 3_600_000 + 1]) assert.throws(() => store.set("a", "", { ttlMs }), { code: "bad-arguments" });
  assert.equal(run(host, "put", "many", "1200"), "");
  const keys = run(host, "keys").split(" ");
  assert.deepEqual([keys.length, keys[0], keys.at(-1)], [1202, "a", "é"], "in the order of their bytes, over two pages");
  const versions = [store.set("v", "1"), store.set("v", "2")];
  assert.ok(versions[1] > versions[0]);
  const other = new Host();
  assert.equal(run(other, "bucket"), '[[["a",1],null],true,null,{"keys":["a","b"],"cursor":null}]');
});

test("a store's quota holds, and what has expired makes room", () => {
  const host = new Host();
  const store = host.store();
  for (let at = 0; at < 63; at++) store.set(`k${at}`, new Uint8Array((1 << 20) - 16), at === 0 ? { ttlMs: 1000 } : {});
  store.set("last", new Uint8Array((1 << 20) - 16));
  assert.throws(() => store.set("more", new Uint8Array(2048)), { code: "failed", message: /^the store's quota of 67108864 bytes is used up: the write would make it 6\d+$/ });
  host.advance(1000);
  store.set("more", new Uint8Array(2048));
});

test("clocks go on without waiting, and numbers follow from a seed", () => {
  const host = new Host({ now: new Date("2026-03-01T00:00:00Z"), timeLeft: 3000 });
  assert.equal(run(host, "wait", "2000"), "2000 1000 2026-03-01T00:00:02.000Z true");
  assert.equal(run(host, "wait", "1000"), "1000 2000 2026-03-01T00:00:03.000Z true", "each command has the whole time");
  assert.match(run(host, "wait", "3000"), /was stopped at the deadline \(timeout\)/);
  const draw = (seed) => run(new Host({ seed }), "draw");
  assert.equal(draw(1), draw(1));
  assert.notEqual(draw(1), draw(2));
});

test("what a plugin has is what it has in a component", () => {
  const host = new Host();
  const names = "process Buffer setTimeout fetch require Intl WebAssembly navigator URLPattern";
  assert.equal(run(host, "evaluate", `"${names}".split(" ").filter((name) => name in globalThis).join()`), "");
  assert.equal(run(host, "evaluate", "Uint8Array.fromBase64('aGk=').toHex() + atob('aGk=') + new Uint8Array([255]).toBase64()"), "6869hi/w==");
  assert.equal(run(host, "evaluate", "new Date(0).getHours() + (new Date() instanceof Date ? ' ' : '') + typeof Date()"), "0 string");
  assert.throws(() => host.run("fail-at", "3"), (failure) => failure.code === "failed" && /failing \(sample\.js|failing \(plugin\.js:\d+\)/.test(failure.cause));
});

test("what is left behind by a command does not run, as in a component", async () => {
  const host = new Host();
  assert.equal(run(host, "later"), "");
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(host.store().keys(), ["queued"]);
});

test("a promise that is rejected and that nobody handles fails its command", () => {
  const host = new Host();
  for (const [how, end, words] of [
    ["now", /did not expect \(failed\)$/, /^uncaught TypeError: .*plugin\.js:\d+/],
    ["followed", /did not expect \(failed\)$/, /^uncaught TypeError: /],
    ["constructed", /did not expect \(failed\)$/, /^uncaught RangeError: none/],
    ["refused", /^none \(not-found\)$/, /^$/],
    ["later", /^done$/, /^$/],
    ["handled", /^done$/, /^$/],
  ]) {
    assert.match(run(host, "leave", how), end, how);
    assert.match(host.takeLog().join("\n"), words, how);
  }
  assert.equal(run(host, "evaluate", "`${Promise.name} ${Promise.resolve() instanceof Promise}`"), "Promise true");
});

test("a value that no function takes is refused, and can be caught", () => {
  const host = new Host();
  assert.equal(`${run(host, "refused")}\n`, readFileSync("refused.txt", "utf8"));
  assert.throws(() => host.run("fail-plainly"), { code: "failed", message: "something went wrong" });
});

test("what breaks a call off in a component does so here, whatever the plugin catches", () => {
  const host = new Host({ files: {} });
  for (const [what, words] of [
    ["too few parameters", /^caught TypeError: get requires 2 arguments$/],
    ["a raw key that is a number", /what the plugin hands to the host has to be a text, not 5 \(plugin-trapped\)/],
    ["too much at once", /handed the host more than 16842752 bytes at once \(plugin-limit\)/],
    ["too many operations", /asked for more than its 10000 operations of the host \(plugin-limit\)/],
    ["too many bytes", /moved more than its 67108864 bytes through the host \(plugin-limit\)/],
    ["sleeping for long", /was stopped at the deadline \(timeout\)/],
    ["a promise", /did not expect \(failed\)/],
    ["a generator", /did not expect \(failed\)/],
    ["a reply that is none", /did not expect \(failed\)/],
  ]) assert.match(run(host, "wrong", what), words, what);
  assert.match(host.takeLog().join("\n"), /commands are not async[^]*add it by `stream`[^]*the command wrong returned \{\}: a reply is/);
});

test("what nobody expected is told with its place and what to do", () => {
  const host = new Host({ web: { "https://own/": "<html>" } });
  for (const [how, words] of [
    ["long", /^uncaught Error: v+… at .*plugin\.js:/],
    ["wide", /^uncaught Error: 日+… at .*plugin\.js:/],
    ["object", /^uncaught TypeError: the command unexpected returned \{ a: 1 \}: a reply is a text/],
    ["fetch", /^uncaught ReferenceError: fetch is not defined at .*plugin\.js:.*; plugins have no fetch: use http of \.\/lictor\.js$/],
    ["timer", /; plugins have no setTimeout: use clock\.sleep of /],
    ["storage", /; plugins have no localStorage: use state of /],
    ["own", /^uncaught ReferenceError: nowhere is not defined at [^;]*$/],
  ]) {
    assert.throws(() => host.run("unexpected", how), { code: "failed" });
    const [line, ...more] = host.takeLog();
    assert.match(line, words, how);
    assert.equal(more.length, 0, how);
  }
  const message = /^the answer of https:\/\/own\/a is no JSON: ./;
  assert.throws(() => host.run("json", "https://own/a?key=x"), { code: "failed", message });
  assert.match(host.takeLog()[0], /^uncaught Failure: the answer of .*plugin\.js:/);
});
