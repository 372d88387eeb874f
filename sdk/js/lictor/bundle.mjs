// Bundles a plugin: plugin.ts or plugin.js of a project with all that it imports, in one file. Used by the build and by tests.

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));

/// Interfaces of the host, by their names in WIT.
export const HOST = /^(lictor|wasi|[a-z-]+):[a-z-]+\//;

/// What only commands that stream import.
const REPLY = "lictor:plugin/reply@0.1.0";

/// A fault of the author's, who has been told all of it.
export class Unbuildable extends Error {}

/// Bundles the plugin of the folder `project`. `host` is a plugin of esbuild for imports of the host; `options` are further ones of
/// esbuild. `tools` has esbuild and core-js-pure.
///
/// Gives the code, whose last line tells lines of the author's files; what it imports of the host; and whether its commands
/// stream. Where they do, its export is `streamingCommands`, and else what the author exports.
export async function bundle({ project, tools, host, options }) {
  const entry = ["plugin.ts", "plugin.js"].map((name) => join(project, name)).find(existsSync);
  if (!entry) throw new Unbuildable(`${project} has neither plugin.js nor plugin.ts`);
  const esbuild = createRequire(join(tools, "package.json"))("esbuild");
  const build = (entryPoint) =>
    esbuild.build({ ...settings(project, tools), ...entryPoint, ...options, plugins: [host, parts(tools)] });
  const imports = ({ metafile }) =>
    Object.values(metafile.outputs).flatMap((output) => output.imports.filter(({ external }) => external).map(({ path }) => path));
  let built = await build({ entryPoints: [entry] });
  const isStreaming = imports(built).includes(REPLY);
  if (isStreaming) {
    const contents = `import ${JSON.stringify(entry)};\nexport { streamingCommands } from ${JSON.stringify(join(here, "streaming.js"))};\n`;
    built = await build({ stdin: { contents, resolveDir: project, sourcefile: "(entry)" } });
  }
  const text = (ending) => built.outputFiles.find(({ path }) => path.endsWith(ending)).text;
  return { code: `${text(".js")}${lineTable(text(".js.map"))}`, map: text(".js.map"), used: new Set(imports(built)), isStreaming };
}

function settings(project, tools) {
  return {
    outfile: join(project, "build", "plugin.js"),
    write: false,
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
    logLevel: "warning",
    absWorkingDir: project,
  };
}

/// The kit's own packages come from TOOLS; what is a part of Node.js can't be had.
function parts(tools) {
  return {
    name: "parts",
    setup(build) {
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
}

/// A table to put behind the code, for the stacks of errors: each line's file and its line there.
function lineTable(map) {
  const { sources, mappings } = JSON.parse(map);
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
  return `globalThis[Symbol.for("lictor.lines")] = ${table};\n`;
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
