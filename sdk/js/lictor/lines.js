// From lines of the bundle to those of the author's files. The build puts the table behind the code.

let table;

/// A stack whose places are those of the author's files.
export function withSources(stack) {
  const text = globalThis[Symbol.for("lictor.lines")];
  if (text === undefined) return stack;
  const shown = stack.replace(/\((?:[^()\s]*\/)?plugin\.js:(\d+):\d+\)/g, (place, line) => {
    table ??= JSON.parse(text);
    const [source, at] = table.lines.slice(2 * (line - 1), 2 * line);
    return source >= 0 ? `(${table.sources[source]}:${at})` : place;
  });
  // What the build put in for `async` and promises says nothing.
  return shown.split("\n").filter((frame) => !/[/(]plugin\.js:\d+:\d+\)|lictor\/promises\.js/.test(frame)).join("\n");
}
