// Base64 and hex of `Uint8Array`, as the language has them and Node.js does not before its version 25. Each function gives what
// came of a text: the bytes, how much of it was read, and what is wrong with it, if anything.

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const ALPHABETS = { base64: `${DIGITS}+/`, base64url: `${DIGITS}-_` };

/// `options` of a function, which may be missing; what is wrong with them is told as `fault`.
export function options(given, ...names) {
  const kinds = { alphabet: ["base64", "base64url"], lastChunkHandling: ["loose", "strict", "stop-before-partial"] };
  if (given === undefined) given = {};
  if (typeof given !== "object" && typeof given !== "function" || given === null) return { fault: "the options have to be an object" };
  const chosen = {};
  for (const name of names) {
    chosen[name] = given[name] === undefined ? kinds[name][0] : given[name];
    if (!kinds[name].includes(chosen[name])) return { fault: `${name} has to be one of ${kinds[name].join(", ")}` };
  }
  return chosen;
}

/// Of a text in base64, at most so many bytes.
export function fromBase64(text, { alphabet, lastChunkHandling }, most = Infinity) {
  const isPlain = alphabet === "base64" && lastChunkHandling === "loose" && most === Infinity;
  if (isPlain && /^(?:[A-Za-z0-9+/]{4})*$/.test(text)) return { bytes: Buffer.from(text, "base64"), read: text.length };
  const digits = ALPHABETS[alphabet];
  const bytes = [];
  let [chunk, read, at] = [[], 0, 0];
  const skip = () => {
    while (at < text.length && "\t\n\f\r ".includes(text[at])) at++;
  };
  const done = (read) => ({ bytes, read });
  const wrong = () => ({ bytes, read, fault: "this is no base64" });
  if (most === 0) return done(0);
  for (;;) {
    skip();
    if (at === text.length) {
      if (chunk.length === 0) return done(at);
      if (lastChunkHandling === "stop-before-partial") return done(read);
      if (lastChunkHandling === "strict" || chunk.length === 1) return wrong();
      bytes.push(...bytesOf(chunk));
      return done(at);
    }
    const character = text[at++];
    if (character === "=") {
      if (chunk.length < 2) return wrong();
      skip();
      if (chunk.length === 2) {
        if (at === text.length) return lastChunkHandling === "stop-before-partial" ? done(read) : wrong();
        if (text[at] === "=") at++;
        else return wrong();
        skip();
      }
      const hasMore = chunk.at(-1) & (chunk.length === 2 ? 0x0f : 0x03);
      if (at < text.length || (lastChunkHandling === "strict" && hasMore !== 0)) return wrong();
      bytes.push(...bytesOf(chunk));
      return done(at);
    }
    const digit = digits.indexOf(character);
    if (digit < 0) return wrong();
    // A chunk that would not fit is not begun.
    if (most - bytes.length < 3 && chunk.length === most - bytes.length + 1) return done(read);
    chunk.push(digit);
    if (chunk.length < 4) continue;
    bytes.push(...bytesOf(chunk));
    [chunk, read] = [[], at];
    if (bytes.length === most) return done(read);
  }
}

/// Of a chunk's two to four digits.
function bytesOf(chunk) {
  const bits = chunk.reduce((bits, digit, at) => bits | (digit << (18 - 6 * at)), 0);
  return [bits >> 16, (bits >> 8) & 0xff, bits & 0xff].slice(0, chunk.length - 1);
}

export function toBase64(bytes, { alphabet }, omitsPadding) {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
  const padded = alphabet === "base64" ? text : text.replaceAll("+", "-").replaceAll("/", "_");
  return omitsPadding ? padded.replaceAll("=", "") : padded;
}

/// Of a text in hex, at most so many bytes.
export function fromHex(text, most = Infinity) {
  const bytes = [];
  const fault = "this is no hex";
  if (text.length % 2 !== 0) return { bytes, read: 0, fault };
  for (let at = 0; at < text.length && bytes.length < most; at += 2) {
    if (!/^[0-9a-f]{2}$/i.test(text.slice(at, at + 2))) return { bytes, read: at, fault };
    bytes.push(parseInt(text.slice(at, at + 2), 16));
  }
  return { bytes, read: 2 * bytes.length };
}
