// The conformance plugin over the host of a test: what `lictor plugin test` expects of it in a server. A fake that is kinder than
// the server, or stricter, fails here.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Failure, Host } from "./lictor/testing.js";

const everyByte = Uint8Array.from({ length: 256 }, (_, at) => at);
const large = Uint8Array.from({ length: 1 << 20 }, (_, at) => Math.imul(at, 7) ^ (at >> 8));
const isNumber = (text) => assert.match(text, /^[0-9]+$/);
const fails = (code, message) => ({ code, message });
/// A failure of the host's that would blame the client.
const unexpected = fails("failed", "the plugin met an error that it did not expect");

/// What the suite's server answers.
const answer = ({ method, path, body, header }) => {
  const headers = { "X-Answer": "grüße" };
  switch (path.split("?")[0]) {
    case "/echo":
      return { headers, body: Buffer.concat([Buffer.from(`${method} ${header("X-Word")} `), body]) };
    case "/missing":
      return { status: 404, headers, body: "no such thing" };
    case "/moved":
      return { status: 302, headers: { ...headers, location: "/echo" } };
    case "/large":
      return { headers, body: new Uint8Array(9 << 20) };
    case "/silent":
      return { after: Infinity };
    default:
      throw new Failure("unavailable", "the server does not speak HTTP as it should");
  }
};
const web = {
  "http://127.0.0.1:8080": answer,
  "http://127.0.0.1:9": () => {
    throw new Failure("unavailable", "the server refuses the connection");
  },
};
const url = "http://127.0.0.1:8080";

/// A command's arguments; the request's body or headers; and a reply, or a function of it, or a failure's code and words.
const CASES = [
  [["echo", "hello"], {}, "hello"],
  [["echo", "a", "b", "c"], {}, "a b c"],
  [["echo"], {}, ""],
  [["echo", "", "x", ""], {}, " x "],
  [["echo", "grüße ☃ 🦀 e\u0301", "日本"], {}, "grüße ☃ 🦀 e\u0301 日本"],
  [["echo", "a\0b\r\n\x1b[2J\x7f"], {}, "a\0b\r\n\x1b[2J\x7f"],
  [["body"], {}, ""],
  [["body"], { body: everyByte }, everyByte],
  [["body"], { body: large }, large],
  [["body"], { body: new Uint8Array((1 << 20) + 1) }, fails("plugin-limit", /returned more than its 1048576 bytes/)],
  [["fail", "bad-arguments", "no"], {}, fails("bad-arguments", "no")],
  [["fail", "not-found", "a b ☃"], {}, fails("not-found", "a b ☃")],
  [["fail", "on-fire", "no"], {}, fails("on-fire", "no")],
  [["fail"], {}, fails("bad-arguments", "usage: fail CODE MESSAGE")],
  [["nosuch"], {}, fails("not-found", "this plugin has no command nosuch")],
  [["log", "loud", "part", "no"], {}, fails("bad-arguments", "loud is no level")],
  [["config", "greeting"], {}, "hello ☃"],
  [["config", "missing"], {}, fails("not-found", /./)],
  [["caller"], {}, `conformance ${"a1".repeat(32)}`],
  [["id"], {}, /^c\d+-\d+$/],
  [["header", "x-colour"], { headers: { "X-Colour": "blue ☃" } }, "blue ☃"],
  [["header", "x-colour"], {}, fails("not-found", /./)],
  [["header", "timeout-ms"], { headers: { "Timeout-Ms": "5000" } }, fails("not-found", /./)],
  [["headers"], { headers: [["B", "2"], ["A", "1"], ["b", "3"]] }, "B: 2\nA: 1\nb: 3"],
  [["time-left"], {}, "5000"],
  [["kv-get", "a"], {}, fails("not-found", /./)],
  [["kv-set", "a", "value ☃"], {}, ""],
  [["kv-get", "a"], {}, "value ☃"],
  [["kv-set", "a", "other"], {}, ""],
  [["kv-get", "a"], {}, "other"],
  [["kv-set", "empty", ""], {}, ""],
  [["kv-get", "empty"], {}, ""],
  [["kv-increment", "n", "5"], {}, "5"],
  [["kv-increment", "n", "37"], {}, "42"],
  [["kv-increment", "a", "1"], {}, fails("failed", /no.* decimal number/)],
  [["kv-keys"], {}, "a\nempty\nn"],
  [["kv-delete", "a"], {}, ""],
  [["kv-get", "a"], {}, fails("not-found", /./)],
  [["kv-set", "", "x"], {}, fails("failed", "not a key: it is empty")],
  [["kv-open", "default"], {}, ""],
  [["kv-open", "other"], {}, fails("denied", /./)],
  [["state-set", "soon", "x", "3600000"], {}, isNumber],
  [["kv-get", "soon"], {}, "x"],
  [["state-set", "soon", "x", "0"], {}, unexpected],
  [["state-swap", "fresh", "0", "one"], {}, isNumber],
  [["state-swap", "fresh", "0", "two"], {}, fails("conflict", /./)],
  [["state-swap", "fresh", "999999", "two"], {}, fails("conflict", /./)],
  [["state-put", "large"], { body: new Uint8Array(100_000) }, isNumber],
  [["state-put", "large"], { body: new Uint8Array((1 << 20) + 1) }, unexpected],
  [["state-set", "brief", "x", "3600000"], {}, isNumber],
  [["state-renew", "brief"], {}, isNumber],
  [["http", "GET", `${url}/echo?a=b`, "word", "0"], {}, "200 grüße\nGET word "],
  [["http", "POST", `${url}/echo`, "word", "0"], { body: everyByte }, Buffer.concat([Buffer.from("200 grüße\nPOST word "), everyByte])],
  [["http", "GET", `${url}/missing`, "word", "0"], {}, "404 grüße\nno such thing"],
  [["http", "GET", `${url}/moved`, "word", "0"], {}, "302 grüße\n"],
  [["http", "GET", "http://localhost:8080/echo", "word", "0"], {}, unexpected],
  [["http", "GET", "nowhere", "word", "0"], {}, unexpected],
  [["http", "GET", `${url}/echo`, "a\r\nb: c", "0"], {}, unexpected],
  [["http", "GET", "http://127.0.0.1:9/echo", "word", "0"], {}, fails("unavailable", /refuses/)],
  [["http", "GET", `${url}/silent`, "word", "100"], {}, fails("unavailable", "the server did not answer in time")],
  [["http", "GET", `${url}/silent`, "word", "0"], {}, fails("unavailable", "the server did not answer in time")],
  [["http", "GET", `${url}/wrong`, "word", "0"], {}, fails("unavailable", /HTTP/)],
  [["http", "GET", `${url}/large`, "word", "0"], {}, fails("failed", "the server's answer has more than 8 MiB")],
  [["kv-increment", "n", "many"], {}, fails("bad-arguments", /./)],
  [["count"], {}, "1"],
  [["count"], {}, "1"],
  [["echo", "still here"], {}, "still here"],
];

test("each command does what the suite expects", () => {
  const host = new Host({ caller: "conformance", thumbprint: "a1".repeat(32), config: { greeting: "hello ☃" }, web });
  for (const [args, request, expected] of CASES) {
    Object.assign(host, { body: "", headers: {} }, request);
    const shown = args.join(" ");
    if (expected.code) {
      const { code, message } = expected;
      const isIt = (failure) => failure instanceof Failure && failure.code === code && (typeof message === "string" ? failure.message === message : message.test(failure.message));
      assert.throws(() => host.run(...args), isIt, shown);
      continue;
    }
    const reply = host.run(...args);
    if (typeof expected === "function") expected(reply.text());
    else if (expected instanceof RegExp) assert.match(reply.text(), expected, shown);
    else if (typeof expected === "string") assert.equal(reply.text(), expected, shown);
    else assert.ok(Buffer.compare(reply.body, expected) === 0, shown);
  }
});

test("what a command logs is in the log", () => {
  const host = new Host({ config: {} });
  const logged = (...args) => {
    host.run(...args);
    return host.takeLog();
  };
  for (const level of ["trace", "debug", "info", "warn", "error", "critical"]) {
    assert.deepEqual(logged("log", level, "part", `said at ${level} ☃`), [`${level}: said at ${level} ☃`]);
  }
  assert.deepEqual(logged("print", "printed ☃\r\n\nand more"), ["printed ☃", "and more"]);
  assert.equal(logged("print-odd").at(-1), "all shown");
  host.body = `${"☃".repeat(3000)}\nbehind it`;
  assert.deepEqual(logged("say"), ["☃".repeat(682), "behind it"]);
  host.body = `${"L".repeat(2 << 20)}\nbehind it`;
  assert.deepEqual(logged("say"), ["L".repeat(2048), "behind it"]);
  host.body = `${"m".repeat(1000)}\n`.repeat(70);
  assert.equal(logged("say").at(-1), "further output is left out");
  assert.throws(() => host.run("panic", "the sky is falling"), (failure) => failure.code === "failed" && failure.cause.includes("the sky is falling"));
  const [line] = host.takeLog();
  assert.match(line, /uncaught Error: the sky is falling .*plugin\.js:\d+/);
  assert.throws(() => host.run("http", "GET", "nowhere", "word", "0"), { code: "failed" });
  assert.match(host.takeLog()[0], /uncaught Failure: .*does not begin with .*plugin\.js:\d+/);
});

test("an instance lives as long as the config says", () => {
  const counts = (instances) => {
    const host = new Host({ instances });
    const counted = ["ada", "ada", "grace"].map((caller) => {
      host.caller = caller;
      return host.run("count").text();
    });
    return counted.join(" ");
  };
  assert.equal(counts("per-request"), "1 1 1");
  assert.equal(counts("per-client"), "1 2 1");
  assert.equal(counts("shared"), "1 2 3");
});

test("it tells of its commands", () => {
  const names = new Host().describe().map(({ name }) => name);
  assert.ok(names.includes("echo") && names.includes("state-renew"), names.join(" "));
});
