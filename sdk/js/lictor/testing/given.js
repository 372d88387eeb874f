// What a test gives a host.

import { Failure } from "../failure.js";

/// Bytes, or a text, or a number in decimal.
export function bytesOf(value) {
  if (value instanceof ArrayBuffer) return new Uint8Array(value.slice(0));
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer.slice(value.byteOffset, value.byteOffset + value.byteLength));
  if (["string", "number", "bigint"].includes(typeof value)) return new Uint8Array(Buffer.from(String(value)));
  throw new TypeError(`bytes are a text, a number or a Uint8Array, not ${typeof value}`);
}

/// What answers: itself, or what it gives of these where it is a function. A Failure is thrown.
export function answerOf(answer, ...of) {
  const given = typeof answer === "function" ? answer(...of) : answer;
  if (given instanceof Failure) throw given;
  return given;
}

/// Bytes as a text, and as what they are in JSON.
export class Content {
  constructor(body) {
    this.body = body;
  }
  text() {
    return Buffer.from(this.body).toString();
  }
  json() {
    return JSON.parse(this.text());
  }
}
