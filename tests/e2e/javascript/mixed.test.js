// Prints what a command gives over the host of a test, or how its call ended. `CALL` has its words.

import { Failure, Host } from "./lictor/testing.js";

const closed = new Failure("unavailable", "the server refuses the connection");
const headers = [["b", "1"], ["A", " 2 "], ["B", "3"]];
const web = {
  "http://127.0.0.1:1/v1": closed,
  "http://127.0.0.1:1/v2/": closed,
  "http://odd": ({ method }) => ({ status: { GET: 204, HEAD: 200, PUT: 304 }[method], headers, body: "body" }),
};
const [command, ...args] = JSON.parse(process.env.CALL);
const files = command === "others" ? { [args[0]]: "12345", [args[1]]: null, [args[2]]: new Uint8Array((1 << 20) + 1) } : {};
const commands = { none: new Failure("unknown-command", "Unknown command none") };
const host = new Host({ web, files, commands, config: { greeting: "hi", number: 5 }, headers: { Lang: "de" } });
try {
  console.log(host.run(command, ...args).text());
} catch (failure) {
  if (!(failure instanceof Failure)) throw failure;
  console.log(failure.code);
}
