// Bundles a plugin for QuickJS and writes the WIT package of what it imports:
//
//   node build.mjs PROJECT WIT TOOLS OUT
//
// OUT gets plugin.js, which is plugin.ts or plugin.js of PROJECT with all that it imports, and wit/, which is WIT with the
// imports that no code uses taken out of its world, and with `streaming-plugin` in the place of `plugin` where a command
// streams. TOOLS has esbuild and core-js-pure. Prints the options for componentize-qjs.

import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HOST, Unbuildable, bundle } from "./bundle.mjs";

const [project, wit, tools, out] = process.argv.slice(2);

/// Interfaces that a plugin may import without a line in its world: they are always there.
const ALWAYS_THERE = /^(lictor:plugin\/(request|output|reply)|wasi:(clocks|io|random)\/[a-z-]+)@/;

/// Interfaces of the host stay imports; what is not used of them goes.
const host = {
  name: "host",
  setup: (build) => build.onResolve({ filter: HOST }, ({ path }) => ({ path, external: true, sideEffects: false })),
};

try {
  const { code, used, isStreaming } = await bundle({ project, tools, host });
  writeFileSync(join(out, "plugin.js"), code);
  writeWorld(used, isStreaming);
  // The runtime without promises starts faster, and needs no host that drives them.
  console.log(isStreaming ? "" : "--sync");
} catch (error) {
  // esbuild has told of its own errors.
  if (error instanceof Unbuildable) console.error(error.message);
  else if (!error.errors) throw error;
  process.exit(1);
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
