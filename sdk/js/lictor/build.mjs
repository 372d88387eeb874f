// Bundles a plugin for QuickJS and writes the WIT package of what it imports:
//
//   node build.mjs PROJECT WIT TOOLS OUT
//
// OUT gets plugin.js, which is plugin.ts or plugin.js of PROJECT with all that it imports, and wit/, which is WIT with the
// imports that no code uses taken out of its world, and with `streaming-plugin` in the place of `plugin` where a command
// streams. TOOLS has esbuild and core-js-pure. Prints the options for componentize-qjs.
//
// The top level of the plugin is run once in Node.js, for componentize-qjs has no words for what goes wrong there. OUT gets these as
// fault.txt, where it may be that QuickJS knows what this Node.js does not.

import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { advice } from "./absent.js";
import { Unbuildable, bundle, scriptOf } from "./bundle.mjs";
import { AsksTheHost, Instance } from "./testing/instance.js";
import { INTERFACES } from "./testing/interfaces.js";

const [project, wit, tools, out] = process.argv.slice(2);

/// Interfaces that a plugin may import without a line in its world: they are always there.
const ALWAYS_THERE = /^(lictor:plugin\/(request|output|reply)|wasi:(clocks|io|random)\/[a-z-]+)@/;

// As in a component, where no promise that fails at the top level is heard of.
process.on("unhandledRejection", () => {});
process.env.TZ = "UTC";
process.setSourceMapsEnabled(false);
Error.stackTraceLimit = 50;

try {
  const { code, used, isStreaming, warnings } = await bundle({ project, tools });
  process.stderr.write(warnings);
  writeFileSync(join(out, "plugin.js"), code);
  writeWorld(used, isStreaming);
  writeFileSync(join(out, "fault.txt"), faultOf(await scriptOf({ project, tools }), used));
  // The runtime without promises starts faster, and needs no host that drives them.
  console.log(isStreaming ? "" : "--sync");
} catch (error) {
  if (!(error instanceof Unbuildable)) throw error;
  console.error(error.message.trimEnd());
  process.exit(1);
}

/// Runs the plugin's top level, unless it wants more of a host than tests have. Gives what goes wrong there, if anything does.
function faultOf({ name, lines, ...plugin }, used) {
  if ([...used].some((interface_) => !INTERFACES[interface_])) return "";
  let table;
  try {
    const made = new Instance({ now: Date.now(), elapsed: performance.now() }, plugin).exports;
    table = made.streamingCommands ?? made.commands;
  } catch (error) {
    const words = `${placed(error, lines)}\n`;
    if (error instanceof AsksTheHost) throw new Unbuildable(words);
    return words;
  }
  if (!table) throw new Unbuildable(`${name} does not export its commands; add this line:\n  export { commands } from "./lictor.js";`);
  if (describedBy(table, lines).length > 0) return "";
  throw new Unbuildable(`${name} has no command; add one:\n  command("hello [WHO]", "greets somebody", (who = "world") => "hello " + who);`);
}

function describedBy(table, lines) {
  try {
    return table.describe();
  } catch (error) {
    throw new Unbuildable(placed(error, lines));
  }
}

/// An error of the top level with its places in the author's files, the innermost first.
function placed(error, { sources, lines }) {
  const isError = typeof error?.stack === "string";
  const places = (isError ? error.stack : "").split("\n").flatMap((frame) => {
    const [, at] = /plugin\.js:(\d+):\d+\)?$/.exec(frame) ?? [];
    const [source, line] = at === undefined ? [] : lines.slice(2 * (at - 1), 2 * at);
    return source >= 0 && !/^lictor(\.js$|\/)/.test(sources[source]) ? [`${sources[source]}:${line}`] : [];
  });
  const [first, ...others] = new Set(places);
  const words = isError ? `${error.name}: ${error.message}${advice(error)}` : `the top level throws ${inspect(error)}, which is no Error and has no place`;
  return `${first ? `${first}: ` : ""}${words}${others.map((place) => `\n  from ${place}`).join("")}`;
}

/// A world has a line for each thing that a plugin may import; here it keeps those that are used.
function writeWorld(used, isStreaming) {
  const copy = join(out, "wit");
  rmSync(copy, { recursive: true, force: true });
  cpSync(wit, copy, { recursive: true });
  const path = join(copy, "world.wit");
  if (!existsSync(path)) return;
  const known = new Set();
  const kept = readFileSync(path, "utf8").replace(/^[ \t]*import ([^\s;]+);[^\n]*\n/gm, (line, name) => {
    known.add(name);
    return used.has(name) ? line : "";
  });
  const more = [...used].filter((name) => !known.has(name));
  const missing = more.filter((name) => !ALWAYS_THERE.test(name));
  if (missing.length > 0) {
    const words = missing.map((name) => `\n  import ${name};`).join("");
    throw new Unbuildable(`wit/world.wit has no line for what is imported; add to its world:${words}`);
  }
  // The world that it includes has Lictor's.
  const lines = more.filter((name) => !name.startsWith("lictor:")).map((name) => `  import ${name};\n`);
  writeFileSync(path, ofKind(kept, isStreaming).replace(/\}\s*$/, `${lines.join("")}}\n`));
}

/// The world of a plugin whose commands stream, where they do.
function ofKind(world, isStreaming) {
  if (!isStreaming) return world;
  const plain = /include lictor:plugin\/(streaming-)?plugin@/;
  if (!plain.test(world)) throw new Unbuildable("wit/world.wit does not include lictor:plugin/plugin, for which a command that streams needs another");
  return world.replace(plain, "include lictor:plugin/streaming-plugin@");
}
