//go:build !noasm

#include "textflag.h"

// The method and the classes are explained in unmask_amd64.s. With vectors of 16 bytes and a cheap lookup, where
// second continuations are due is looked up too.

DATA classes<>+0x00(SB)/8, $0x0202020202020202 // the first byte's high half: 0..7 ASCII
DATA classes<>+0x08(SB)/8, $0x4915012180808080 // 8..B continuation, C, D, E, F
DATA classes<>+0x10(SB)/8, $0xCBCBCB8B8383A3E7 // the first byte's low half: 0, 1, 2, 3, 4, 5..7
DATA classes<>+0x18(SB)/8, $0xCBCBDBCBCBCBCBCB // 8..F, of which D begins a surrogate
DATA classes<>+0x20(SB)/8, $0x0101010101010101 // the second byte's high half: 0..7 ASCII
DATA classes<>+0x28(SB)/8, $0x01010101BABAAEE6 // 8, 9, A, B, C..F
DATA classes<>+0x30(SB)/8, $0                  // two bytes before a second continuation, the high half:
DATA classes<>+0x38(SB)/8, $0x8080000000000000 // E, F
DATA classes<>+0x40(SB)/8, $0                  // three bytes before it:
DATA classes<>+0x48(SB)/8, $0x8000000000000000 // F
GLOBL classes<>(SB), RODATA|NOPTR, $80

// JUDGE ORs into V15 the mistakes in cur, before which comes before; high gets the high halves of cur's bytes, and
// beforeHigh has those of before. It uses V22 to V25 and V30.
#define JUDGE(cur, high, before, beforeHigh) \
	VUSHR $4, cur.B16, high.B16                       \
	VEXT  $15, cur.B16, before.B16, V22.B16           \
	VEXT  $15, high.B16, beforeHigh.B16, V23.B16      \
	VEXT  $14, high.B16, beforeHigh.B16, V24.B16      \
	VEXT  $13, high.B16, beforeHigh.B16, V25.B16      \
	VAND  V21.B16, V22.B16, V22.B16                   \
	VTBL  V22.B16, [V17.B16], V22.B16                 \
	VTBL  V23.B16, [V16.B16], V23.B16                 \
	VTBL  high.B16, [V18.B16], V30.B16                \
	VTBL  V24.B16, [V19.B16], V24.B16                 \
	VTBL  V25.B16, [V20.B16], V25.B16                 \
	VAND  V23.B16, V22.B16, V22.B16                   \
	VAND  V30.B16, V22.B16, V22.B16                   \
	VORR  V25.B16, V24.B16, V24.B16                   \
	VEOR  V24.B16, V22.B16, V22.B16                   \
	VORR  V22.B16, V15.B16, V15.B16

// There are two kernels, by the same code: one unmasks, one only reads.

#define OF_UNMASK ok+24(FP) // where a result is; not below, where go vet would take it for an operand
#define OF_JUDGE  ok+16(FP)

#define KEY        key+16(FP)
#define OK         OF_UNMASK
#define UNMASK(v)  VEOR V0.B16, v.B16, v.B16
#define STORE_FOUR VST1.P [V4.B16, V5.B16, V6.B16, V7.B16], 64(R0)
#define STORE_ONE  VST1.P [V4.B16], 16(R0)
#define STORE_LAST VST1 [V2.B16], (R6)

// func unmaskNEON(p *byte, n int, key uint32) (ok bool)
TEXT ·unmaskNEON(SB), NOSPLIT, $0-25
#include "neon_arm64.h"

#undef KEY
#undef OK
#undef UNMASK
#undef STORE_FOUR
#undef STORE_ONE
#undef STORE_LAST
#define KEY        ZR
#define OK         OF_JUDGE
#define UNMASK(v)
#define STORE_FOUR ADD $64, R0
#define STORE_ONE  ADD $16, R0
#define STORE_LAST

// func judgeNEON(p *byte, n int) (ok bool)
TEXT ·judgeNEON(SB), NOSPLIT, $0-17
#include "neon_arm64.h"
