// The web of a test: which requests are sent, by the rules of the server's, and what answers them.

import { isIPv4, isIPv6 } from "node:net";
import { Failure } from "../failure.js";
import { answerOf } from "./given.js";

const MAX_BODY_BYTES = 8 << 20;
const MAX_METHOD_BYTES = 32;
const MAX_PATH_BYTES = 16 << 10;
const MAX_AUTHORITY_BYTES = 1 << 10;
/// Of a request's header, with what the host needs to keep each field; of a response's.
const MAX_FIELDS_BYTES = 16 << 10;
const FIELD_BYTES = 224;
const MAX_RECEIVED_BYTES = 64 << 10;
const MAX_RECEIVED_FIELDS = 256;
/// Headers that the host sends.
const OF_THE_HOST = new Set([
  "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "transfer-encoding", "upgrade",
  "host", "http2-settings",
]);
const AUTHORITY = /^(\[[0-9A-Za-z:.%]*\]|[0-9A-Za-z._~!$&'()*+,;=-]+)(:[0-9A-Za-z._~!$&'()*+,;=-]*)?$/;
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/// The most time that a request leaves to its call.
const TO_ANSWER_MS = 250;

const refuse = (message) => new Failure("bad-arguments", message);
const denied = () => new Failure("denied", "this URL is not granted to the plugin");

/// Sends a request into `web`, whose keys are the URLs that are granted and whose values answer. `wait` lets time pass, of which the
/// call has `timeLeft`.
export function send(web, request, timeLeft, wait) {
  const sent = toBeSent(request);
  if (request.method === "CONNECT") throw denied();
  const answer = grantedFor(web, sent);
  const response = answered(answerOf(answer, asked(request, sent)));
  const limit = Math.min(request.timeoutMs ?? Infinity, timeLeft - Math.min(timeLeft / 10, TO_ANSWER_MS));
  wait(Math.min(response.after, limit));
  if (response.after >= limit) throw new Failure("unavailable", "the server did not answer in time");
  return received(request.method, response);
}

/// The request's URL in its parts, or what is wrong with the request.
function toBeSent({ method, url, headers, body }) {
  const parts = partsOf(url);
  checkFields(headers, body.length);
  if (!TOKEN.test(method) || method.length > MAX_METHOD_BYTES) throw refuse("the method can't be one");
  return parts;
}

function partsOf(url) {
  const wrong = (why) => refuse(`the URL ${why}`);
  if (!/^[\x21-\x7e]*$/.test(url)) throw wrong("has a space or another character that has to be written as %XX");
  const [, scheme, rest] = /^(https?):\/\/(.*)$/i.exec(url) ?? [];
  if (rest === undefined) throw wrong("does not begin with https:// or http://");
  const whole = rest.split("#")[0];
  const at = whole.search(/[/?]/);
  const [authority, path] = at < 0 ? [whole, ""] : [whole.slice(0, at), whole.slice(at)];
  if (authority.includes("@")) throw wrong("has a user's name in it; a header says who asks");
  if (authority === "" || authority.length > MAX_AUTHORITY_BYTES) throw wrong("names no host");
  if (path.length > MAX_PATH_BYTES) throw wrong("is too long");
  const [plain, ...query] = path.split("?");
  const isOdd = !AUTHORITY.test(authority) || /[<>`]/.test(plain) || /[<>]/.test(query.join());
  if (isOdd) throw wrong("can't be one");
  return { scheme: scheme.toLowerCase(), authority, path: path.startsWith("/") ? path : `/${path}` };
}

/// What fields come to, with what divides them.
export const bytesIn = (fields) => fields.reduce((sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value) + 4, 0);

function checkFields(headers, length) {
  let bytes = 0;
  for (const [name, value] of headers) {
    const wrong = (why) => refuse(`the header ${shortened(name)}${why}`);
    if (!TOKEN.test(name)) throw wrong(" can't be sent: it is no name");
    const known = name.toLowerCase();
    if (OF_THE_HOST.has(known)) throw wrong(" is the host's to send");
    if (known === "content-length" && value.trim() !== String(length)) {
      throw wrong(" is not the body's length; it is sent without being set");
    }
    if (/[\0-\x08\x0a-\x1f\x7f]/.test(value)) throw wrong(" can't be sent: its value has control characters");
    bytes += name.length + Buffer.byteLength(value) + FIELD_BYTES;
  }
  if (bytes > MAX_FIELDS_BYTES) throw refuse("the headers are larger than 16 KiB");
}

/// As the host shows names that somebody else chose.
export const shortened = (name) => {
  const characters = Array.from(name);
  return characters.length > 64 ? `${characters.slice(0, 64).join("")}…` : name;
};

/// Scheme, host and port in one way of writing; null where the authority can be read in two ways.
function originOf(scheme, authority) {
  const [, host, port = scheme === "https" ? "443" : "80"] = /^(.*?)(?::(\d+))?$/.exec(authority) ?? [];
  if (!host || !(port > 0 && port < 65536) || host.includes(":") !== host.startsWith("[")) return null;
  const name = hostOf(host);
  return name && `${scheme}://${name}:${Number(port)}`;
}

function hostOf(text) {
  if (text.startsWith("[")) {
    const address = text.slice(1, -1);
    return isIPv6(address) && !address.includes("%") ? new URL(`http://${text}`).hostname : null;
  }
  if (isIPv4(text)) return text;
  const name = text.replace(/\.$/, "").toLowerCase();
  const isName = name.length <= 253 && name.split(".").every((label) => /^[a-z0-9_-]{1,63}$/.test(label));
  // What looks like an address, with a dot behind it, is looked up as a name.
  return isName ? `${name}.` : null;
}

/// What answers for the first granted URL that holds this one.
function grantedFor(web, { scheme, authority, path }) {
  const origin = originOf(scheme, authority);
  const [plain] = path.split("?");
  for (const [url, answer] of Object.entries(web)) {
    const granted = partsOf(url);
    if (!origin || originOf(granted.scheme, granted.authority) !== origin) continue;
    if (granted.path === "/" || (holds(granted.path, plain) && !isAmbiguous(plain))) return answer;
  }
  throw denied();
}

/// `/v1` holds itself and what is below it, but not `/v10`.
function holds(granted, path) {
  if (!path.startsWith(granted)) return false;
  const rest = path.slice(granted.length);
  return rest === "" || granted.endsWith("/") || rest.startsWith("/");
}

/// Some server might take the path for another than its letters say.
function isAmbiguous(path) {
  const isStep = (segment) => [".", ".."].includes(segment.split(";")[0]);
  const isOdd = (rest) => !/^[0-9a-f]{2}/i.test(rest) || /^(0|1|7f|2e|2f|5c|25|3b)/i.test(rest);
  return path.includes("\\") || path.split("/").some(isStep) || path.split("%").slice(1).some(isOdd);
}

/// What the test's function gets.
function asked({ method, url, headers, body, timeoutMs }, { path }) {
  return {
    method,
    url,
    path,
    headers,
    body,
    timeoutMs,
    header: (name) => headers.find(([known]) => known.toLowerCase() === name.toLowerCase())?.[1] ?? null,
    text: () => Buffer.from(body).toString(),
    json: () => JSON.parse(Buffer.from(body).toString()),
  };
}

/// What the test's function gave: a body, or more than that.
function answered(given) {
  const isWhole = typeof given === "object" && given !== null && !ArrayBuffer.isView(given);
  const { status = 200, headers = {}, body = "", json, after = 0, ...others } = isWhole ? given : { body: given ?? "" };
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw new TypeError(`an answer has no ${unknown}; it has status, headers, body, json, after`);
  if (!(Number.isInteger(status) && status >= 200 && status <= 999)) throw new TypeError(`no answer has the status ${status}`);
  const pairs = headers[Symbol.iterator] ? [...headers] : Object.entries(headers);
  const bytes = json !== undefined ? Buffer.from(JSON.stringify(json)) : ArrayBuffer.isView(body) ? body : Buffer.from(String(body));
  return { status, headers: pairs.map(([name, value]) => [name.toLowerCase(), String(value).replace(/^[ \t]+|[ \t]+$/g, "")]), body: new Uint8Array(bytes), after };
}

/// The response as the plugin gets it, if it is not too large: the fields of one name beside each other.
function received(method, { status, headers: came, body: written }) {
  const names = new Set(came.map(([name]) => name));
  const headers = [...names].flatMap((name) => came.filter(([known]) => known === name));
  const bytes = bytesIn(headers);
  if (headers.length > MAX_RECEIVED_FIELDS || bytes > MAX_RECEIVED_BYTES) {
    throw new Failure("failed", "the header of the server's answer is too large");
  }
  // What a server may write behind such a head is no part of its answer.
  const body = method === "HEAD" || [204, 304].includes(status) ? new Uint8Array(0) : written;
  if (body.length > MAX_BODY_BYTES) throw new Failure("failed", "the server's answer has more than 8 MiB");
  return { status, headers, body };
}
