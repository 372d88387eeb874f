// Packages and TypeScript over the host of a test.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Host } from "./lictor/testing.js";

test("packages do what they do in a component", () => {
  const run = (...args) => new Host().run(...args).text();
  assert.equal(run("group", "apple", "avocado", "bean"), '{"a":["apple","avocado"],"b":["bean"]}');
  assert.equal(run("check", '{"name":"Ada","age":"old"}'), "age: Expected number, received string");
  assert.equal(run("days", "2026-02-27", "3"), "Monday, 2 March 2026");
  assert.equal(run("html", "# Title\n\n*some* `code`"), "<h1>Title</h1>\n<p><em>some</em> <code>code</code></p>\n");
  assert.equal(run("url", "https://Example.com:443/a/../b?x=1#y", "../c?ü=é"), "https://example.com/c?%C3%BC=%C3%A9 x=1");
  assert.equal(run("utf8", "262144"), "1310720 true");
  assert.equal(run("clone"), "true true 36");
  assert.throws(() => run("fail"), (failure) => /TypeError.*deep \(plugin\.ts:/.test(failure.cause));
});
