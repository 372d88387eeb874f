/**
 * The kit of a plugin of Lictor in JavaScript and TypeScript. What a function can't take is a TypeError, or a RangeError where only its
 * size is wrong; the host is not asked then.
 */

/** Bytes, or a text in UTF-8, or a number in decimal. */
export type Bytes = Uint8Array | ArrayBuffer | string | number | bigint;

/** What a failure is; another text is read as `failed`. */
export type Code = "bad-arguments" | "not-found" | "conflict" | "denied" | "unavailable" | "failed" | (string & {});

/**
 * Says no to the client: `throw new Failure("not-found", "there is no such user")`. The functions of this kit throw it too, with
 * what the host said. Where a command does not catch that, its place goes to the log, and the client is told code and message only
 * if these do not blame it for what the plugin asked of the host: `bad-arguments`, `not-found` and `denied` become `failed`. To
 * tell the client as it is, throw a new `Failure` with both.
 */
export class Failure extends Error {
  constructor(code: Code, message: string);
  /** Its code is `failed`. */
  constructor(message: string);
  readonly code: Code;
}

/** A command's function: it gets the arguments as texts, and returns the reply. It is not `async`; a reply in parts is for `stream`. */
export type Run = (...args: string[]) => Bytes | null | undefined | void;

/**
 * Adds a command. `usage` begins with its name and says how many arguments it takes: `[X]` may be left out, and what ends
 * with `...` may be repeated, as in `copy FROM [TO]` and `sum NUMBER...`. What may be left out comes last.
 */
export function command(usage: string, summary: string, run: Run): void;
export function command(
  usage: string,
  summary: string,
  options: {
    /** Whether running it twice has the same effect as running it once. */
    idempotent?: boolean;
  },
  run: Run,
): void;

/**
 * A command whose reply comes in parts: a generator that yields them, `async` or not. What it returns is sent last. What it throws
 * ends the reply, whatever was yielded before, and so does a promise that is rejected and that nothing handles.
 */
export type Parts = AsyncGenerator<Bytes | null | undefined, Bytes | null | undefined | void> | Generator<Bytes | null | undefined, Bytes | null | undefined | void>;

/**
 * Adds a command that streams, and makes all commands of the plugin such: clients have to give their requests a `Sequence`, and each
 * request has an instance of its own. A part is asked for when the host has taken the one before it, so a client that does not read
 * holds the command back. Where it cancels or goes away, nothing behind that point runs, no `finally` either.
 *
 *     stream("count TO", "counts", async function* (to) {
 *       for (let number = 1; number <= Number(to); number++) {
 *         yield `${number}\n`;
 *         clock.sleep(1000);
 *       }
 *     });
 */
export function stream(usage: string, summary: string, run: (...args: string[]) => Parts | Promise<ReturnType<Run>>): void;
export function stream(
  usage: string,
  summary: string,
  options: { idempotent?: boolean },
  run: (...args: string[]) => Parts | Promise<ReturnType<Run>>,
): void;

/** What the plugin exports: its own file has `export { commands } from "./lictor.js"`. */
export const commands: {
  describe(): { name: string; summary: string; usage: string; idempotent: boolean }[];
  handle(args: string[]): Uint8Array;
};

/** Who sent the request, as the client's certificate proved it. */
export function caller(): { name: string; thumbprint: string };

/** The id of the request, which stands in the log beside all that it does. */
export function id(): string;

/** The first header of this name, compared without case. */
export function header(name: string): string | null;

/** All headers, as pairs of name and value. */
export function headers(): [string, string][];

/** The body of the request. */
export function body(): Uint8Array;

/** The body of the request as text; fails with `bad-arguments` where it is no UTF-8. */
export function text(): string;

/** Milliseconds until the host stops this call. */
export function timeLeft(): number;

/** Logs values. `console.log` and its like do the same; none of them throws. */
export function print(...values: unknown[]): void;

/** Logs an event of this severity. Needs `logging = true` in the plugin's grants. */
export function logEvent(
  level: "trace" | "debug" | "info" | "warn" | "error" | "critical",
  message: string,
  context?: string,
): void;

/** What the operator tells the plugin in `[plugins.NAME.config]`. */
export const config: {
  /** The value of this key. */
  get(key: string): string | null;
  /** All keys with their values. */
  all(): Record<string, string>;
};

/** What is kept under a key. */
export interface Entry {
  readonly value: Uint8Array;
  /** Which write it is of. It changes at every write and never comes twice in a store. */
  readonly version: number;
  /** Milliseconds until it expires. */
  readonly expiresInMs: number | null;
  /** The value as text in UTF-8. */
  text(): string;
  /** What the value is in JSON. */
  json(): any;
}

/** A key-value store, by the name that the grants have for it (`keyvalue = ["NAME"]`). Keys are 1 to 256 bytes, values at most 1 MiB. */
export class Store {
  constructor(name?: string);
  /** The entry of `key`, or null. */
  get(key: string): Entry | null;
  /** Writes an entry, whatever was there, and gives its version. Without `ttlMs` it does not expire. */
  set(key: string, value: Bytes, options?: { ttlMs?: number | null }): number;
  /** Takes an entry away; whether it was there. */
  delete(key: string): boolean;
  /** Adds to an entry that is a decimal number, and gives the sum; a missing one counts as 0. */
  increment(key: string, delta?: number): number;
  /** Writes an entry if what is there is of the version `expected`, or, with null, if there is none; else fails with `conflict`. */
  compareAndSet(key: string, expected: number | null, value: Bytes, options?: { ttlMs?: number | null }): number;
  /** Takes an entry away if it still is of the version `expected`; else fails with `conflict`. */
  compareAndDelete(key: string, expected: number): void;
  /** Has an entry expire so many milliseconds from now, or never; whether it was there. */
  touch(key: string, ttlMs?: number | null): boolean;
  /** Some keys that begin with `prefix`, those after `after` only; `more` tells whether there are others. */
  listKeys(prefix?: string, options?: { after?: string | null; limit?: number }): { keys: string[]; more: boolean };
  /** All keys that begin with `prefix`, in order. */
  keys(prefix?: string): Generator<string>;
}

/** The store `default`. */
export const state: Store;

/** Single files of the server's machine. Needs `files = ["/path"]` in the plugin's grants. */
export const files: {
  /** All bytes of a granted file as it is now, at most 1 MiB. */
  read(path: string): Uint8Array;
  /** The same as text in UTF-8. */
  text(path: string): string;
};

/**
 * Runs another command for the client whose request is being handled, with that client's permissions. `args` are its name and
 * its arguments. Needs `commands = ["PATTERN"]` in the plugin's grants.
 */
export function call(args: readonly (string | number)[], options?: { body?: Bytes }): Uint8Array;

/** What was published to a topic. */
export interface Event {
  readonly topic: string;
  readonly data: Uint8Array;
  /** How many events were lost before this one, because the command was slow. */
  readonly lost: number;
  /** The data as text in UTF-8; bytes that are none become U+FFFD, and nothing is thrown. `decode(event.data)` refuses them. */
  text(): string;
  /** What the data is in JSON. */
  json(): any;
}

/** Topics. Needs `events = ["TOPIC"]` in the plugin's grants. Each command can publish; to subscribe is for commands that stream. */
export const events: {
  /** Publishes to a topic, at most 64 KiB; gives how many commands it goes to. */
  publish(topic: string, data: Bytes): number;
  /** Subscribes to a topic, or with a `*` at its end to all that begin so, until the command ends. At most 32 times. */
  subscribe(topics: string): void;
  /**
   * Waits for the next event; nothing else of the command runs meanwhile, and none of the plugin's time passes. With `timeoutMs`
   * null where none came.
   */
  next(): Event;
  next(options: { timeoutMs: number | null }): Event | null;
};

export interface RequestOptions {
  headers?: Record<string, string | number> | Iterable<readonly [string, string | number]>;
  body?: Bytes;
  /** A body in JSON, with the header that says so. */
  json?: unknown;
  /** How long it may take in all; without it, as long as the call. */
  timeoutMs?: number | null;
}

/** What a server answered. A response of any status is a response. */
export interface Response {
  readonly status: number;
  /** Whether the status is one of 200 to 299. */
  readonly ok: boolean;
  /** Names in lower case, and values. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Uint8Array;
  /** The first header of this name. */
  header(name: string): string | null;
  /** The body as text in UTF-8; bytes that are none become U+FFFD, and nothing is thrown. `decode(answer.body)` refuses them. */
  text(): string;
  /** What the body is in JSON. Where it is none, this is a `Failure` of code `failed`, which fails the command unless it is caught. */
  json(): any;
}

/**
 * HTTP requests, which wait for the whole response. Needs `http = ["https://HOST"]` in the plugin's grants. No redirection is
 * followed. Where there is no response, `Failure` is thrown: `denied`, `unavailable`, `failed` or `bad-arguments`.
 */
export const http: {
  get(url: string | URL, options?: RequestOptions): Response;
  post(url: string | URL, body?: Bytes, options?: RequestOptions): Response;
  send(request: RequestOptions & { method?: string; url: string | URL }): Response;
};

/** Time. */
export const clock: {
  /** Milliseconds since 1970, UTC. */
  now(): number;
  /** Milliseconds of a clock that never goes back; only differences mean something. */
  monotonic(): number;
  /** Waits. It counts as the command's time, and nothing else of the command runs meanwhile. */
  sleep(ms: number): void;
};

export const random: {
  /** So many random bytes that are fit for secrets, at most a MiB. */
  bytes(count: number): Uint8Array;
};

/** The UTF-8 bytes of a text. */
export function encode(text: string): Uint8Array;

/** The text that these bytes are in UTF-8; fails with `bad-arguments` where they are none. */
export function decode(bytes: Uint8Array): string;
