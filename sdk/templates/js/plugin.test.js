// Tests of the commands on this machine, without a server: `npm test`; ./test.sh runs them too.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Host } from "./lictor/testing.js";

test("greets its caller as configured", () => {
  const host = new Host({ caller: "ada", config: { greeting: "good day" } });
  assert.equal(host.run("{{name}}", "Grace").text(), "good day Grace, from ada");
  assert.deepEqual(host.takeLog(), ["greeting Grace"]);
});

test("refuses a name that is too long", () => {
  const host = new Host();
  assert.throws(() => host.run("{{name}}", "x".repeat(41)), { code: "bad-arguments" });
});
