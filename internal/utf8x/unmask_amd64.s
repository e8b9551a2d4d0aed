//go:build !noasm

#include "textflag.h"

// Unmasking and validation in one pass, and validation alone by the same code without a key and stores, after Keiser and Lemire, "Validating UTF-8 In Less Than One Instruction Per
// Byte" (2021).
//
// A pair of neighbouring bytes is classified by three lookups: of the first byte's high and low half and of the second
// byte's high half. Each answers with the set of mistakes that its half allows, a bit for each, and what all three
// allow is the mistake that the pair makes:
//
//	01  a lead byte, then no continuation
//	02  ASCII, then a continuation
//	04  E0, then 80..9F: overlong
//	08  F4, then 90..BF, or F5..FF, then 90..BF: above U+10FFFF
//	10  ED, then A0..BF: a surrogate
//	20  C0 or C1, then a continuation: overlong
//	40  F0, then 80..8F: overlong; or F5..FF, then 80..8F: above U+10FFFF
//	80  two continuations
//
// Two continuations are right where, and only where, the byte two back begins a rune of three or four bytes (E0 and
// up), or the byte three back one of four (F0 and up). So bit 80 of the mistakes and the top bit of that condition
// must be equal everywhere, and the other bits zero.
//
// What a pair cannot tell is left to the caller: whether the last bytes are a beginning that has no continuation.

DATA classes<>+0x00(SB)/8, $0x0202020202020202 // the first byte's high half: 0..7 ASCII
DATA classes<>+0x08(SB)/8, $0x4915012180808080 // 8..B continuation, C, D, E, F
DATA classes<>+0x10(SB)/8, $0xCBCBCB8B8383A3E7 // the first byte's low half: 0, 1, 2, 3, 4, 5..7
DATA classes<>+0x18(SB)/8, $0xCBCBDBCBCBCBCBCB // 8..F, of which D begins a surrogate
DATA classes<>+0x20(SB)/8, $0x0101010101010101 // the second byte's high half: 0..7 ASCII
DATA classes<>+0x28(SB)/8, $0x01010101BABAAEE6 // 8, 9, A, B, C..F
DATA classes<>+0x30(SB)/4, $0x0F0F0F0F         // the low half of a byte
DATA classes<>+0x34(SB)/4, $0x60606060         // what takes E0 and up, and nothing below, to 80 and up
DATA classes<>+0x38(SB)/4, $0x70707070         // the same for F0
DATA classes<>+0x3C(SB)/4, $0x80808080         // the top bit of a byte
GLOBL classes<>(SB), RODATA|NOPTR, $64

// The top bits again, for an instruction that takes a vector from memory but no part of it.
DATA tops<>+0x00(SB)/8, $0x8080808080808080
DATA tops<>+0x08(SB)/8, $0x8080808080808080
DATA tops<>+0x10(SB)/8, $0x8080808080808080
DATA tops<>+0x18(SB)/8, $0x8080808080808080
GLOBL tops<>(SB), RODATA|NOPTR, $32

// The vectors with the constants of both kernels. AVX-512 has them, and all else, above register 15: so there is no
// upper half to clear for the SSE code that comes after.
#define LOAD512 \
	VBROADCASTI32X4 classes<>+0x00(SB), Z25 \
	VBROADCASTI32X4 classes<>+0x10(SB), Z26 \
	VBROADCASTI32X4 classes<>+0x20(SB), Z27 \
	VPBROADCASTD    classes<>+0x30(SB), Z28 \
	VPBROADCASTD    classes<>+0x34(SB), Z29 \
	VPBROADCASTD    classes<>+0x38(SB), Z30 \
	VPBROADCASTD    classes<>+0x3C(SB), Z31

// JUDGE512 ORs into err the mistakes in cur, before which comes before. It uses Z21 to Z24.
#define JUDGE512(cur, before, err) \
	VALIGNQ    $6, before, cur, Z24 \ // the last 16 bytes of before, the first 48 of cur
	VPALIGNR   $15, Z24, cur, Z21   \ // the byte before each
	VPALIGNR   $14, Z24, cur, Z22   \ // two before
	VPALIGNR   $13, Z24, cur, Z23   \ // three before
	VPSUBUSB   Z29, Z22, Z22        \
	VPSUBUSB   Z30, Z23, Z23        \
	VPTERNLOGQ $0xA8, Z31, Z23, Z22 \ // Z22 = (Z22 | Z23) & 80: here the second continuation is due
	VPSRLW     $4, Z21, Z24         \
	VPANDQ     Z28, Z24, Z24        \
	VPSHUFB    Z24, Z25, Z24        \
	VPANDQ     Z28, Z21, Z21        \
	VPSHUFB    Z21, Z26, Z21        \
	VPSRLW     $4, cur, Z23         \
	VPANDQ     Z28, Z23, Z23        \
	VPSHUFB    Z23, Z27, Z23        \
	VPTERNLOGQ $0x80, Z21, Z24, Z23 \ // Z23 = Z21 & Z24 & Z23
	VPTERNLOGQ $0xF6, Z22, Z23, err   // err |= Z22 ^ Z23

#define LOAD256 \
	VBROADCASTI128 classes<>+0x00(SB), Y9  \
	VBROADCASTI128 classes<>+0x10(SB), Y10 \
	VBROADCASTI128 classes<>+0x20(SB), Y11 \
	VPBROADCASTD   classes<>+0x30(SB), Y12 \
	VPBROADCASTD   classes<>+0x34(SB), Y13 \
	VPBROADCASTD   classes<>+0x38(SB), Y14

// JUDGE256 ORs into err the mistakes in cur. around is the last 16 bytes before cur, then the first 16 of cur; it is
// lost, and Y7, Y8 and Y15 are used.
#define JUDGE256(cur, around, err) \
	VPALIGNR $14, around, cur, Y7      \ // two before each
	VPALIGNR $13, around, cur, Y8      \ // three before
	VPSUBUSB Y13, Y7, Y7               \
	VPSUBUSB Y14, Y8, Y8               \
	VPOR     Y7, Y8, Y7                \
	VPAND    tops<>(SB), Y7, Y7        \ // here the second continuation is due
	VPALIGNR $15, around, cur, around  \ // the byte before
	VPSRLW   $4, around, Y8            \
	VPAND    Y12, Y8, Y8               \
	VPSHUFB  Y8, Y9, Y8                \
	VPAND    Y12, around, around       \
	VPSHUFB  around, Y10, around       \
	VPAND    Y8, around, around        \
	VPSRLW   $4, cur, Y15              \
	VPAND    Y12, Y15, Y15             \
	VPSHUFB  Y15, Y11, Y15             \
	VPAND    Y15, around, around       \
	VPXOR    Y7, around, around        \
	VPOR     around, err, err

// Of each kernel there are two, by the same code: one unmasks, one only reads.

#define OF_UNMASK ok+24(FP) // where a result is; not below, where go vet would take it for an operand
#define OF_JUDGE  ok+16(FP)

#define KEY                        key+16(FP)
#define OK                         OF_UNMASK
#define STORE(v, at)               VMOVDQU64 v, at
#define STORE_MASKED(v, which, at) VMOVDQU8 v, which, at

// func unmaskAVX512(p *byte, n int, key uint32) (ok bool)
TEXT ·unmaskAVX512(SB), NOSPLIT, $0-25
#include "avx512_amd64.h"

#undef STORE
#define STORE(v, at) VMOVDQU v, at

// func unmaskAVX2(p *byte, n int, key uint32) (ok bool)
TEXT ·unmaskAVX2(SB), NOSPLIT, $0-25
#include "avx2_amd64.h"

#undef KEY
#undef OK
#undef STORE
#undef STORE_MASKED
#define KEY                        $0
#define OK                         OF_JUDGE
#define STORE(v, at)
#define STORE_MASKED(v, which, at)

// func judgeAVX512(p *byte, n int) (ok bool)
TEXT ·judgeAVX512(SB), NOSPLIT, $0-17
#include "avx512_amd64.h"

// func judgeAVX2(p *byte, n int) (ok bool)
TEXT ·judgeAVX2(SB), NOSPLIT, $0-17
#include "avx2_amd64.h"

// func unmaskAny(p *byte, n int, key uint32, offset int, s *State) (ok bool)
//
// Vectors or words from both ends overlap in the middle; all are loaded, and
// seen to be ASCII, before any is stored.
TEXT ·unmaskAny(SB), NOSPLIT, $0-41
	MOVQ s+32(FP), BX
	CMPL (BX), $0
	JNE  rest                      // not at a rune boundary
	MOVQ p+0(FP), DI
	MOVQ n+8(FP), SI
	MOVL key+16(FP), AX
	CMPQ SI, $64
	JGT  rest
	MOVQ offset+24(FP), CX
	SHLL $3, CX
	RORL CX, AX                    // AX = key from p
	LEAQ (SI*8), CX
	MOVL AX, DX
	RORL CX, DX                    // DX = key from p+n, the same from any p+n-4*i
	CMPQ SI, $16
	JLT  words

	MOVL   AX, X0
	PSHUFD $0, X0, X0
	MOVL   DX, X1
	PSHUFD $0, X1, X1
	MOVOU  (DI), X2
	MOVOU  -16(DI)(SI*1), X3
	PXOR   X0, X2
	PXOR   X1, X3
	MOVO   X2, X4
	POR    X3, X4
	CMPQ   SI, $32
	JGT    four

	PMOVMSKB X4, R8
	TESTL    R8, R8
	JNE      rest
	MOVOU    X2, (DI)
	MOVOU    X3, -16(DI)(SI*1)
	MOVB     $1, ok+40(FP)
	RET

four:
	MOVOU    16(DI), X5
	MOVOU    -32(DI)(SI*1), X6
	PXOR     X0, X5
	PXOR     X1, X6
	POR      X5, X4
	POR      X6, X4
	PMOVMSKB X4, R8
	TESTL    R8, R8
	JNE      rest
	MOVOU    X2, (DI)
	MOVOU    X5, 16(DI)
	MOVOU    X6, -32(DI)(SI*1)
	MOVOU    X3, -16(DI)(SI*1)
	MOVB     $1, ok+40(FP)
	RET

words:
	CMPQ  SI, $8
	JLT   halves
	MOVQ  AX, R8
	SHLQ  $32, R8
	ORQ   AX, R8
	MOVQ  DX, R9
	SHLQ  $32, R9
	ORQ   DX, R9
	XORQ  (DI), R8
	XORQ  -8(DI)(SI*1), R9
	MOVQ  $0x8080808080808080, R10
	MOVQ  R8, R11
	ORQ   R9, R11
	TESTQ R10, R11
	JNE   rest
	MOVQ  R8, (DI)
	MOVQ  R9, -8(DI)(SI*1)
	MOVB  $1, ok+40(FP)
	RET

halves:
	CMPQ  SI, $4
	JLT   rest
	XORL  (DI), AX
	XORL  -4(DI)(SI*1), DX
	MOVL  AX, R8
	ORL   DX, R8
	TESTL $0x80808080, R8
	JNE   rest
	MOVL  AX, (DI)
	MOVL  DX, -4(DI)(SI*1)
	MOVB  $1, ok+40(FP)
	RET

rest:
	JMP ·unmaskRest(SB)
