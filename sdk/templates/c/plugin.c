// {{name}}: a plugin of Lictor. Its commands are below; lictor.h is the kit.

#include "lictor.h"

// Returns the value of this key in [plugins.{{name}}.config] of server.toml, or `otherwise`.
static lictor_text config(const char *name, const char *otherwise) {
  lictor_text key = lictor_text_of(name);
  bindings_option_string_t value;
  wasi_config_store_error_t error;
  bool is_there = wasi_config_store_get(&key, &value, &error) && value.is_some;
  return is_there ? value.val : lictor_text_of(otherwise);
}

static bool greet(const lictor_text *args, size_t count, lictor_reply *reply) {
  lictor_text who = count > 0 ? args[0] : lictor_text_of("world");
  if (who.len > 40) return lictor_fail(reply, "bad-arguments", "WHO has at most 40 bytes");

  lictor_print("greeting somebody"); // goes to the server's log
  lictor_write(reply, config("greeting", "hello"));
  lictor_write_string(reply, " ");
  lictor_write(reply, who);
  lictor_write_string(reply, ", from ");
  lictor_write(reply, lictor_caller_name());
  return true;
}

const lictor_command lictor_commands[] = {
    {"{{name}} [WHO]", "greets somebody", true, greet},
    {0},
};
