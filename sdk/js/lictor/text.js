// UTF-8, by what QuickJS does natively: a loop in JavaScript takes half a second for a MB.

const PIECE = 8192;

/// The bytes of a text in UTF-8. A surrogate without its pair becomes U+FFFD.
export function toUtf8(text) {
  if (!/[^\0-\x7f]/.test(text)) return Uint8Array.fromBase64(btoa(text));
  const whole = text.toWellFormed();
  const pieces = [];
  for (let from = 0, to; from < whole.length; from = to) {
    to = from + PIECE;
    // A pair of surrogates stays together.
    if ((whole.charCodeAt(to - 1) & 0xfc00) === 0xd800) to++;
    pieces.push(unescape(encodeURIComponent(whole.slice(from, to))));
  }
  return Uint8Array.fromBase64(btoa(pieces.join("")));
}

/// The text that these bytes are in UTF-8. What is none becomes U+FFFD, or with `fatal` throws a TypeError.
export function fromUtf8(bytes, fatal = false) {
  const binary = atob(bytes.toBase64());
  if (!/[^\0-\x7f]/.test(binary)) return binary;
  const pieces = [];
  for (let from = 0, to; from < binary.length; from = to) {
    to = Math.min(from + PIECE, binary.length);
    // A character stays together: the piece ends in front of its first byte.
    for (let back = 0; back < 3 && to < binary.length && (binary.charCodeAt(to) & 0xc0) === 0x80; back++) to--;
    pieces.push(decoded(binary.slice(from, to), fatal));
  }
  return pieces.join("");
}

function decoded(binary, fatal) {
  try {
    return decodeURIComponent(escape(binary));
  } catch {
    if (fatal) throw new TypeError("this is no text in UTF-8");
    return repaired(binary);
  }
}

/// Byte by byte; each longest start of a character that is cut off becomes one U+FFFD.
function repaired(binary) {
  let text = "";
  for (let at = 0; at < binary.length; ) {
    const first = binary.charCodeAt(at++);
    if (first < 0x80) {
      text += String.fromCharCode(first);
      continue;
    }
    let more = first >= 0xc2 && first <= 0xdf ? 1 : first >= 0xe0 && first <= 0xef ? 2 : first >= 0xf0 && first <= 0xf4 ? 3 : 0;
    let code = more > 0 ? first & (0x3f >> more) : 0xfffd;
    let least = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
    let most = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
    for (; more > 0; more--) {
      const next = binary.charCodeAt(at);
      if (!(next >= least && next <= most)) {
        code = 0xfffd;
        break;
      }
      code = (code << 6) | (next & 0x3f);
      [least, most] = [0x80, 0xbf];
      at++;
    }
    text += String.fromCodePoint(code);
  }
  return text;
}
