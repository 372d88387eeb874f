// How a command fails in a test.

/// What a client would be told: a code and words.
export class Failure extends Error {
  constructor(code, message, options) {
    super(message, options);
    this.name = "Failure";
    this.code = code;
  }
}
