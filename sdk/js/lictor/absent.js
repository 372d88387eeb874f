// What programs name that browsers or Node.js have, and plugins do not.

const HTTP = "http of ./lictor.js";
const SLEEP = "clock.sleep of ./lictor.js: a command runs to its end, and nothing runs later";
const STATE = "state of ./lictor.js";
const BYTES = "Uint8Array, with encode and decode of ./lictor.js";
const IMPORT = "import";

const INSTEAD = {
  fetch: HTTP, XMLHttpRequest: HTTP, WebSocket: HTTP, EventSource: HTTP,
  setTimeout: SLEEP, setInterval: SLEEP, setImmediate: SLEEP,
  localStorage: STATE, sessionStorage: STATE, indexedDB: STATE,
  Buffer: BYTES, Blob: BYTES, process: "config of ./lictor.js for what the operator sets", require: IMPORT, module: "export", exports: "export",
  __dirname: "files of ./lictor.js", __filename: "files of ./lictor.js", alert: "print of ./lictor.js", Intl: "",
  window: "globalThis", document: "", navigator: "", Worker: "",
};

/// What to say of an error that a name is not defined, where it is one of these; else nothing.
export function advice(error) {
  const [, name] = /^'?(\w+)'? is not defined$/.exec(error?.name === "ReferenceError" ? String(error.message) : "") ?? [];
  if (name === undefined || !Object.hasOwn(INSTEAD, name)) return "";
  const instead = INSTEAD[name];
  return `; plugins have no ${name}${instead === "" ? "" : `: use ${instead}`}`;
}
