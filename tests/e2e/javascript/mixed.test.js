// Prints what a command gives over the host of a test. `CALL` has its words.

import { Failure, Host } from "./lictor/testing.js";

const web = { "http://127.0.0.1:1": new Failure("unavailable", "the server refuses the connection") };
process.stdout.write(new Host({ web }).run(...process.env.CALL.split(" ")).text());
