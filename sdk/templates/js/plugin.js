// {{name}}: a plugin of Lictor. Its commands are below; lictor.js is the kit.

import { Failure, caller, command, config, print } from "./lictor.js";

// The plugin's export: the table that `command` fills.
export { commands } from "./lictor.js";

command("{{name}} [WHO]", "greets somebody", { idempotent: true }, (who = "world") => {
  if (who.length > 40) throw new Failure("bad-arguments", "WHO has at most 40 characters");

  // The value of `greeting` in [plugins.{{name}}.config] of server.toml, or null.
  const greeting = config.get("greeting") ?? "hello";
  print(`greeting ${who}`); // goes to the server's log
  return `${greeting} ${who}, from ${caller().name}`;
});
