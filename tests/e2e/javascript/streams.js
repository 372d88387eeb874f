// A plugin whose commands stream, good ones and bad ones, one command for each.

import { Failure, body, caller, clock, command, events, http, print, state, stream, timeLeft } from "./lictor.js";

export { commands } from "./lictor.js";

command("hello WHO", "greets in one part", (who) => `hello ${who}`);
stream("count TO [EVERY-MS]", "counts", { idempotent: true }, async function* (to, every = "0") {
  for (let number = 1; number <= Number(to); number++) {
    yield `${number}\n`;
    if (every !== "0") clock.sleep(Number(every));
  }
});
stream("plain TO", "counts by a generator that is not async", function* (to) {
  for (let number = 1; number <= Number(to); number++) yield number;
  return "last";
});
stream("one", "gives one part, by a promise", async () => {
  await new Promise((resolve) => queueMicrotask(resolve));
  return new Uint8Array([0, 255]);
});
stream("nothing", "gives nothing", async function* () {});
stream("empty", "gives empty parts", async function* () {
  yield "";
  yield null;
  yield "x";
  yield new Uint8Array(0);
});
stream("refuse", "refuses", async function* () {
  throw new Failure("conflict", "refused");
});
stream("break-off TO", "fails after parts", async function* (to) {
  for (let number = 1; number <= Number(to); number++) yield `${number}\n`;
  throw new Failure("not-found", "no more");
});
stream("panic TO", "throws what nobody expects, after parts", async function* (to) {
  for (let number = 1; number <= Number(to); number++) yield `${number}\n`;
  null.x;
});
stream("odd", "yields what is no part", async function* () {
  yield "1\n";
  yield {};
});
stream("whole BYTES", "gives one large part", async function* (bytes) {
  yield new Uint8Array(Number(bytes)).fill(0x77);
});
stream("flood", "writes for as long as somebody takes it", async function* () {
  const part = new Uint8Array(64 << 10).fill(0x66);
  for (let mebibytes = 1; ; mebibytes++) {
    for (let at = 0; at < 16; at++) yield part;
    print(`flooded ${mebibytes}`);
  }
});
stream("stall TO", "waits for what never comes, after parts", async function* (to) {
  for (let number = 1; number <= Number(to); number++) yield `${number}\n`;
  await new Promise(() => {});
});
stream("sleep TO", "sleeps for an hour, after parts", async function* (to) {
  for (let number = 1; number <= Number(to); number++) yield `${number}\n`;
  clock.sleep(3_600_000);
});
stream("hold", "yields for ever, and would say when it ends", async function* () {
  try {
    for (;;) yield ".";
  } finally {
    print("finally ran");
  }
});
stream("spin TO", "computes without end, after parts", async function* (to) {
  for (let number = 1; number <= Number(to); number++) yield `${number}\n`;
  for (;;);
});
stream("deep TO", "recurses without end, after parts", async function* (to) {
  for (let number = 1; number <= Number(to); number++) yield `${number}\n`;
  const deeper = () => 1 + deeper();
  yield deeper();
});
stream("caller", "tells who asks, between parts", async function* () {
  yield caller().name;
  await null;
  yield ` ${body()} ${timeLeft() > 0}`;
});
stream("print TIMES", "logs a kilobyte with each part", async function* (times) {
  for (let at = 0; at < Number(times); at++) {
    print("p".repeat(1000));
    yield ".";
  }
});
stream("fetch TIMES URL", "fetches a page so many times", async function* (times, url) {
  for (let at = 0; at < Number(times); at++) yield `${http.get(url).text()}\n`;
});
stream("tally TIMES", "counts up in a store", async function* (times) {
  for (let at = 0; at < Number(times); at++) yield `${state.increment("n")}\n`;
});
stream("subscribe TOPICS", "tells what is published", async function* (topics) {
  events.subscribe(topics);
  yield "subscribed\n";
  for (;;) {
    const { topic, data, lost } = events.next();
    yield `${topic} ${lost} ${new TextDecoder().decode(data)}\n`;
  }
});
stream("next MS", "waits for an event for so long", async function* (ms) {
  events.subscribe("next");
  yield String(events.next({ timeoutMs: Number(ms) }));
});
command("publish TOPIC TEXT", "publishes", (topic, text) => events.publish(topic, text));

async function failing(how) {
  if (how === "later") await null;
  if (how === "followed") return failing("later");
  if (how === "refused") throw new Failure("not-found", "none");
  null.x;
}
stream("leave HOW", "leaves a promise to itself that is rejected, between parts", async function* (how) {
  yield "1\n";
  failing(how);
  yield "2\n";
  yield "3\n";
});
stream("leave-last HOW", "does so behind its parts", function* (how) {
  yield "1\n";
  failing(how);
});
stream("stuck", "waits for one that a rejected one would have resolved", async () => {
  await new Promise((done) => void failing("later").then(done));
});
stream("mend", "handles rejected promises, be it late", async function* () {
  const late = failing("now");
  for (let turn = 0; turn < 50; turn++) await null;
  yield await late.catch(() => "caught ");
  failing("later").catch(() => {});
  yield await Promise.allSettled([failing("now"), failing("followed")]).then((ended) => ended.map(({ status }) => status).join());
});
