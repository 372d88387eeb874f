/** Tests of a plugin's commands on the author's machine, by `node --test`, without a server. */

import type { Bytes, Code } from "../lictor.js";

/** How a command failed, or how the test wants something to fail. `cause` is the line that an unexpected error left in the log. */
export class Failure extends Error {
  constructor(code: Code | "timeout" | "cancelled" | "plugin-limit" | "plugin-trapped" | "plugin-failed" | "forbidden", message: string);
  /** Its code is `failed`. */
  constructor(message: string);
  readonly code: string;
}

/** A reply. */
export interface Reply {
  readonly body: Uint8Array;
  text(): string;
  json(): any;
}

/** A reply in parts that was read to its end. */
export interface Streamed extends Reply {
  readonly parts: Uint8Array[];
  /** How it failed; what came before is there all the same. */
  readonly failure: Failure | null;
}

/** A reply in parts: each is asked for as the test reads it. To leave the loop is to cancel; a failure is thrown. */
export interface Stream extends AsyncIterable<Uint8Array> {
  all(): Promise<Streamed>;
}

export interface Entry extends Reply {
  readonly value: Uint8Array;
  readonly version: number;
  readonly expiresInMs: number | null;
}

/** A request that the plugin sent. */
export interface WebRequest extends Reply {
  readonly method: string;
  readonly url: string;
  /** The path with its query. */
  readonly path: string;
  readonly headers: [string, string][];
  readonly timeoutMs: number | null;
  header(name: string): string | null;
}

/** What is answered: a body with the status 200, or more than that. `after` milliseconds pass first, by the host's clock. */
export type WebAnswer =
  | Bytes
  | undefined
  | { status?: number; headers?: Record<string, string> | Iterable<[string, string]>; body?: Bytes; json?: unknown; after?: number };

/** What a test gives a host. All but `stores`, `now` and `seed` can be set later as well: `host.body = "x"`. */
export interface Given {
  /** The client's name; `tester` without. */
  caller?: string;
  /** SHA-256 of its certificate. */
  thumbprint?: string;
  /** The request's id. */
  id?: string;
  headers?: Record<string, string> | Iterable<[string, string]>;
  body?: Bytes;
  /** Milliseconds that each command has; 5000 without. Of a stream, from one part to the next. */
  timeLeft?: number;
  /** The plugin's config. */
  config?: Record<string, string>;
  /** Files that are granted: what is in them, null where there is none, a Failure where they can't be read; or functions that give it. */
  files?: Record<string, Bytes | null | Failure | (() => Bytes | null | Failure)>;
  /** Commands that the plugin may run, by their names: their replies, or functions of the arguments (the name first) and the body. */
  commands?: Record<string, Bytes | Failure | ((args: string[], body: Uint8Array) => Bytes | Failure | void)>;
  /** URLs that are granted, as in `http = [...]`: what is answered, or functions of the request. A Failure, given or thrown, is the plugin's. */
  web?: Record<string, WebAnswer | Failure | ((request: WebRequest) => WebAnswer | Failure)>;
  /** Topics that are granted, as in `events = [...]`; all without. */
  topics?: string[];
  /** How many others have subscribed to what the plugin publishes. */
  subscribers?: number;
  /** How long an instance lives, as in the config. */
  instances?: "per-request" | "per-client" | "shared";
}

/**
 * What the functions of the host give a command. It keeps what commands change: what one command stores, the next one reads. What
 * a test does not give it is not there. No test waits: `clock.sleep` sets the clocks on.
 */
export class Host {
  constructor(given?: Given & {
    /** Stores that are granted, with their entries; an empty one called `default` without. */
    stores?: Record<string, Record<string, Bytes>>;
    /** The time of day, of a Date or in milliseconds since 1970; 2026-01-01 without. */
    now?: Date | number;
    /** Random numbers are those that follow from it; 0 without. */
    seed?: number | bigint;
  });
  /** Runs a command: its name and its arguments. Throws a Failure where it fails. */
  run(...args: (string | number)[]): Reply;
  /** Runs a command of a plugin that streams. */
  stream(...args: (string | number)[]): Stream;
  /** What the plugin tells of its commands. */
  describe(): { name: string; summary: string; usage: string; idempotent: boolean }[];
  /** A store, to look into and to change. */
  store(name?: string): {
    get(key: string): Entry | null;
    set(key: string, value: Bytes, options?: { ttlMs?: number | null }): number;
    delete(key: string): boolean;
    /** The first 1000 keys that begin so. */
    keys(prefix?: string): string[];
  };
  /** Has each operation on stores fail, until it is null. */
  storesFail(failure: Failure | null): void;
  /** Has an event come, for commands that subscribe to its topic; `lost` others were lost before it. */
  event(topic: string, data: Bytes, options?: { lost?: number }): void;
  /** Sets the clocks on, as if a test had waited: entries expire. */
  advance(ms: number): void;
  /** Takes the lines that were logged: as printed, or with their level, `warn: the file is empty`. */
  takeLog(): string[];
  /** Takes the events that were published. */
  takePublished(): (Reply & { readonly topic: string; readonly data: Uint8Array })[];
}
export interface Host extends Required<Given> {
  /** Milliseconds that have passed. */
  readonly elapsed: number;
  /** The time of day, in milliseconds since 1970. */
  readonly now: number;
}
