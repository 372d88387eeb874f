//! End-to-end tests: the real binary, real TLS, real components.
//!
//! | module      | subject |
//! |-------------|---------------|
//! | `identity`  | admission of clients, and the message to those refused |
//! | `authority` | admission through an authority's word |
//! | `keys`      | keys, chains and names of certificates made by other tools |
//! | `renew`     | `lictor cert renew` |
//! | `renewed`   | properties taken over from the old certificate, and the ways to find that certificate |
//! | `odd`       | certificates that a library would refuse, and their keys |
//! | `dates`     | the dates of certificates and lists, and a replaced server certificate |
//! | `protocol`  | bytes in, bytes out; most of it as transcripts in `wire/` |
//! | `pace`      | clients that are slow, end early, or do not read |
//! | `sandbox`   | the limits of a plugin's reach, and the look of its failures |
//! | `broken`    | messages about calls that break off, and their remedies |
//! | `places`    | the files and lines reported for traps, and the debug files behind them |
//! | `loading`   | components that are refused, and the words for each |
//! | `limits`    | resources that plugins and clients can't exhaust: computing time, memory, slots, disk |
//! | `memory`    | the SDK's allocator for Rust |
//! | `grants`    | grants of a plugin: given, withheld, exceeded |
//! | `http`      | the same for HTTP requests |
//! | `http_places` | slots for HTTP requests in progress |
//! | `http_whole` | HTTP requests in one piece |
//! | `directories` | the same for folders |
//! | `state`     | key-value state as plugins see it, and across `kill -9` |
//! | `state_verbs` | lookups and deletions of state by operators |
//! | `idempotency` | repeated requests: answered again and run once, also across `kill -9` |
//! | `reach`     | files and other commands within a plugin's reach |
//! | `absent`    | a config that names missing files, or sections that are disabled |
//! | `cli`       | the commands of `lictor` |
//! | `advice`    | messages of `lictor` that tell a newcomer what to do |
//! | `caller`    | `lictor call` as a client: the servers it trusts, its files and environment variables |
//! | `bench`     | `lictor bench` |
//! | `plugin`    | `lictor plugin …`, for authors |
//! | `packaged`  | the packed crate, and an installation from it |
//! | `script`    | `lictor plugin run --script`: several calls, other plugins, expectations |
//! | `dev`       | `lictor plugin dev`: a project that is built, served and tested at each change |
//! | `stopping`  | the ways in which a call is stopped, and the resources freed |
//! | `streams`   | replies in parts, in Rust, JavaScript and Python |
//! | `streaming` | further cases in Rust, and in clients |
//! | `events`    | topics, by which plugins notify each other |
//! | `examples`  | the plugins that come with Lictor |
//! | `languages` | plugins in every language, and new projects |
//! | `javascript` | the host on which authors test plugins in JavaScript |
//! | `javascript_streams` | replies in parts in JavaScript |
//! | `python`    | the kit for Python: the host of authors' tests, and replies in parts |
//! | `packages`  | dependencies that authors bring along: packages, TypeScript |
//! | `prompt`    | `lictor call` on a terminal |
//! | `log`       | information for operators in the log |
//! | `printed`   | output of plugins: the request it is logged for, and the part that is logged |
//! | `crossing`  | data that plugins pass to the host: its bounds, and the errors beyond |
//! | `proposals` | proposals of WebAssembly that a component may use |
//! | `metrics`   | each bound is counted when it is met |
//! | `interop`   | third-party TLS clients |
//! | `network`   | both families of addresses, and traffic on the port that is not a client's |
//! | `resources` | resources that strangers and greedy clients can't exhaust |
//! | `reload`    | reload and revocation, under load as well |
//! | `watch`     | files that change while they are watched, with inotify and without it |
//! | `seat`      | resources that consecutive calls share, and those they must not |
//! | `worker`    | instances that stay entered |
//! | `signals`   | signals before the server serves, and as the first process of a container |
//! | `systemd`   | a service manager: notifications, sockets, the documented unit |
//! | `metrics_alone` | bounds that are met one at a time, counted |
//! | `paused`    | clients that end while their connection is not read |
//! | `transcript` | the runner of the cases in `wire/` |
//! | `documents` | the documents' transcripts match the program |

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(unreachable_pub, reason = "in a binary nothing is reachable")]

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
