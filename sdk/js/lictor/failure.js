// How a command fails.

import { refusal } from "./check.js";

/// What the client is told: a code and words. Words alone are those of a failure without a code of its own.
export class Failure extends Error {
  constructor(code, message, options) {
    if (message !== undefined && typeof code !== "string") throw refusal(TypeError, "code", 'a text such as "not-found"', code);
    super(message === undefined ? code : message, options);
    this.name = "Failure";
    this.code = message === undefined ? "failed" : code;
  }
}
