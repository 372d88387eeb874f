// What a command prints, cut into lines as the server's log has them.

/// Bytes of a line that are logged, and bytes that one call may log.
const MAX_LINE_BYTES = 2048;
const MAX_CALL_BYTES = 64 << 10;

export class Lines {
  #log;
  #begun = [];
  #room = MAX_CALL_BYTES;
  #isFull = false;

  /// `log` gets each line.
  constructor(log) {
    this.#log = log;
  }

  /// A text as lines of its own.
  print(text) {
    this.end();
    this.write(Buffer.from(text));
    this.end();
  }

  /// Bytes as they come.
  write(bytes) {
    let from = 0;
    for (let at; (at = bytes.indexOf(10, from)) >= 0; from = at + 1) {
      this.#begun.push(bytes.subarray(from, at));
      this.end();
    }
    if (from < bytes.length) this.#begun.push(bytes.subarray(from));
  }

  /// Ends the line that has begun. Of empty ones nothing is said.
  end() {
    let line = Buffer.concat(this.#begun);
    this.#begun = [];
    if (line.at(-1) === 13) line = line.subarray(0, -1);
    if (line.length === 0) return;
    const at = cut(line, Math.min(MAX_LINE_BYTES, this.#room));
    const isFull = at < line.length && this.#room < MAX_LINE_BYTES;
    this.#room = isFull ? 0 : this.#room - at;
    if (at > 0) return this.#log(line.toString("utf8", 0, at));
    if (!this.#isFull) this.#log("further output is left out");
    this.#isFull = true;
  }

  /// A part was taken: as much may be logged once more.
  renew() {
    this.#room = MAX_CALL_BYTES;
    this.#isFull = false;
  }
}

/// Where to cut so that at most `most` bytes are left and no character is cut in two.
function cut(bytes, most) {
  if (bytes.length <= most) return bytes.length;
  for (let at = most; at > most - 4 && at >= 0; at--) if ((bytes[at] & 0xc0) !== 0x80) return at;
  return most;
}
