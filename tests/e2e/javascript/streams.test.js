// Streams over the host of a test.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Failure, Host } from "./lictor/testing.js";

const all = async (host, ...args) => {
  const { failure, ...streamed } = await host.stream(...args).all();
  return [Buffer.from(streamed.body).toString(), failure && `${failure.message} (${failure.code})`];
};

test("parts come as they are asked for, and then the end", async () => {
  const host = new Host();
  const streamed = await host.stream("count", 3).all();
  assert.deepEqual(streamed.parts.map(String), ["49,10", "50,10", "51,10"]);
  assert.deepEqual([streamed.text(), streamed.failure], ["1\n2\n3\n", null]);
  assert.deepEqual(await all(host, "plain", 2), ["12last", null]);
  assert.deepEqual((await host.stream("one").all()).body, new Uint8Array([0, 255]));
  assert.deepEqual(await all(host, "nothing"), ["", null]);
  assert.deepEqual((await host.stream("empty").all()).parts.length, 1);
  assert.deepEqual(await all(host, "hello", "Ada"), ["hello Ada", null]);
  assert.equal((await host.stream("whole", 1 << 20).all()).body.length, 1 << 20);
  assert.throws(() => host.run("count", 3), /call `host.stream`/);
});

test("a failure comes before or after parts", async () => {
  const host = new Host();
  assert.deepEqual(await all(host, "count"), ["", "usage: count TO [EVERY-MS] (bad-arguments)"]);
  assert.deepEqual(await all(host, "nosuch"), ["", "this plugin has no command nosuch (not-found)"]);
  assert.deepEqual(await all(host, "refuse"), ["", "refused (conflict)"]);
  assert.deepEqual(await all(host, "break-off", 2), ["1\n2\n", "no more (not-found)"]);
  assert.deepEqual(await all(host, "panic", 1), ["1\n", "the plugin met an error that it did not expect (failed)"]);
  assert.match(host.takeLog().join(), /uncaught TypeError/);
  assert.deepEqual(await all(host, "odd"), ["1\n", "the plugin met an error that it did not expect (failed)"]);
  await assert.rejects(async () => {
    for await (const part of host.stream("break-off", 1)) assert.equal(String(part), "49,10");
  }, (failure) => failure instanceof Failure && failure.code === "not-found");
});

test("a promise that is rejected and that nobody handles fails its command", async () => {
  const host = new Host();
  const unexpected = "the plugin met an error that it did not expect (failed)";
  for (const how of ["now", "later", "followed"]) {
    assert.deepEqual(await all(host, "leave", how), ["1\n2\n", unexpected], how);
    assert.deepEqual(await all(host, "leave-last", how), ["1\n", unexpected], how);
  }
  assert.deepEqual(await all(host, "stuck"), ["", unexpected]);
  assert.match(host.takeLog().join("\n"), /^(uncaught TypeError: .*\n?){7}$/);
  assert.deepEqual(await all(host, "leave", "refused"), ["1\n2\n", "none (not-found)"]);
  assert.deepEqual(await all(host, "mend"), ["caught rejected,rejected", null]);
  assert.deepEqual(host.takeLog(), []);
});

test("a client that reads no further cancels, and nothing behind that runs", async () => {
  const host = new Host();
  let count = 0;
  for await (const part of host.stream("flood")) {
    assert.equal(part.length, 64 << 10);
    if (++count === 20) break;
  }
  assert.deepEqual(host.takeLog(), ["flooded 1"], "the plugin is held back");
  for await (const part of host.stream("hold")) if (part.length > 0) break;
  assert.deepEqual(host.takeLog(), [], "no `finally` runs");
  for await (const part of host.stream("tally", 100)) if (String.fromCharCode(...part) === "3\n") break;
  assert.equal(host.store().get("n").text(), "3");
});

test("bounds hold from one part to the next", async () => {
  const host = new Host({ timeLeft: 1000, web: { "http://a": () => ({ body: "page", after: 850 }) } });
  assert.deepEqual(await all(host, "count", 5, 900), ["1\n2\n3\n4\n5\n", null]);
  assert.equal(host.elapsed, 4500);
  assert.match((await all(host, "count", 5, 1000))[1], /stopped at the deadline \(timeout\)/);
  assert.deepEqual(await all(host, "fetch", 3, "http://a/"), ["page\npage\npage\n", null]);
  const [whole, stalled] = await all(host, "stall", 2);
  assert.deepEqual([whole, /sent nothing and was stopped \(timeout\)/.test(stalled)], ["1\n2\n", true]);
  await all(host, "print", 200);
  assert.equal(host.takeLog().length, 200, "more in all than a call may print");
});

test("a stream sees its request at every part", async () => {
  assert.deepEqual(await all(new Host({ caller: "ada", body: "hi" }), "caller"), ["ada 104,105 true", null]);
});

test("events come to those who subscribed", async () => {
  const host = new Host({ topics: ["subscribe a/*", "publish p", "subscribe next"] });
  host.event("a/1", "x");
  host.event("b", "y");
  host.event("a/2", "z", { lost: 2 });
  const [whole, end] = await all(host, "subscribe", "a/*");
  assert.equal(whole, "subscribed\na/1 0 x\na/2 2 z\n");
  assert.match(end, /\(cancelled\)$/, "no test waits for an event that does not come");
  assert.deepEqual(await all(host, "subscribe", "*"), ["", "the plugin met an error that it did not expect (failed)"]);
  assert.match(host.takeLog()[0], /^uncaught Failure: the plugin may not subscribe to these topics /);
  assert.match((await all(host, "subscribe", "a b"))[1], /\(failed\)$/);
  assert.deepEqual(await all(host, "next", 1500), ["null", null]);
  assert.equal(host.elapsed, 1500);
  assert.deepEqual(await all(host, "publish", "p", "text"), ["0", null]);
  assert.equal(host.takePublished()[0].text(), "text");
});
