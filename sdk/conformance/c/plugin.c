// The conformance plugin in C: all commands of docs/conformance.md.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lictor.h"

typedef const lictor_text *texts;

static lictor_bytes bytes_of(lictor_text text) { return (lictor_bytes){text.ptr, text.len}; }

static bool number_of(lictor_text text, uint64_t *number, lictor_reply *reply) {
  return lictor_number(text, number) || lictor_fail_with(reply, "bad-arguments", "this is no number: ", text);
}

static bool echo(texts args, size_t count, lictor_reply *reply) {
  for (size_t at = 0; at < count; at++) {
    if (at > 0) lictor_write_string(reply, " ");
    lictor_write(reply, args[at]);
  }
  return true;
}

static bool body(texts args, size_t count, lictor_reply *reply) {
  lictor_write_bytes(reply, lictor_body());
  return true;
}

static bool fail(texts args, size_t count, lictor_reply *reply) {
  reply->code = args[0];
  reply->message = args[1];
  return false;
}

static bool panic(texts args, size_t count, lictor_reply *reply) {
  lictor_panic(lictor_string_of(args[0]));
}

static bool log_event(texts args, size_t count, lictor_reply *reply) {
  static const char *const levels[] = {"trace", "debug", "info", "warn", "error", "critical"};
  for (uint8_t level = 0; level < sizeof levels / sizeof *levels; level++) {
    if (!lictor_equal(args[0], levels[level])) continue;
    lictor_text context = args[1], message = args[2];
    wasi_logging_logging_log(level, &context, &message);
    return true;
  }
  return lictor_fail_with(reply, "bad-arguments", "this is no level: ", args[0]);
}

static bool print(texts args, size_t count, lictor_reply *reply) {
  lictor_text text = args[0];
  lictor_plugin_output_print(&text);
  return true;
}

static bool say(texts args, size_t count, lictor_reply *reply) {
  lictor_bytes text = lictor_body();
  fwrite(text.ptr, 1, text.len, stdout);
  return true;
}

static bool print_odd(texts args, size_t count, lictor_reply *reply) {
  lictor_print("");
  lictor_print("no UTF-8: \xff \xc0\x80 \xed\xa0\x80 \xf0\x9f");
  printf("no UTF-8: %s\n%*d\n", "\x80", 5000, 1);
  lictor_print("all shown");
  return true;
}

static bool config(texts args, size_t count, lictor_reply *reply) {
  lictor_text key = args[0];
  bindings_option_string_t value;
  wasi_config_store_error_t error;
  if (!wasi_config_store_get(&key, &value, &error)) return lictor_fail(reply, "failed", "the config can't be read");
  if (!value.is_some) return lictor_fail_with(reply, "not-found", "the config has no ", key);
  lictor_write(reply, value.val);
  return true;
}

static bool caller(texts args, size_t count, lictor_reply *reply) {
  lictor_write(reply, lictor_caller_name());
  lictor_write_string(reply, " ");
  lictor_write(reply, lictor_caller_thumbprint());
  return true;
}

static bool id(texts args, size_t count, lictor_reply *reply) {
  lictor_write(reply, lictor_id());
  return true;
}

static bool header(texts args, size_t count, lictor_reply *reply) {
  lictor_text value;
  if (!lictor_header(lictor_string_of(args[0]), &value)) {
    return lictor_fail_with(reply, "not-found", "there is no header ", args[0]);
  }
  lictor_write(reply, value);
  return true;
}

static bool headers(texts args, size_t count, lictor_reply *reply) {
  bindings_list_tuple2_string_string_t all;
  lictor_plugin_request_headers(&all);
  for (size_t at = 0; at < all.len; at++) {
    if (at > 0) lictor_write_string(reply, "\n");
    lictor_write(reply, all.ptr[at].f0);
    lictor_write_string(reply, ": ");
    lictor_write(reply, all.ptr[at].f1);
  }
  return true;
}

static bool time_left(texts args, size_t count, lictor_reply *reply) {
  lictor_write_number(reply, lictor_time_left_ms());
  return true;
}

// wasi:keyvalue

typedef wasi_keyvalue_store_own_bucket_t own_bucket;
typedef wasi_keyvalue_store_borrow_bucket_t bucket;
typedef wasi_keyvalue_store_error_t kv_error;

static bool kv_failed(kv_error error, lictor_reply *reply) {
  if (error.tag == WASI_KEYVALUE_STORE_ERROR_OTHER) return lictor_fail_with(reply, "failed", "", error.val.other);
  return lictor_fail(reply, "denied", "the store is not granted");
}

// Opens the store `name` and does `use` in it.
static bool in_store(lictor_text name, texts args, lictor_reply *reply,
                     bool (*use)(bucket store, texts args, lictor_reply *reply)) {
  own_bucket store;
  kv_error error;
  if (!wasi_keyvalue_store_open(&name, &store, &error)) return kv_failed(error, reply);
  bool done = use(wasi_keyvalue_store_borrow_bucket(store), args, reply);
  wasi_keyvalue_store_bucket_drop_own(store);
  return done;
}

static bool set(bucket store, texts args, lictor_reply *reply) {
  lictor_text key = args[0];
  lictor_bytes value = bytes_of(args[1]);
  kv_error error;
  return wasi_keyvalue_store_method_bucket_set(store, &key, &value, &error) || kv_failed(error, reply);
}

static bool get(bucket store, texts args, lictor_reply *reply) {
  lictor_text key = args[0];
  bindings_option_list_u8_t value;
  kv_error error;
  if (!wasi_keyvalue_store_method_bucket_get(store, &key, &value, &error)) return kv_failed(error, reply);
  if (!value.is_some) return lictor_fail_with(reply, "not-found", "there is no key ", key);
  lictor_write_bytes(reply, value.val);
  return true;
}

static bool delete(bucket store, texts args, lictor_reply *reply) {
  lictor_text key = args[0];
  kv_error error;
  return wasi_keyvalue_store_method_bucket_delete(store, &key, &error) || kv_failed(error, reply);
}

static bool increment(bucket store, texts args, lictor_reply *reply) {
  lictor_text key = args[0];
  uint64_t delta, sum;
  kv_error error;
  if (!number_of(args[1], &delta, reply)) return false;
  if (!wasi_keyvalue_atomics_increment(store, &key, delta, &sum, &error)) return kv_failed(error, reply);
  lictor_write_number(reply, sum);
  return true;
}

static bool keys(bucket store, texts args, lictor_reply *reply) {
  uint64_t cursor, *from = NULL;
  do {
    wasi_keyvalue_store_key_response_t page;
    kv_error error;
    if (!wasi_keyvalue_store_method_bucket_list_keys(store, from, &page, &error)) return kv_failed(error, reply);
    for (size_t at = 0; at < page.keys.len; at++) {
      if (reply->bytes.len > 0) lictor_write_string(reply, "\n");
      lictor_write(reply, page.keys.ptr[at]);
    }
    cursor = page.cursor.val;
    from = page.cursor.is_some ? &cursor : NULL;
  } while (from);
  return true;
}

static bool nothing(bucket store, texts args, lictor_reply *reply) {
  (void)store, (void)args, (void)reply;
  return true;
}

static lictor_text default_store(void) { return lictor_text_of("default"); }

static bool kv_set(texts args, size_t count, lictor_reply *reply) {
  return in_store(default_store(), args, reply, set);
}

static bool kv_get(texts args, size_t count, lictor_reply *reply) {
  return in_store(default_store(), args, reply, get);
}

static bool kv_delete(texts args, size_t count, lictor_reply *reply) {
  return in_store(default_store(), args, reply, delete);
}

static bool kv_increment(texts args, size_t count, lictor_reply *reply) {
  return in_store(default_store(), args, reply, increment);
}

static bool kv_keys(texts args, size_t count, lictor_reply *reply) {
  return in_store(default_store(), args, reply, keys);
}

static bool kv_open(texts args, size_t count, lictor_reply *reply) {
  return in_store(args[0], args, reply, nothing);
}

// lictor:plugin/state

static bool state_set(texts args, size_t count, lictor_reply *reply) {
  lictor_text store = default_store(), key = args[0];
  lictor_bytes value = bytes_of(args[1]);
  uint64_t ttl, version;
  lictor_plugin_state_failure_t failure;
  if (!number_of(args[2], &ttl, reply)) return false;
  if (!lictor_plugin_state_set(&store, &key, &value, &ttl, &version, &failure)) return lictor_pass(reply, failure);
  lictor_write_number(reply, version);
  return true;
}

static bool state_put(texts args, size_t count, lictor_reply *reply) {
  lictor_text store = default_store(), key = args[0];
  lictor_bytes value = lictor_body();
  uint64_t version;
  lictor_plugin_state_failure_t failure;
  if (!lictor_plugin_state_set(&store, &key, &value, NULL, &version, &failure)) return lictor_pass(reply, failure);
  lictor_write_number(reply, version);
  return true;
}

static bool state_renew(texts args, size_t count, lictor_reply *reply) {
  lictor_text store = default_store(), key = args[0];
  lictor_plugin_state_option_entry_t found;
  uint64_t version;
  lictor_plugin_state_failure_t failure;
  if (!lictor_plugin_state_get(&store, &key, &found, &failure)) return lictor_pass(reply, failure);
  if (!found.is_some) return lictor_fail_with(reply, "not-found", "there is no key ", key);
  lictor_plugin_state_entry_t entry = found.val;
  uint64_t *left = entry.expires_in_ms.is_some ? &entry.expires_in_ms.val : NULL;
  if (!lictor_plugin_state_compare_and_set(&store, &key, &entry.version, &entry.value, left, &version, &failure)) {
    return lictor_pass(reply, failure);
  }
  lictor_write_number(reply, version);
  return true;
}

static bool state_swap(texts args, size_t count, lictor_reply *reply) {
  lictor_text store = default_store(), key = args[0];
  lictor_bytes value = bytes_of(args[2]);
  uint64_t expected, version;
  lictor_plugin_state_failure_t failure;
  if (!number_of(args[1], &expected, reply)) return false;
  uint64_t *must_be = expected > 0 ? &expected : NULL;
  if (!lictor_plugin_state_compare_and_set(&store, &key, must_be, &value, NULL, &version, &failure)) {
    return lictor_pass(reply, failure);
  }
  lictor_write_number(reply, version);
  return true;
}

// lictor:plugin/http

static bool http(texts args, size_t count, lictor_reply *reply) {
  bindings_tuple2_string_string_t word = {lictor_text_of("x-word"), args[2]};
  lictor_http_request request = {
      .method = lictor_string_of(args[0]), .url = args[1], .headers = {&word, 1}, .body = lictor_body()};
  lictor_http_response response;
  lictor_text answer = lictor_text_of("-");
  if (!number_of(args[3], &request.timeout_ms, reply)) return false;
  if (!lictor_http_send(&request, &response, reply)) return false;
  lictor_http_header(&response, "x-answer", &answer);
  lictor_printf(reply, "%d ", response.status);
  lictor_write(reply, answer);
  lictor_write_string(reply, "\n");
  lictor_write_bytes(reply, response.body);
  return true;
}

// What lasts, and what does not end

static bool counted(texts args, size_t count, lictor_reply *reply) {
  static uint64_t calls;
  lictor_write_number(reply, ++calls);
  return true;
}

static bool spin(texts args, size_t count, lictor_reply *reply) {
  for (volatile unsigned turn = 0;; turn++) {
  }
}

static bool grow(texts args, size_t count, lictor_reply *reply) {
  const size_t size = 1 << 20;
  for (;;) {
    volatile uint8_t *taken = malloc(size);
    if (!taken) lictor_panic("out of memory");
    for (size_t at = 0; at < size; at += 4096) taken[at] = 1;
  }
}

const lictor_command lictor_commands[] = {
    {"echo [TEXT]...", "replies with its arguments", true, echo},
    {"body", "replies with the body", true, body},
    {"fail CODE MESSAGE", "fails", true, fail},
    {"panic TEXT", "traps", false, panic},
    {"log LEVEL CONTEXT MESSAGE", "logs an event", false, log_event},
    {"print TEXT", "logs a text", false, print},
    {"say", "prints the body", false, say},
    {"print-odd", "logs what is hard to show", true, print_odd},
    {"config KEY", "replies with a value of the config", true, config},
    {"caller", "tells who asks", true, caller},
    {"id", "replies with the request's id", true, id},
    {"header NAME", "replies with a header", true, header},
    {"headers", "replies with all headers", true, headers},
    {"time-left", "replies with the milliseconds left", true, time_left},
    {"kv-set KEY VALUE", "writes a key", true, kv_set},
    {"kv-get KEY", "reads a key", true, kv_get},
    {"kv-delete KEY", "deletes a key", true, kv_delete},
    {"kv-increment KEY DELTA", "adds to a key", false, kv_increment},
    {"kv-keys", "lists the keys", true, kv_keys},
    {"kv-open STORE", "opens a store", true, kv_open},
    {"state-set KEY VALUE TTL-MS", "writes a key that expires", false, state_set},
    {"state-put KEY", "writes the body", true, state_put},
    {"state-renew KEY", "writes an entry back as it was read", true, state_renew},
    {"state-swap KEY VERSION VALUE", "writes a key if it is as expected", false, state_swap},
    {"http METHOD URL WORD TIMEOUT-MS", "sends a request", false, http},
    {"count", "counts this instance's calls", false, counted},
    {"spin", "computes without end", false, spin},
    {"grow", "takes memory without end", false, grow},
    {0},
};
