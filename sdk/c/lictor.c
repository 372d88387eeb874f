// The kit of a plugin in C: what lictor.h declares.
//
// The bindings' weak functions that allocate and free are replaced, so that all memory of a call lies in one arena.

#include "lictor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The arena

// The first bytes are there from the start, so that a small call asks for no memory.
enum { FIRST_BYTES = 8192, BLOCK_BYTES = 65536, ALIGNMENT = 16 };

typedef struct block {
  struct block *next;
  _Alignas(ALIGNMENT) uint8_t bytes[];
} block;

static _Alignas(ALIGNMENT) uint8_t first[FIRST_BYTES];
static uint8_t *top = first, *end = first + FIRST_BYTES;
static block *blocks;

static void *take(size_t size) {
  if (size > SIZE_MAX / 2) lictor_panic("out of memory");
  size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  if (size > (size_t)(end - top)) {
    size_t room = size > BLOCK_BYTES ? size : BLOCK_BYTES;
    block *new = malloc(sizeof *new + room);
    if (!new) lictor_panic("out of memory");
    new->next = blocks;
    blocks = new;
    top = new->bytes;
    end = top + room;
  }
  void *taken = top;
  top += size;
  return taken;
}

static void *grow(void *old, size_t old_size, size_t size) {
  void *new = take(size);
  if (old_size > 0) memcpy(new, old, old_size);
  return new;
}

static void forget(void) {
  while (blocks) {
    block *next = blocks->next;
    free(blocks);
    blocks = next;
  }
  top = first;
  end = first + FIRST_BYTES;
}

void *lictor_alloc(size_t size) { return take(size); }

// By this the host hands memory over.
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t alignment,
                                                                size_t size) {
  (void)alignment; // none of the interfaces' types needs more than ALIGNMENT
  return grow(old, old_size, size);
}

// These are called when the host has read what the exports returned.
__attribute__((export_name("cabi_post_lictor:plugin/commands@0.1.0#handle"))) void
__wasm_export_exports_lictor_plugin_commands_handle_post_return(uint8_t *returned) {
  (void)returned;
  forget();
}

__attribute__((export_name("cabi_post_lictor:plugin/commands@0.1.0#describe"))) void
__wasm_export_exports_lictor_plugin_commands_describe_post_return(uint8_t *returned) {
  (void)returned;
  forget();
}

// The table

typedef struct {
  size_t name_length, least, most;
} shape;

static shape shape_of(const char *usage) {
  shape shape = {.name_length = strcspn(usage, " ")};
  for (const char *at = strchr(usage, ' '); at; at = strchr(at, ' ')) {
    at++;
    shape.least += *at != '[';
    shape.most++;
  }
  size_t length = strlen(usage);
  if (length > 3 && strcmp(usage + length - 3, "...") == 0) shape.most = SIZE_MAX;
  return shape;
}

static lictor_text slice(const char *text, size_t length) { return (lictor_text){(uint8_t *)text, length}; }

static bool same(lictor_text one, lictor_text other) {
  return one.len == other.len && memcmp(one.ptr, other.ptr, one.len) == 0;
}

// The bytes of the character with which `text` begins, or 0 where it begins with no UTF-8.
static size_t character(lictor_text text) {
  uint8_t first = text.ptr[0];
  if (first < 0x80) return 1;
  size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || size > text.len) return 0;
  for (size_t at = 1; at < size; at++) {
    if ((text.ptr[at] & 0xc0) != 0x80) return 0;
  }
  uint8_t second = text.ptr[1];
  bool is_one = !(first == 0xe0 && second < 0xa0) && !(first == 0xed && second > 0x9f) &&
                !(first == 0xf0 && second < 0x90) && !(first == 0xf4 && second > 0x8f);
  return is_one ? size : 0;
}

// The text as the host takes it, which traps where a text is no UTF-8: each byte that is none becomes U+FFFD.
static lictor_text valid(lictor_text text) {
  size_t at = 0, wrong = 0;
  while (at < text.len) {
    size_t size = character(slice((char *)text.ptr + at, text.len - at));
    wrong += size == 0;
    at += size > 0 ? size : 1;
  }
  if (wrong == 0) return text;
  lictor_text whole = {take(text.len + 2 * wrong), 0};
  for (at = 0; at < text.len;) {
    size_t size = character(slice((char *)text.ptr + at, text.len - at));
    memcpy(whole.ptr + whole.len, size > 0 ? text.ptr + at : (const uint8_t *)"\xef\xbf\xbd", size > 0 ? size : 3);
    whole.len += size > 0 ? size : 3;
    at += size > 0 ? size : 1;
  }
  return whole;
}

void exports_lictor_plugin_commands_describe(exports_lictor_plugin_commands_list_command_info_t *described) {
  size_t count = 0;
  while (lictor_commands[count].usage) count++;
  described->len = count;
  described->ptr = take(count * sizeof *described->ptr);
  for (size_t at = 0; at < count; at++) {
    const lictor_command *command = &lictor_commands[at];
    described->ptr[at] = (exports_lictor_plugin_commands_command_info_t){
        .name = slice(command->usage, shape_of(command->usage).name_length),
        .summary = lictor_text_of(command->summary),
        .usage = lictor_text_of(command->usage),
        .idempotent = command->idempotent,
    };
  }
}

static bool run(lictor_text name, const lictor_text *args, size_t count, lictor_reply *reply) {
  for (const lictor_command *command = lictor_commands; command->usage; command++) {
    shape shape = shape_of(command->usage);
    if (!same(name, slice(command->usage, shape.name_length))) continue;
    if (count >= shape.least && count <= shape.most) return command->run(args, count, reply);
    return lictor_fail_with(reply, "bad-arguments", "usage: ", lictor_text_of(command->usage));
  }
  return lictor_fail_with(reply, "not-found", "this plugin has no command ", name);
}

// Of a command that returned false by itself, in the reply and in the log.
static void tell_no_reason(const bindings_list_string_t *args, lictor_reply *reply) {
  lictor_reply told = {0};
  lictor_write_string(&told, "the command ");
  if (args->len > 0) lictor_write(&told, args->ptr[0]);
  lictor_write_string(&told, " returned false and gave no reason, as lictor_fail does");
  reply->code = lictor_text_of("failed");
  reply->message = (lictor_text){told.bytes.ptr, told.bytes.len};
  lictor_print(lictor_string_of(reply->message));
}

bool exports_lictor_plugin_commands_handle(bindings_list_string_t *args, bindings_list_u8_t *bytes,
                                           exports_lictor_plugin_commands_failure_t *failure) {
  lictor_reply reply = {0};
  bool done = args->len > 0 && run(args->ptr[0], args->ptr + 1, args->len - 1, &reply);
  if (!done && !reply.code.ptr) tell_no_reason(args, &reply);
  // What printf keeps until its line ends would be printed for the next request.
  fflush(NULL);
  if (done) {
    *bytes = reply.bytes;
  } else {
    failure->code = valid(reply.code);
    failure->message = valid(reply.message);
  }
  return done;
}

// The reply

static uint8_t *room_for(lictor_reply *reply, size_t more) {
  size_t length = reply->bytes.len;
  if (more > reply->room - length) {
    reply->room = 2 * reply->room > length + more ? 2 * reply->room : length + more;
    reply->bytes.ptr = grow(reply->bytes.ptr, length, reply->room);
  }
  reply->bytes.len += more;
  return reply->bytes.ptr + length;
}

void lictor_write_bytes(lictor_reply *reply, lictor_bytes bytes) {
  if (bytes.len > 0) memcpy(room_for(reply, bytes.len), bytes.ptr, bytes.len);
}

void lictor_write(lictor_reply *reply, lictor_text text) {
  lictor_write_bytes(reply, (lictor_bytes){text.ptr, text.len});
}

void lictor_write_string(lictor_reply *reply, const char *text) { lictor_write(reply, lictor_text_of(text)); }

void lictor_write_number(lictor_reply *reply, uint64_t number) {
  char digits[20];
  size_t at = sizeof digits;
  do {
    digits[--at] = (char)('0' + number % 10);
    number /= 10;
  } while (number > 0);
  lictor_write(reply, slice(digits + at, sizeof digits - at));
}

static lictor_text formatted(const char *format, va_list values) {
  va_list again;
  va_copy(again, values);
  int length = vsnprintf(NULL, 0, format, values);
  if (length < 0) lictor_panic("lictor_printf or lictor_failf: the format is wrong");
  char *text = take((size_t)length + 1);
  vsnprintf(text, (size_t)length + 1, format, again);
  va_end(again);
  return slice(text, (size_t)length);
}

void lictor_printf(lictor_reply *reply, const char *format, ...) {
  va_list values;
  va_start(values, format);
  lictor_write(reply, formatted(format, values));
  va_end(values);
}

bool lictor_fail(lictor_reply *reply, const char *code, const char *message) {
  reply->code = lictor_text_of(code);
  reply->message = lictor_text_of(message);
  return false;
}

bool lictor_failf(lictor_reply *reply, const char *code, const char *format, ...) {
  va_list values;
  va_start(values, format);
  reply->code = lictor_text_of(code);
  reply->message = formatted(format, values);
  va_end(values);
  return false;
}

bool lictor_fail_with(lictor_reply *reply, const char *code, const char *message, lictor_text name) {
  lictor_reply whole = {0};
  lictor_write_string(&whole, message);
  lictor_write(&whole, name);
  reply->code = lictor_text_of(code);
  reply->message = (lictor_text){whole.bytes.ptr, whole.bytes.len};
  return false;
}

bool lictor_pass(lictor_reply *reply, lictor_plugin_types_failure_t failure) {
  bool blames = lictor_equal(failure.code, "bad-arguments") || lictor_equal(failure.code, "not-found") ||
                lictor_equal(failure.code, "denied");
  if (!blames) return lictor_pass_as_is(reply, failure);
  lictor_reply told = {0};
  lictor_write_string(&told, "uncaught failure of the host: ");
  lictor_write(&told, failure.message);
  lictor_write_string(&told, " (");
  lictor_write(&told, failure.code);
  lictor_write_string(&told, ")");
  lictor_print(lictor_string_of((lictor_text){told.bytes.ptr, told.bytes.len}));
  return lictor_fail(reply, "failed", "the plugin met an error that it did not expect");
}

bool lictor_pass_as_is(lictor_reply *reply, lictor_plugin_types_failure_t failure) {
  reply->code = failure.code;
  reply->message = failure.message;
  return false;
}

// The request

lictor_text lictor_caller_name(void) {
  lictor_plugin_request_verified_caller_t caller;
  lictor_plugin_request_caller(&caller);
  return caller.name;
}

lictor_text lictor_caller_thumbprint(void) {
  lictor_plugin_request_verified_caller_t caller;
  lictor_plugin_request_caller(&caller);
  return caller.thumbprint;
}

lictor_text lictor_id(void) {
  lictor_text id;
  lictor_plugin_request_id(&id);
  return id;
}

bool lictor_header(const char *name, lictor_text *value) {
  lictor_text text = lictor_text_of(name);
  return lictor_plugin_request_header(&text, value);
}

lictor_bytes lictor_body(void) {
  lictor_bytes body;
  lictor_plugin_request_body(&body);
  return body;
}

uint64_t lictor_time_left_ms(void) { return lictor_plugin_request_time_left_ms(); }

// HTTP

bool lictor_http_send(const lictor_http_request *request, lictor_http_response *response, lictor_reply *reply) {
  bindings_list_tuple2_string_string_t headers = {take(request->headers.len * sizeof *headers.ptr), request->headers.len};
  for (size_t at = 0; at < headers.len; at++) {
    headers.ptr[at].f0 = valid(request->headers.ptr[at].f0);
    headers.ptr[at].f1 = valid(request->headers.ptr[at].f1);
  }
  lictor_plugin_http_request_t sent = {
      .method = valid(lictor_text_of(request->method ? request->method : "GET")),
      .url = valid(request->url),
      .headers = headers,
      .body = request->body,
      .timeout_ms = {.is_some = request->timeout_ms > 0, .val = request->timeout_ms},
  };
  lictor_plugin_http_failure_t failure;
  return lictor_plugin_http_send(&sent, response, &failure) || lictor_pass(reply, failure);
}

bool lictor_http_get(const char *url, lictor_http_response *response, lictor_reply *reply) {
  lictor_http_request request = {.url = lictor_text_of(url)};
  return lictor_http_send(&request, response, reply);
}

bool lictor_http_post(const char *url, lictor_bytes body, lictor_http_response *response, lictor_reply *reply) {
  lictor_http_request request = {.method = "POST", .url = lictor_text_of(url), .body = body};
  return lictor_http_send(&request, response, reply);
}

bool lictor_http_header(const lictor_http_response *response, const char *name, lictor_text *value) {
  for (size_t at = 0; at < response->headers.len; at++) {
    if (!lictor_equal(response->headers.ptr[at].f0, name)) continue;
    *value = response->headers.ptr[at].f1;
    return true;
  }
  return false;
}

// The log

// What crosses at once. The host takes 16 MiB; of a call it logs 64 KiB and counts the rest.
enum { PIECE_BYTES = 1 << 20 };

static void print(const uint8_t *text, size_t length) {
  while (length > 0) {
    size_t size = length < PIECE_BYTES ? length : PIECE_BYTES;
    lictor_bytes piece = {(uint8_t *)text, size};
    lictor_plugin_output_write(&piece);
    text += size, length -= size;
  }
}

// What printf keeps comes first.
void lictor_print(const char *text) {
  fflush(NULL);
  print((const uint8_t *)text, strlen(text));
  print((const uint8_t *)"\n", 1);
}

_Noreturn void lictor_panic(const char *text) {
  lictor_print(text);
  __builtin_trap();
}

// Texts

lictor_text lictor_text_of(const char *text) { return slice(text, strlen(text)); }

char *lictor_string_of(lictor_text text) {
  char *copy = take(text.len + 1);
  if (text.len > 0) memcpy(copy, text.ptr, text.len);
  copy[text.len] = '\0';
  return copy;
}

lictor_text lictor_join(const lictor_text *args, size_t count, const char *separator) {
  lictor_reply whole = {0};
  for (size_t i = 0; i < count; i++) {
    if (i > 0) lictor_write_string(&whole, separator);
    lictor_write(&whole, args[i]);
  }
  return (lictor_text){whole.bytes.ptr, whole.bytes.len};
}

bool lictor_equal(lictor_text text, const char *other) { return same(text, lictor_text_of(other)); }

bool lictor_number(lictor_text text, uint64_t *number) {
  *number = 0;
  for (size_t at = 0; at < text.len; at++) {
    uint8_t digit = (uint8_t)(text.ptr[at] - '0');
    if (digit > 9 || *number > (UINT64_MAX - digit) / 10) return false;
    *number = *number * 10 + digit;
  }
  return text.len > 0;
}

// Standard output and error of the C library, which would import WASI preview 1: to the log. The names are those by
// which the pinned compiler's library calls its imports; the clock is in lictor_clock.c. What else it would import (files, random numbers)
// is not here, and componentizing fails where a plugin uses it.

int32_t __imported_wasi_snapshot_preview1_fd_write(int32_t file, int32_t parts, int32_t count, int32_t written) {
  if (file != 1 && file != 2) return 8; // EBADF
  const lictor_text *part = (const lictor_text *)parts; // an iovec is a pointer and a length too
  size_t sum = 0;
  for (int32_t at = 0; at < count; at++) {
    print(part[at].ptr, part[at].len);
    sum += part[at].len;
  }
  *(size_t *)written = sum;
  return 0;
}

// Of this one, which closes the standard streams, the caller is replaced.
int close(int file) {
  (void)file;
  return 0;
}

int32_t __imported_wasi_snapshot_preview1_fd_seek(int32_t file, int64_t offset, int32_t whence, int32_t position) {
  (void)file, (void)offset, (void)whence, (void)position;
  return 70; // ESPIPE
}

int32_t __imported_wasi_snapshot_preview1_fd_fdstat_get(int32_t file, int32_t stat) {
  (void)file;
  memset((void *)stat, 0, 24);
  *(uint8_t *)stat = 2; // a character device, so that it is printed line by line
  return 0;
}

_Noreturn void __imported_wasi_snapshot_preview1_proc_exit(int32_t status) {
  (void)status;
  __builtin_trap();
}
