;; An extension that does nothing: it takes its packets and passes them. What it costs is what
;; it costs to get there and back.
;;
;; Each function of the contract returns where its result stands, which is zeros for most: `ok`,
;; nothing to say, no decision (wit/packet.wit, by the canonical ABI).
(module
  (memory (export "memory") 1)

  ;; The description: name, version, summary, and needs that are all nothing.
  (data (i32.const 64) "\00\01\00\00" "\05\00\00\00" "\05\01\00\00" "\05\00\00\00" "\0a\01\00\00" "\0d\00\00\00")
  (data (i32.const 256) "empty" "0.1.0" "Does nothing.")

  ;; From where on the host may write what it hands over; the next call may write over it.
  (global $heap i32 (i32.const 4096))
  (global $next (mut i32) (i32.const 4096))

  (func $nothing (result i32)
    (global.set $next (global.get $heap))
    (i32.const 0))

  (func (export "ipqext:packet/extension@0.1.0#describe") (result i32)
    (i32.const 64))
  (func (export "ipqext:packet/extension@0.1.0#init") (param i32 i32 i32 i32 i64) (result i32)
    (call $nothing))
  (func (export "ipqext:packet/extension@0.1.0#fini") (result i32)
    (call $nothing))
  (func (export "ipqext:packet/extension@0.1.0#start") (result i32)
    (call $nothing))
  (func (export "ipqext:packet/extension@0.1.0#stop") (result i32)
    (call $nothing))
  (func (export "ipqext:packet/extension@0.1.0#reset") (result i32)
    (call $nothing))
  (func (export "ipqext:packet/extension@0.1.0#info") (result i32)
    (call $nothing))
  (func (export "ipqext:packet/extension@0.1.0#help") (result i32)
    (call $nothing))
  (func (export "ipqext:packet/extension@0.1.0#proc") (param i64 i32 i32 i32 i32 i32) (result i32)
    (call $nothing))

  ;; Gives the host the next bytes, aligned to eight. The memory grows to what a call needs.
  (func (export "cabi_realloc")
    (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local $missing i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.set $next (i32.add (local.get $at) (local.get $size)))
    (local.set $missing
      (i32.sub
        (i32.shr_u (i32.add (global.get $next) (i32.const 65535)) (i32.const 16))
        (memory.size)))
    (if (i32.gt_s (local.get $missing) (i32.const 0))
      (then
        (if (i32.eq (memory.grow (local.get $missing)) (i32.const -1))
          (then (unreachable)))))
    (local.get $at)))
