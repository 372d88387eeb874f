// Bundles a plugin for QuickJS and writes the WIT package of what it imports:
//
//   node build.mjs PROJECT WIT TOOLS OUT
//
// OUT gets plugin.js, which is plugin.ts or plugin.js of PROJECT with all that it imports, and wit/, which is WIT with the
// imports that no code uses taken out of its world. TOOLS has esbuild and core-js-pure.

import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const [project, wit, tools, out] = process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));
const esbuild = createRequire(join(tools, "package.json"))("esbuild");

const used = new Set();
const entry = ["plugin.ts", "plugin.js"].map((name) => join(project, name)).find(existsSync);
if (!entry) {
  console.error(`${project} has neither plugin.js nor plugin.ts`);
  process.exit(1);
}

/// Interfaces of the host stay imports; what is not used of them goes. The kit's own packages come from TOOLS.
const host = {
  name: "host",
  setup(build) {
    build.onResolve({ filter: /^(lictor|wasi|[a-z-]+):[a-z-]+\// }, ({ path }) => ({ path, external: true, sideEffects: false }));
    build.onResolve({ filter: /^core-js-pure\// }, async ({ path, pluginData }) => {
      if (pluginData === "found") return undefined;
      const found = await build.resolve(path, { resolveDir: tools, kind: "import-statement", pluginData: "found" });
      return found.errors.length > 0 ? { errors: found.errors } : { path: found.path, sideEffects: false };
    });
    build.onResolve({ filter: /^node:|^(fs|net|http|https|child_process|worker_threads|tls|dns|os)$/ }, ({ path, importer }) => ({
      errors: [{ text: `${path} is a part of Node.js, which plugins don't have (imported by ${importer})` }],
    }));
  },
};

try {
  const built = await esbuild.build({
    entryPoints: [entry],
    outfile: join(out, "plugin.js"),
    bundle: true,
    format: "esm",
    target: "es2023",
    platform: "browser",
    charset: "utf8",
    sourcemap: "external",
    sourcesContent: false,
    metafile: true,
    inject: [join(here, "globals.js")],
    define: { "process.env": "{}", "process.env.NODE_ENV": '"production"', global: "globalThis" },
    plugins: [host],
    logLevel: "warning",
    absWorkingDir: project,
  });
  for (const { imports } of Object.values(built.metafile.outputs)) {
    for (const { path, external } of imports) if (external) used.add(path);
  }
} catch {
  process.exit(1); // esbuild has told why
}
addMap();
narrowWorld();

/// Puts a table behind the code, for the stacks of errors: each line's file and its line there.
function addMap() {
  const path = join(out, "plugin.js");
  const { sources, mappings } = JSON.parse(readFileSync(`${path}.map`, "utf8"));
  let [source, at] = [0, 0];
  const lines = mappings.split(";").flatMap((segments) => {
    let first = [-1, 0];
    for (const segment of segments.split(",")) {
      const [, ofSource, ofLine] = numbers(segment);
      if (ofSource === undefined) continue;
      source += ofSource;
      at += ofLine;
      if (first[0] < 0) first = [source, at + 1];
    }
    return first;
  });
  const shown = sources.map((name) => name.replace(/^(\.\.\/)+/, ""));
  const table = JSON.stringify(JSON.stringify({ sources: shown, lines }));
  writeFileSync(path, `${readFileSync(path, "utf8")}globalThis[Symbol.for("lictor.lines")] = ${table};\n`);
}

/// The numbers of one segment of a source map, in digits of six bits, the lowest first.
function numbers(segment) {
  const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const found = [];
  let [value, shift] = [0, 0];
  for (const character of segment) {
    const digit = digits.indexOf(character);
    value |= (digit & 31) << shift;
    shift += 5;
    if (digit < 32) {
      found.push(value & 1 ? -(value >> 1) : value >> 1);
      [value, shift] = [0, 0];
    }
  }
  return found;
}

/// A world has a line for each thing that a plugin may import; here it keeps those that are used.
function narrowWorld() {
  const copy = join(out, "wit");
  rmSync(copy, { recursive: true, force: true });
  cpSync(wit, copy, { recursive: true });
  const path = join(copy, "world.wit");
  if (!existsSync(path)) return;
  const text = readFileSync(path, "utf8");
  const known = new Set();
  const kept = text.replace(/^[ \t]*import ([^\s;]+);[^\n]*\n/gm, (line, name) => {
    known.add(name);
    return used.has(name) ? line : "";
  });
  const missing = [...used].filter((name) => !known.has(name) && !/^lictor:plugin\/(request|output)@/.test(name));
  if (missing.length > 0) {
    console.error(`wit/world.wit has no line for what is imported; add to its world:`);
    for (const name of missing) console.error(`  import ${name};`);
    process.exit(1);
  }
  writeFileSync(path, kept);
}
