//! A plugin in Zig: `echo`, over the bindings for C. What the host hands over and what is returned goes through
//! `cabi_realloc` and `free` of the C library, which the bindings bring along.

const std = @import("std");
const c = @import("c");

const info = c.exports_lictor_plugin_commands_command_info_t{
    .name = text("echo"),
    .summary = text("replies with its arguments"),
    .usage = text("echo [TEXT]..."),
    .idempotent = true,
};

export fn exports_lictor_plugin_commands_describe(list: *c.exports_lictor_plugin_commands_list_command_info_t) void {
    const one = std.heap.c_allocator.create(@TypeOf(info)) catch @panic("out of memory");
    one.* = .{
        .name = owned(info.name),
        .summary = owned(info.summary),
        .usage = owned(info.usage),
        .idempotent = info.idempotent,
    };
    list.* = .{ .ptr = one, .len = 1 };
}

export fn exports_lictor_plugin_commands_handle(
    args: *c.bindings_list_string_t,
    reply: *c.bindings_list_u8_t,
    failure: *c.exports_lictor_plugin_commands_failure_t,
) bool {
    defer c.bindings_list_string_free(args);
    const joined = join(args.ptr[1..args.len]) catch {
        failure.* = .{ .code = owned(text("failed")), .message = owned(text("out of memory")) };
        return false;
    };
    reply.* = .{ .ptr = joined.ptr, .len = joined.len };
    return true;
}

/// The texts with single spaces between them.
fn join(texts: []const c.bindings_string_t) ![]u8 {
    var joined: std.ArrayList(u8) = .empty;
    for (texts, 0..) |part, at| {
        if (at > 0) try joined.append(std.heap.c_allocator, ' ');
        try joined.appendSlice(std.heap.c_allocator, part.ptr[0..part.len]);
    }
    return joined.toOwnedSlice(std.heap.c_allocator);
}

/// A text that lives as long as the plugin.
fn text(comptime literal: []const u8) c.bindings_string_t {
    return .{ .ptr = @constCast(literal.ptr), .len = literal.len };
}

/// A copy, which the bindings free when the host has read it.
fn owned(of: c.bindings_string_t) c.bindings_string_t {
    var copy: c.bindings_string_t = undefined;
    c.bindings_string_dup_n(&copy, of.ptr, of.len);
    return copy;
}

/// A panic goes to the log, and ends the call as a trap.
pub const panic = std.debug.FullPanic(struct {
    fn print(message: []const u8, _: ?usize) noreturn {
        var line: c.bindings_string_t = .{ .ptr = @constCast(message.ptr), .len = message.len };
        c.lictor_plugin_output_print(&line);
        @trap();
    }
}.print);
