//! End-to-end tests: the real binary, real TLS, real components.
//!
//! | module      | what it shows |
//! |-------------|---------------|
//! | `identity`  | who is admitted, and what the others are told |
//! | `authority` | who is admitted by the word of an authority |
//! | `keys`      | keys, chains and names of certificates as other tools make them |
//! | `renew`     | `lictor cert renew` |
//! | `renewed`   | what it takes over from the old certificate, and where it finds that |
//! | `odd`       | certificates that a library would refuse, and their keys |
//! | `dates`     | the dates of certificates and lists, and a server's certificate that is replaced |
//! | `protocol`  | bytes in, bytes out; most of it as transcripts in `wire/` |
//! | `pace`      | clients that are slow, end early, or do not read |
//! | `sandbox`   | what a plugin can't do, and what its failures look like |
//! | `broken`    | what calls that break off are told by, and what mends them |
//! | `places`    | the files and lines that traps are told by, and the debug files that tell them |
//! | `loading`   | which components are refused, and with what words |
//! | `limits`    | what plugins and clients can't use up together: computing time, memory, turns, the disk |
//! | `memory`    | the SDK's allocator for Rust |
//! | `grants`    | what a plugin may be granted: given, withheld, overstepped |
//! | `http`      | the same of HTTP requests |
//! | `http_places` | how many of these are under way at once |
//! | `http_whole` | requests in one piece |
//! | `directories` | the same of folders |
//! | `state`     | key-value state as plugins have it, and over `kill -9` |
//! | `state_verbs` | what operators look up there and delete |
//! | `idempotency` | requests that are sent again: answered again and run once, also over `kill -9` |
//! | `reach`     | files and other commands that a plugin may reach |
//! | `absent`    | a config that names what is not there, or what is switched off |
//! | `cli`       | the commands of `lictor` |
//! | `advice`    | what its messages tell a newcomer to do |
//! | `caller`    | `lictor call` as a client: whom it trusts, by which files and variables |
//! | `bench`     | `lictor bench` |
//! | `plugin`    | `lictor plugin …`, for authors |
//! | `packaged`  | the crate as it is packed, installed from that |
//! | `script`    | `lictor plugin run --script`: several calls, other plugins, what is expected |
//! | `dev`       | `lictor plugin dev`: a project that is built, served and tested at each change |
//! | `stopping`  | the ways in which a call is stopped, and what is free then |
//! | `streams`   | replies that come in parts, in Rust, JavaScript and Python |
//! | `streaming` | what is beside that in Rust, and in clients |
//! | `events`    | topics, by which plugins tell each other what happens |
//! | `examples`  | the plugins that come with Lictor |
//! | `languages` | plugins in every language, and new projects |
//! | `javascript` | the host over which authors test plugins in JavaScript |
//! | `javascript_streams` | the same in JavaScript |
//! | `python`    | the kit for Python: the host of authors' tests, and replies in parts |
//! | `packages`  | what authors bring along: packages, TypeScript |
//! | `prompt`    | `lictor call` on a terminal |
//! | `log`       | what an operator finds in the log |
//! | `printed`   | what plugins print: for whom it is logged, and what of it |
//! | `crossing`  | what plugins hand to the host: how much, and what they are told beyond |
//! | `proposals` | which proposals of WebAssembly a component may use |
//! | `metrics`   | that each bound is counted when it is met |
//! | `interop`   | other people's TLS clients |
//! | `network`   | both families of addresses, and what comes to the port that is no client |
//! | `resources` | what strangers and greedy clients can't use up |
//! | `reload`    | reload and revocation, under load as well |
//! | `watch`     | files that come to be others while they are watched, with inotify and without it |
//! | `seat`      | what calls in a row hand to each other, and what not |
//! | `worker`    | instances that stay entered |
//! | `signals`   | signals that come before the server serves, and as the first process of a container |
//! | `systemd`   | a service manager: what it is told, sockets, the documented unit |
//! | `metrics_alone` | bounds that are met one at a time, counted |
//! | `paused`    | clients that end while their connection is not read |
//! | `transcript` | what runs the cases in `wire/` |
//! | `documents` | that the documents' transcripts are what happens |

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(unreachable_pub, reason = "in a binary nothing is reachable")]

#[path = "../support/mod.rs"]
mod support;

mod absent;
mod advice;
mod alike;
mod authority;
mod bench;
mod broken;
mod brought;
mod caller;
mod cli;
mod crossing;
mod dates;
mod dev;
mod dev_faults;
mod directories;
mod documents;
mod events;
mod examples;
mod grants;
mod http;
mod http_places;
mod http_whole;
mod idempotency;
mod identity;
mod initialized;
mod interop;
mod javascript;
mod javascript_streams;
mod keys;
mod languages;
mod limits;
mod loading;
mod log;
mod memory;
mod metrics;
mod metrics_alone;
mod network;
mod odd;
mod pace;
mod packaged;
mod packages;
mod paused;
mod places;
mod plugin;
mod printed;
mod prompt;
mod proposals;
mod protocol;
mod python;
mod reach;
mod reload;
mod renew;
mod renewed;
mod resources;
mod sandbox;
mod script;
mod script_grants;
mod seat;
mod signals;
mod state;
mod state_verbs;
mod stopping;
mod streaming;
mod streams;
mod systemd;
mod transcript;
mod watch;
mod worker;
