//go:build !noasm

#include "textflag.h"

// Unmasking and validation in one pass, after Keiser and Lemire, "Validating UTF-8 In Less Than One Instruction Per
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

// func unmaskAVX512(p *byte, n int, key uint32) (ok bool)
//
// The first loop takes ASCII. At the first vector, or four, with another byte, nothing of which is stored yet, it goes
// over to the second loop, which judges everything up to the end. It does so at a rune boundary, for ASCII precedes.
//
// Long payloads are done in aligned vectors: the first begins before p, and the last goes on after p+n, under a mask.
// Bytes outside a mask are neither read nor written and cannot fault. Unmasked, they hold bytes of the key, which
// must not be judged.
TEXT ·unmaskAVX512(SB), NOSPLIT, $0-25
	MOVQ         p+0(FP), R8
	MOVQ         n+8(FP), SI
	MOVL         key+16(FP), AX
	VPBROADCASTD AX, Z16           // Z16 = key from p
	LEAQ         (R8)(SI*1), R10   // R10 = p+n
	CMPQ         SI, $64
	JLE          last

	KXNORQ K1, K1, K1
	CMPQ   SI, $320
	JLT    first

	MOVQ         R8, CX
	ANDL         $63, CX           // CX = bytes between the aligned address and p
	ANDQ         $~63, R8
	MOVQ         $-1, DX
	SHLQ         CX, DX
	KMOVQ        DX, K1
	SHLL         $3, CX
	ROLL         CX, AX
	VPBROADCASTD AX, Z16           // Z16 = key from R8

first:
	VMOVDQU8.Z (R8), K1, Z17
	VPXORD     Z16, Z17, Z17
	VPMOVB2M   Z17, K2
	KTESTQ     K1, K2
	JNE        text
	VMOVDQU8   Z17, K1, (R8)
	KXNORQ     K1, K1, K1
	ADDQ       $64, R8
	LEAQ       -256(R10), R9
	CMPQ       R8, R9
	JA         ones

fours:
	VPXORD     (R8), Z16, Z17
	VPXORD     64(R8), Z16, Z18
	VPXORD     128(R8), Z16, Z19
	VPXORD     192(R8), Z16, Z20
	VPORD      Z17, Z18, Z21
	VPTERNLOGD $0xFE, Z19, Z20, Z21 // Z21 |= Z19 | Z20
	VPMOVB2M   Z21, K2
	KORTESTQ   K2, K2
	JNE        text
	VMOVDQU64  Z17, (R8)
	VMOVDQU64  Z18, 64(R8)
	VMOVDQU64  Z19, 128(R8)
	VMOVDQU64  Z20, 192(R8)
	ADDQ       $256, R8
	CMPQ       R8, R9
	JBE        fours

ones:
	LEAQ -64(R10), R9
	CMPQ R8, R9
	JA   rest

one:
	VPXORD    (R8), Z16, Z17
	VPMOVB2M  Z17, K2
	KORTESTQ  K2, K2
	JNE       text
	VMOVDQU64 Z17, (R8)
	ADDQ      $64, R8
	CMPQ      R8, R9
	JBE       one

rest:
	MOVQ R10, SI
	SUBQ R8, SI
	JEQ  ascii

last:
	// The SI bytes up to the end, at most 64.
	MOVL       $64, CX
	SUBL       SI, CX
	MOVQ       $-1, DX
	SHRQ       CX, DX
	KMOVQ      DX, K1
	VMOVDQU8.Z (R8), K1, Z17
	VPXORD     Z16, Z17, Z17
	VPMOVB2M   Z17, K2
	KTESTQ     K1, K2
	JNE        text
	VMOVDQU8   Z17, K1, (R8)

ascii:
	MOVB $1, ok+24(FP)
	RET

text:
	// Z17 = the vector at R8 unmasked, to be judged and stored under the mask K1.
	LOAD512
	VPXORQ     Z18, Z18, Z18
	VPXORQ     Z19, Z19, Z19
	VMOVDQU8   Z17, K1, (R8)
	VMOVDQU8.Z Z17, K1, Z17
	JUDGE512(Z17, Z18, Z19)
	VMOVDQU8.Z Z19, K1, Z19        // Z19 = mistakes so far
	ADDQ       $64, R8
	CMPQ       R8, R10
	JAE        verdict
	VMOVDQA64  Z17, Z20            // Z20 = the vector before R8
	LEAQ       -256(R10), R9
	CMPQ       R8, R9
	JA         textOnes

textFours:
	VPXORD     (R8), Z16, Z17
	VPXORD     64(R8), Z16, Z18
	VPXORD     128(R8), Z16, Z21
	VPXORD     192(R8), Z16, Z22
	VPORD      Z17, Z18, Z23
	VPTERNLOGD $0xFE, Z21, Z22, Z23
	VPMOVB2M   Z23, K2
	VMOVDQU64  Z17, (R8)
	VMOVDQU64  Z18, 64(R8)
	KORTESTQ   K2, K2
	JNE        textAll
	VMOVDQU64  Z21, 128(R8)
	VMOVDQU64  Z22, 192(R8)
	JUDGE512(Z17, Z20, Z19)        // was what came before complete?
	VMOVDQA64  Z18, Z20            // as good as the last of the four: ASCII
	ADDQ       $256, R8
	CMPQ       R8, R9
	JBE        textFours
	JMP        textOnes

textAll:
	JUDGE512(Z17, Z20, Z19)
	JUDGE512(Z18, Z17, Z19)
	VPXORD    128(R8), Z16, Z17
	VPXORD    192(R8), Z16, Z20
	VMOVDQU64 Z17, 128(R8)
	VMOVDQU64 Z20, 192(R8)
	JUDGE512(Z17, Z18, Z19)
	JUDGE512(Z20, Z17, Z19)
	ADDQ      $256, R8
	CMPQ      R8, R9
	JBE       textFours

textOnes:
	LEAQ -64(R10), R9
	CMPQ R8, R9
	JA   textRest

textOne:
	VPXORD    (R8), Z16, Z17
	VMOVDQU64 Z17, (R8)
	JUDGE512(Z17, Z20, Z19)
	VMOVDQA64 Z17, Z20
	ADDQ      $64, R8
	CMPQ      R8, R9
	JBE       textOne

textRest:
	MOVQ R10, SI
	SUBQ R8, SI
	JEQ  verdict
	MOVL       $64, CX
	SUBL       SI, CX
	MOVQ       $-1, DX
	SHRQ       CX, DX
	KMOVQ      DX, K1
	VMOVDQU8.Z (R8), K1, Z17
	VPXORD     Z16, Z17, Z17
	VMOVDQU8   Z17, K1, (R8)
	VMOVDQU8.Z Z17, K1, Z17
	VPXORQ     Z18, Z18, Z18
	JUDGE512(Z17, Z20, Z18)
	VMOVDQU8.Z Z18, K1, Z18
	VPORQ      Z18, Z19, Z19

verdict:
	VPTESTMB Z19, Z19, K2
	KORTESTQ K2, K2
	SETEQ    ok+24(FP)
	RET

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

// func unmaskAVX2(p *byte, n int, key uint32) (ok bool)
//
// The plan is that of unmaskAVX512. There are no masks: the last vector ends with the payload and overlaps the one
// before it, so that it and the 4 bytes in front of it are loaded before anything is stored, and its bytes are judged
// in part twice.
TEXT ·unmaskAVX2(SB), NOSPLIT, $0-25
	MOVQ p+0(FP), R8
	MOVQ n+8(FP), SI
	MOVL key+16(FP), AX

	VMOVD        AX, X0
	VPBROADCASTD X0, Y0            // Y0 = key from p
	LEAQ         (R8)(SI*1), R10   // R10 = p+n
	LEAQ         (SI*8), CX
	MOVL         AX, DX
	RORL         CX, DX            // DX = key from p+n, the same from any p+n-4*i
	VMOVD        DX, X1
	VPBROADCASTD X1, Y1
	VPXOR        -32(R10), Y1, Y1  // Y1 = last vector

	// R11 = the 4 bytes before the last vector, with zeros for what is before p.
	CMPQ SI, $36
	JLT  near
	MOVL -36(R10), R11
	XORL DX, R11

begin:
	LEAQ -128(R10), R9
	CMPQ R8, R9
	JA   ones

	// Long payloads go on in aligned vectors, the first of which overlaps the one at p.
	VPXOR     (R8), Y0, Y2
	LEAQ      32(R8), DI
	ANDQ      $~31, DI
	MOVQ      DI, CX
	SUBQ      R8, CX
	SHLQ      $3, CX
	RORL      CX, AX
	VMOVD     AX, X3
	VPBROADCASTD X3, Y3            // Y3 = key from DI
	VPXOR     (DI), Y3, Y4
	VPOR      Y2, Y4, Y5
	VPMOVMSKB Y5, CX
	TESTL     CX, CX
	JNE       text
	VMOVDQU   Y2, (R8)
	VMOVDQA   Y4, (DI)
	VMOVDQA   Y3, Y0
	LEAQ      32(DI), R8
	CMPQ      R8, R9
	JA        ones

fours:
	VPXOR     (R8), Y0, Y2
	VPXOR     32(R8), Y0, Y3
	VPXOR     64(R8), Y0, Y4
	VPXOR     96(R8), Y0, Y5
	VPOR      Y2, Y3, Y6
	VPOR      Y4, Y5, Y7
	VPOR      Y6, Y7, Y6
	VPMOVMSKB Y6, CX
	TESTL     CX, CX
	JNE       text
	VMOVDQU   Y2, (R8)
	VMOVDQU   Y3, 32(R8)
	VMOVDQU   Y4, 64(R8)
	VMOVDQU   Y5, 96(R8)
	ADDQ      $128, R8
	CMPQ      R8, R9
	JBE       fours

ones:
	LEAQ -32(R10), R9
	CMPQ R8, R9
	JA   last

one:
	VPXOR     (R8), Y0, Y2
	VPMOVMSKB Y2, CX
	TESTL     CX, CX
	JNE       text
	VMOVDQU   Y2, (R8)
	ADDQ      $32, R8
	CMPQ      R8, R9
	JBE       one

last:
	CMPQ      R8, R10
	JEQ       ascii
	VPMOVMSKB Y1, CX
	TESTL     CX, CX
	JNE       text
	VMOVDQU   Y1, -32(R10)

ascii:
	VZEROUPPER
	MOVB      $1, ok+24(FP)
	RET

near:
	// n is 32 to 35: the bytes before the last vector are p[:n-32].
	MOVL (R8), R11
	XORL AX, R11
	MOVL $36, CX
	SUBL SI, CX
	SHLL $3, CX                    // 8 to 32
	SHLQ CX, R11
	JMP  begin

text:
	// What is before R8 is ASCII, and nothing from R8 is stored.
	LOAD256
	VPXOR X2, X2, X2               // Y2 = the vector before R8
	VPXOR X6, X6, X6               // Y6 = mistakes so far
	LEAQ  -128(R10), R9
	CMPQ  R8, R9
	JA    textOnes

textFours:
	VPXOR      (R8), Y0, Y3
	VPXOR      32(R8), Y0, Y4
	VPXOR      64(R8), Y0, Y5
	VPXOR      96(R8), Y0, Y8
	VPERM2I128 $0x21, Y3, Y2, Y2   // Y2 = last half of the vector before, first half of Y3
	VPOR       Y3, Y4, Y7
	VMOVDQU    Y3, (R8)
	VMOVDQU    Y4, 32(R8)
	VPOR       Y7, Y5, Y7
	VPOR       Y7, Y8, Y7
	VPMOVMSKB  Y7, CX
	TESTL      CX, CX
	JNE        textAll
	VMOVDQU    Y5, 64(R8)
	VMOVDQU    Y8, 96(R8)
	JUDGE256(Y3, Y2, Y6)           // was what came before complete?
	VMOVDQA    Y4, Y2              // as good as the last of the four: ASCII
	ADDQ       $128, R8
	CMPQ       R8, R9
	JBE        textFours
	JMP        textOnes

textAll:
	JUDGE256(Y3, Y2, Y6)
	VPERM2I128 $0x21, Y4, Y3, Y5
	JUDGE256(Y4, Y5, Y6)
	VPXOR      64(R8), Y0, Y3
	VMOVDQU    Y3, 64(R8)
	VPERM2I128 $0x21, Y3, Y4, Y5
	JUDGE256(Y3, Y5, Y6)
	VPXOR      96(R8), Y0, Y2
	VMOVDQU    Y2, 96(R8)
	VPERM2I128 $0x21, Y2, Y3, Y5
	JUDGE256(Y2, Y5, Y6)
	ADDQ       $128, R8
	CMPQ       R8, R9
	JBE        textFours

textOnes:
	LEAQ -32(R10), R9
	CMPQ R8, R9
	JA   textLast

textOne:
	VPXOR      (R8), Y0, Y3
	VMOVDQU    Y3, (R8)
	VPERM2I128 $0x21, Y3, Y2, Y5
	JUDGE256(Y3, Y5, Y6)
	VMOVDQA    Y3, Y2
	ADDQ       $32, R8
	CMPQ       R8, R9
	JBE        textOne

textLast:
	CMPQ        R8, R10
	JEQ         verdict
	VMOVDQU     Y1, -32(R10)
	VMOVD       R11, X5
	VPSLLDQ     $12, X5, X5
	VINSERTI128 $1, X1, Y5, Y5
	JUDGE256(Y1, Y5, Y6)

verdict:
	VPTEST Y6, Y6
	SETEQ  ok+24(FP)
	VZEROUPPER
	RET

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
