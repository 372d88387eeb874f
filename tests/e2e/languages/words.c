// A plugin in C that joins its arguments and fails as printf writes.

#include "lictor.h"

static bool join(const lictor_text *args, size_t count, lictor_reply *reply) {
  lictor_write(reply, lictor_join(args, count, ", "));
  return true;
}

static bool refuse(const lictor_text *args, size_t count, lictor_reply *reply) {
  return lictor_failf(reply, "conflict", "%d of %s", 3, lictor_string_of(args[0]));
}

static bool forget(const lictor_text *args, size_t count, lictor_reply *reply) { return false; }

const lictor_command lictor_commands[] = {
    {"join [WORD]...", "joins words", true, join},
    {"refuse WORD", "fails", true, refuse},
    {"forget", "fails without a reason", true, forget},
    {0},
};
