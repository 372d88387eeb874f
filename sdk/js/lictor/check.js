// What a value has to be, told where the author's code hands it over. In a component it is asked before the host is, which would
// trap; the host of a test asks the same, of values that come from another context.

/// The value in few words.
export function shown(value) {
  if (typeof value === "string") return JSON.stringify(value.length > 64 ? `${value.slice(0, 64)}…` : value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return "a function";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" && value !== null ? "an object" : String(value);
}

export const refusal = (Kind, name, expected, value) => new Kind(`${name} has to be ${expected}, not ${shown(value)}`);

export function text(value, name) {
  if (typeof value !== "string") throw refusal(TypeError, name, "a text", value);
  if (!value.isWellFormed()) throw new RangeError(`${name} has half of a character (a surrogate without its pair): ${JSON.stringify(value.slice(0, 64))}`);
  return value;
}

/// Numbers too, in decimal.
export const texted = (value, name) => text(typeof value === "number" || typeof value === "bigint" ? String(value) : value, name);

/// A whole number of at least `least` that is less than `end`.
export function whole(value, name, least = 0, end = 2 ** 64) {
  const isWhole = Number.isInteger(value);
  if (isWhole && value >= least && value < end) return value;
  const range = least < 0 ? "a whole number of 64 bits" : end > 2 ** 53 ? `a whole number from ${least}` : `a whole number from ${least} to ${end - 1}`;
  throw refusal(typeof value === "number" ? RangeError : TypeError, name, range, value);
}

/// The same, or nothing.
export const wholeOrNull = (value, name) => (value === undefined || value === null ? null : whole(value, name));

export function delta(value, name) {
  return whole(value, name, -(2 ** 63), 2 ** 63);
}

const LEVELS = ["trace", "debug", "info", "warn", "error", "critical"];

export function level(value, name) {
  if (!LEVELS.includes(value)) throw refusal(TypeError, name, `one of ${LEVELS.join(", ")}`, value);
  return value;
}

export function array(value, name) {
  if (!Array.isArray(value)) throw refusal(TypeError, name, "an array", value);
  return value;
}

export function run(value, name) {
  if (typeof value !== "function") throw refusal(TypeError, name, "a function", value);
  return value;
}

/// An object with none but these properties.
export function options(value, ...names) {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  if (!isObject) throw refusal(TypeError, "the last argument", `an object such as { ${names[0]}: … }`, value);
  for (const name of Object.keys(value)) {
    if (!names.includes(name)) throw new TypeError(`there is no option ${name}; there is ${names.join(", ")}`);
  }
  return value;
}
