// Bundles a plugin: plugin.ts or plugin.js of a project with all that it imports, in one file. Used by the build and by tests.

import { existsSync } from "node:fs";
import { createRequire, isBuiltin } from "node:module";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import vm from "node:vm";

const here = dirname(fileURLToPath(import.meta.url));

/// Interfaces of the host, by their names in WIT, stay imports; what is not used of them goes.
const host = {
  name: "host",
  setup: (build) => build.onResolve({ filter: /^[a-z-]+:[a-z-]+\// }, ({ path }) => ({ path, external: true, sideEffects: false })),
};

/// What only commands that stream import.
const REPLY = "lictor:plugin/reply@0.1.0";

/// A fault of the author's, who has been told all of it.
export class Unbuildable extends Error {}

/// Bundles the plugin of the folder `project`. `tools` has esbuild and core-js-pure; `format` is one of esbuild's.
///
/// Gives the code, whose last line tells lines of the author's files; the name of the author's own; what it imports of the host; and
/// whether its commands stream. Where they do, its export is `streamingCommands`, and else what the author exports. `warnings` are in
/// words.
export async function bundle({ project, tools, format = "esm" }) {
  const [entry, other] = ["plugin.ts", "plugin.js"].map((name) => join(project, name)).filter(existsSync);
  if (!entry) throw new Unbuildable(`${project} has neither plugin.js nor plugin.ts`);
  if (other) throw new Unbuildable(`${project} has both plugin.js and plugin.ts: the plugin is one of them, so remove the other`);
  const esbuild = createRequire(join(tools, "package.json"))("esbuild");
  const words = async (messages, kind) => (await esbuild.formatMessages(messages, { kind, color: process.stderr.isTTY })).join("");
  const build = async (entryPoint) => {
    try {
      return await esbuild.build({ ...settings(project, tools), format, ...entryPoint, plugins: [parts(tools), host] });
    } catch (error) {
      if (!error.errors) throw error;
      throw new Unbuildable(await words(error.errors.map((fault) => toInstall(fault, project)), "error"));
    }
  };
  const imports = ({ metafile }) =>
    Object.values(metafile.outputs).flatMap((output) => output.imports.filter(({ external }) => external).map(({ path }) => path));
  let built = await build({ entryPoints: [entry] });
  const isStreaming = imports(built).includes(REPLY);
  if (isStreaming) {
    const contents = `import ${JSON.stringify(entry)};\nexport { streamingCommands } from ${JSON.stringify(join(here, "streaming.js"))};\n`;
    built = await build({ stdin: { contents, resolveDir: project, sourcefile: "(entry)" } });
  }
  const text = (ending) => built.outputFiles.find(({ path }) => path.endsWith(ending)).text;
  const code = `${text(".js")}${lineTable(text(".js.map"))}`;
  const warnings = await words(built.warnings, "warning");
  return { code, map: text(".js.map"), name: basename(entry), used: new Set(imports(built)), isStreaming, warnings };
}

/// A package that is not there is to be installed; esbuild advises to leave it out.
function toInstall(fault, project) {
  const [, name] = /^Could not resolve "((?:@[^/"]+\/)?[^./"][^/"]*)(?:\/[^"]*)?"/.exec(fault.text) ?? [];
  const isThere = !name || existsSync(join(project, "node_modules", name));
  if (isThere) return { ...fault, notes: fault.notes.filter(({ text }) => !text.includes(" as external ")) };
  if (isBuiltin(name)) {
    const more = `\`npm install ${name}\` may find a package that does the same`;
    return { ...fault, text: `${name} is a part of Node.js, which plugins don't have; ${more}`, notes: [] };
  }
  return { ...fault, text: `the package ${name} is not installed: run \`npm install ${name}\``, notes: [] };
}

/// The plugin as a script that makes a function of `require` and `module`, for a context of Node.js.
export async function scriptOf({ project, tools }) {
  const { code, map, name, isStreaming } = await bundle({ project, tools, format: "cjs" });
  const shown = `//# sourceMappingURL=data:application/json;base64,${Buffer.from(map).toString("base64")}`;
  const filename = join(project, "build", "plugin.js");
  return { script: new vm.Script(`(function (require, module) {${code}\n})\n${shown}`, { filename }), name, isStreaming, lines: linesOf(map) };
}

function settings(project, tools) {
  return {
    outfile: join(project, "build", "plugin.js"),
    write: false,
    bundle: true,
    target: "es2023",
    // An `async` function gives a promise of the engine's own, and these are known to nobody: see promises.js.
    supported: { "async-await": false, "async-generator": false, "for-await": false },
    platform: "browser",
    charset: "utf8",
    sourcemap: "external",
    sourcesContent: false,
    metafile: true,
    inject: [join(here, "globals.js")],
    define: { "process.env": "{}", "process.env.NODE_ENV": '"production"', global: "globalThis" },
    logLevel: "silent",
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

/// A table to put behind the code, for the stacks of errors.
function lineTable(map) {
  return `globalThis[Symbol.for("lictor.lines")] = ${JSON.stringify(JSON.stringify(linesOf(map)))};\n`;
}

/// Of each line of the code its file and its line there.
function linesOf(map) {
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
  return { sources: sources.map((name) => name.replace(/^(\.\.\/)+/, "")), lines };
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
