// How a command fails.

/// What the client is told: a code and words. Words alone are those of a failure without a code of its own.
export class Failure extends Error {
  constructor(code, message, options) {
    super(message === undefined ? code : message, options);
    this.name = "Failure";
    this.code = message === undefined ? "failed" : code;
  }
}
