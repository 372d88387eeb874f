// Time, by the host's wasi:clocks. These are declared here and not taken from bindings.h, so that a world without them will do for
// a plugin that asks for no time.

#include "lictor.h"

#define IMPORT(interface, name) __attribute__((import_module("wasi:" interface "@0.2.0"), import_name(name)))

IMPORT("clocks/wall-clock", "now") extern void wall_clock_now(void *datetime);
IMPORT("clocks/monotonic-clock", "now") extern int64_t monotonic_clock_now(void);
IMPORT("clocks/monotonic-clock", "subscribe-duration") extern int32_t subscribe_duration(int64_t nanoseconds);
IMPORT("io/poll", "[method]pollable.block") extern void block(int32_t pollable);
IMPORT("io/poll", "[resource-drop]pollable") extern void drop(int32_t pollable);

static uint64_t wall_clock_ns(void) {
  struct {
    uint64_t seconds;
    uint32_t nanoseconds;
  } datetime;
  wall_clock_now(&datetime);
  return datetime.seconds * 1000000000 + datetime.nanoseconds;
}

uint64_t lictor_now_ms(void) { return wall_clock_ns() / 1000000; }

uint64_t lictor_monotonic_ns(void) { return (uint64_t)monotonic_clock_now(); }

void lictor_sleep_ms(uint64_t milliseconds) {
  // Centuries, where it does not fit.
  uint64_t nanoseconds = milliseconds < UINT64_MAX / 1000000 ? milliseconds * 1000000 : UINT64_MAX;
  int32_t pollable = subscribe_duration((int64_t)nanoseconds);
  block(pollable);
  drop(pollable);
}

// For the C library's time() and clock_gettime(): its clocks are 0, the time of day, and 1, which never goes back.
int32_t __imported_wasi_snapshot_preview1_clock_time_get(int32_t clock, int64_t precision, int32_t time) {
  (void)precision;
  if (clock != 0 && clock != 1) return 28; // EINVAL of WASI
  *(uint64_t *)time = clock == 0 ? wall_clock_ns() : lictor_monotonic_ns();
  return 0;
}
