// Tells the time in each of the ways that there are.

#define _POSIX_C_SOURCE 200809L
#include <time.h>

#include "lictor.h"

static bool now(const lictor_text *args, size_t count, lictor_reply *reply) {
  struct timespec day, steady;
  if (clock_gettime(CLOCK_REALTIME, &day) != 0 || clock_gettime(CLOCK_MONOTONIC, &steady) != 0) lictor_panic("no clock");
  lictor_printf(reply, "%llu %lld %lld", (unsigned long long)lictor_now_ms(), (long long)time(NULL), (long long)day.tv_sec);
  return true;
}

static bool wait(const lictor_text *args, size_t count, lictor_reply *reply) {
  uint64_t milliseconds;
  if (!lictor_number(args[0], &milliseconds)) return lictor_fail(reply, "bad-arguments", "MS must be a number");
  uint64_t began = lictor_monotonic_ns();
  lictor_sleep_ms(milliseconds);
  lictor_write_number(reply, (lictor_monotonic_ns() - began) / 1000000);
  return true;
}

const lictor_command lictor_commands[] = {
    {"now", "tells the time", true, now},
    {"wait MS", "waits, and tells how long", true, wait},
    {0},
};
