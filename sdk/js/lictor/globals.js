// What programs expect of any JavaScript and QuickJS lacks. `console` and what is small are made globals; the build puts
// the rest (`URL`, `URLSearchParams`, `crypto`) into a plugin that names it.

import URL from "core-js-pure/web/url";
import URLSearchParams from "core-js-pure/web/url-search-params";
import random from "wasi:random/random@0.2.0";
import { whole } from "./check.js";

export { URL, URLSearchParams };

/// Random numbers that are fit for secrets, of the Web Crypto API.
export const crypto = {
  getRandomValues(array) {
    if (!ArrayBuffer.isView(array)) throw new TypeError("what is filled has to be an array of bytes or integers, such as a Uint8Array");
    whole(array.byteLength, "its length in bytes", 0, (1 << 20) + 1);
    new Uint8Array(array.buffer, array.byteOffset, array.byteLength).set(random.getRandomBytes(array.byteLength));
    return array;
  },
  randomUUID() {
    const bytes = random.getRandomBytes(16);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    return bytes.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  },
};
