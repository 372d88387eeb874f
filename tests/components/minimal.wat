;; The smallest plugin. The tests fill in the parts in braces, each to make one misfit (see testkit/src/components.rs):
;;   version   of the package lictor:plugin that it is built against
;;   imports   further imports
;;   core      further fields of the core module, such as imports; these come first
;;   with      what it is instantiated with for them
;;   count     how many commands that list has
;;   data      what lies in memory from address 16 on: the list that `describe` returns, and its texts
;;   describe  runs before `describe` returns that list
;;   handle    runs before `handle` returns the text "ok"
;;   commands  the name of the interface that is exported
(component
  (import "lictor:plugin/types@{version}" (instance $types
    (type $command-info (record (field "name" string) (field "summary" string) (field "usage" string) (field "idempotent" bool)))
    (export "command-info" (type (eq $command-info)))
    (type $failure (record (field "code" string) (field "message" string)))
    (export "failure" (type (eq $failure)))))
  (alias export $types "command-info" (type $command-info))
  (alias export $types "failure" (type $failure))
  {imports}

  (core module $code
    {core}
    (memory (export "memory") 1)
    (table $table 1 funcref)
    (global $free (mut i32) (i32.const 32768))

    ;; A fresh instance for every request needs no more of an allocator than this.
    (func (export "realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
      (global.set $free (i32.add (local.get $at) (local.get $size)))
      (local.get $at))

    (data (i32.const 0) "\10\00\00\00{count}")
    (data (i32.const 16) "{data}")
    (func (export "describe") (result i32)
      {describe}
      (i32.const 0))

    ;; The case `ok`, then address and size of the text.
    (data (i32.const 30000) "\00\00\00\00\40\75\00\00\02\00\00\00")
    (data (i32.const 30016) "ok")
    (func (export "handle") (param $args i32) (param $count i32) (result i32)
      {handle}
      (i32.const 30000)))

  (core instance $core (instantiate $code {with}))
  (func $describe (result (list $command-info))
    (canon lift (core func $core "describe") (memory (core memory $core "memory"))))
  (func $handle (param "args" (list string)) (result (result (list u8) (error $failure)))
    (canon lift (core func $core "handle") (memory (core memory $core "memory")) (realloc (core func $core "realloc"))))

  ;; An interface that is exported has to name its types itself.
  (component $interface
    (type $info (record (field "name" string) (field "summary" string) (field "usage" string) (field "idempotent" bool)))
    (import "command-info" (type $command-info (eq $info)))
    (type $fault (record (field "code" string) (field "message" string)))
    (import "failure" (type $failure (eq $fault)))
    (import "describe" (func $describe (result (list $command-info))))
    (import "handle" (func $handle (param "args" (list string)) (result (result (list u8) (error $failure)))))
    (export $command-info' "command-info" (type $command-info))
    (export $failure' "failure" (type $failure))
    (export "describe" (func $describe) (func (result (list $command-info'))))
    (export "handle" (func $handle) (func (param "args" (list string)) (result (result (list u8) (error $failure'))))))
  (instance $commands (instantiate $interface
    (with "command-info" (type $command-info))
    (with "failure" (type $failure))
    (with "describe" (func $describe))
    (with "handle" (func $handle))))
  (export "{commands}" (instance $commands)))
