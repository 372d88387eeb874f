// The kit of a plugin in C: a table of commands over what `lictor:plugin` imports and exports.
//
//     static bool greet(const lictor_text *args, size_t count, lictor_reply *reply) {
//       lictor_write_string(reply, "hello ");
//       lictor_write(reply, args[0]);
//       return true;
//     }
//
//     const lictor_command lictor_commands[] = {
//         {"greet WHO", "greets somebody", true, greet},
//         {0},
//     };
//
// Memory: all that the host hands over and all that comes from lictor_alloc lives until the reply is sent, and goes
// then by itself. Never free it, neither by free() nor by the bindings' own `…_free`.

#ifndef LICTOR_H
#define LICTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bindings.h"

// Texts are in UTF-8 and do not end with a zero byte: `ptr` and `len`.
typedef bindings_string_t lictor_text;

// Bytes of any kind: `ptr` and `len`.
typedef bindings_list_u8_t lictor_bytes;

// What the client will get.
typedef struct {
  lictor_bytes bytes;
  size_t room;
  lictor_text code, message;
} lictor_reply;

// One command.
typedef struct {
  // Its name, and its arguments: `[X]` may be left out, and what ends with `...` may be repeated.
  const char *usage;
  // What it does, in one line.
  const char *summary;
  // Whether running it twice has the same effect as running it once.
  bool idempotent;
  // Carries it out. There are as many arguments as `usage` allows. Returns true, or what lictor_fail
  // returns; false without that is a failure that says so, and a line of the log.
  bool (*run)(const lictor_text *args, size_t count, lictor_reply *reply);
} lictor_command;

// The plugin's commands, in its own file; `{0}` stands behind the last.
extern const lictor_command lictor_commands[];

// Adds to the reply.
void lictor_write(lictor_reply *reply, lictor_text text);
void lictor_write_string(lictor_reply *reply, const char *text);
void lictor_write_bytes(lictor_reply *reply, lictor_bytes bytes);
void lictor_write_number(lictor_reply *reply, uint64_t number);
__attribute__((format(printf, 2, 3))) void lictor_printf(lictor_reply *reply, const char *format, ...);

// Says no to the client: `return lictor_fail(…)`. `code` is bad-arguments, not-found, conflict, denied, unavailable
// or failed. The second one's message is as printf writes it, the third one's has a name behind it: `there is no key ` and `k`.
bool lictor_fail(lictor_reply *reply, const char *code, const char *message);
__attribute__((format(printf, 3, 4))) bool lictor_failf(lictor_reply *reply, const char *code, const char *format, ...);
bool lictor_fail_with(lictor_reply *reply, const char *code, const char *message, lictor_text name);

// Passes a failure on that an interface of the host gave. Where its code would blame the client for what the plugin asked of the
// host (bad-arguments, not-found, denied), the client is told `failed`, and the log the message.
bool lictor_pass(lictor_reply *reply, lictor_plugin_types_failure_t failure);

// The same with code and message as they are: what another command gave, and where the client chose the key, the file, the URL.
bool lictor_pass_as_is(lictor_reply *reply, lictor_plugin_types_failure_t failure);

// The request.
lictor_text lictor_caller_name(void);
lictor_text lictor_caller_thumbprint(void);
lictor_text lictor_id(void);
bool lictor_header(const char *name, lictor_text *value);
lictor_bytes lictor_body(void);
uint64_t lictor_time_left_ms(void);

// Time, where the world imports wasi:clocks, as that of a new project does: milliseconds since 1970, UTC; nanoseconds of a clock
// that never goes back, of which only differences mean something; and waiting, which counts as the command's time.
uint64_t lictor_now_ms(void);
uint64_t lictor_monotonic_ns(void);
void lictor_sleep_ms(uint64_t milliseconds);

// HTTP, where `http = ["https://HOST"]` is granted. All of them are false where there is no response, and the reply then
// says why, for the command to return it: what lictor_pass makes of `denied`, `unavailable`, `failed` or `bad-arguments`. A
// response of any status is a response; no redirection is followed.
typedef struct {
  // NULL is GET.
  const char *method;
  lictor_text url;
  // Names and values.
  bindings_list_tuple2_string_string_t headers;
  lictor_bytes body;
  // How long it may take in all; 0 is as long as the call.
  uint64_t timeout_ms;
} lictor_http_request;

// Its `status`, its `headers` with names in lower case, and its `body`.
typedef lictor_plugin_http_response_t lictor_http_response;

bool lictor_http_get(const char *url, lictor_http_response *response, lictor_reply *reply);
bool lictor_http_post(const char *url, lictor_bytes body, lictor_http_response *response, lictor_reply *reply);
bool lictor_http_send(const lictor_http_request *request, lictor_http_response *response, lictor_reply *reply);

// The first header of this name, in lower case; whether there is one.
bool lictor_http_header(const lictor_http_response *response, const char *name, lictor_text *value);

// Logs a text; bytes that are no UTF-8 are shown as U+FFFD. What printf prints is logged too.
void lictor_print(const char *text);

// Logs a text and ends the call as a trap. For what can't be.
_Noreturn void lictor_panic(const char *text);

// Memory until the reply is sent. Never NULL: without memory it panics.
void *lictor_alloc(size_t size);

// The text which is this string of C, and a string of C which is this text.
lictor_text lictor_text_of(const char *text);
char *lictor_string_of(lictor_text text);

// The arguments as one text, with `separator` between them.
lictor_text lictor_join(const lictor_text *args, size_t count, const char *separator);

bool lictor_equal(lictor_text text, const char *other);

// Reads a decimal number; false where it is none or does not fit.
bool lictor_number(lictor_text text, uint64_t *number);

#endif
