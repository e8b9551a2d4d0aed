//go:build !noasm

#include "textflag.h"

// All kernels have the same plan. The first and the last vector are loaded and
// XORed before anything is stored, and stored after everything else. What lies
// between is done in vectors, aligned ones if they are wide, which may run into
// the first and last ones: those bytes are then simply written twice with the
// same value. So no length needs a scalar tail and no address an unaligned loop.
// Nothing is stored under a mask: whoever reads the payload next would wait for
// that store to reach the cache.
//
// The key of a vector is the key rotated right by 8 bits per byte of distance
// from p; whole vectors are multiples of 4 bytes and leave it as it is.

// func xorAny(p *byte, n int, key uint32)
//
// It is for every length, and for AVX-512 itself. That uses registers above 15
// alone, so that there is no upper half to clear for the SSE code that comes
// after.
TEXT ·xorAny(SB), NOSPLIT, $0-20
	MOVQ p+0(FP), DI
	MOVQ n+8(FP), SI
	MOVL key+16(FP), AX
	LEAQ (SI*8), CX
	MOVL AX, DX
	RORL CX, DX                    // DX = key from p+n, the same from any p+n-4*i
	CMPQ SI, $16
	JLT  words
	CMPQ SI, $32
	JGT  wide

	// 16 to 32 bytes.
	MOVL   AX, X0
	PSHUFD $0, X0, X0
	MOVL   DX, X1
	PSHUFD $0, X1, X1
	MOVOU  (DI), X2
	MOVOU  -16(DI)(SI*1), X3
	PXOR   X0, X2
	PXOR   X1, X3
	MOVOU  X2, (DI)
	MOVOU  X3, -16(DI)(SI*1)
	RET

words:
	CMPQ SI, $8
	JLT  halves

	// 8 to 15 bytes.
	MOVQ AX, R8
	SHLQ $32, R8
	ORQ  AX, R8
	MOVQ DX, R9
	SHLQ $32, R9
	ORQ  DX, R9
	XORQ (DI), R8
	XORQ -8(DI)(SI*1), R9
	MOVQ R8, (DI)
	MOVQ R9, -8(DI)(SI*1)
	RET

halves:
	CMPQ SI, $4
	JLT  bytes

	// 4 to 7 bytes.
	XORL (DI), AX
	XORL -4(DI)(SI*1), DX
	MOVL AX, (DI)
	MOVL DX, -4(DI)(SI*1)
	RET

bytes:
	// Up to 3 bytes.
	TESTQ SI, SI
	JEQ   none
	XORB  AX, (DI)
	CMPQ  SI, $2
	JLT   none
	RORL  $8, AX
	XORB  AX, 1(DI)
	CMPQ  SI, $3
	JLT   none
	RORL  $8, AX
	XORB  AX, 2(DI)

none:
	RET

wide:
	CMPB ·useAVX512(SB), $0
	JEQ  narrow
	CMPQ SI, $64
	JGT  long

	// 33 to 64 bytes.
	VPBROADCASTD AX, Y16
	VPBROADCASTD DX, Y17
	VPXORD       (DI), Y16, Y16
	VPXORD       -32(DI)(SI*1), Y17, Y17
	VMOVDQU64    Y16, (DI)
	VMOVDQU64    Y17, -32(DI)(SI*1)
	RET

narrow:
	CMPB ·useAVX2(SB), $0
	JEQ  sse
	JMP  ·xorAVX2(SB)

sse:
	JMP ·xorSSE2(SB)

long:
	VPBROADCASTD AX, Z16
	VPBROADCASTD DX, Z17
	VPXORD       (DI), Z16, Z18          // Z18 = first vector
	VPXORD       -64(DI)(SI*1), Z17, Z19 // Z19 = last vector
	LEAQ         -64(DI)(SI*1), R8       // R8 = address of the last vector
	CMPQ         SI, $128
	JLE          ends

	LEAQ         64(DI), R9
	ANDQ         $~63, R9          // R9 = first aligned address after p
	MOVQ         R9, CX
	SUBQ         DI, CX
	SHLQ         $3, CX
	RORL         CX, AX
	VPBROADCASTD AX, Z16           // Z16 = key from R9

	LEAQ -192(R8), R10
	CMPQ R9, R10
	JAE  singles

fours:
	// R9+192 < R8, so all four vectors end before p+n.
	VPXORD    (R9), Z16, Z20
	VPXORD    64(R9), Z16, Z21
	VPXORD    128(R9), Z16, Z22
	VPXORD    192(R9), Z16, Z23
	VMOVDQA64 Z20, (R9)
	VMOVDQA64 Z21, 64(R9)
	VMOVDQA64 Z22, 128(R9)
	VMOVDQA64 Z23, 192(R9)
	ADDQ      $256, R9
	CMPQ      R9, R10
	JB        fours
	CMPQ      R9, R8
	JAE       ends

singles:
	VPXORD    (R9), Z16, Z20
	VMOVDQA64 Z20, (R9)
	ADDQ      $64, R9
	CMPQ      R9, R8
	JB        singles

ends:
	VMOVDQU64 Z18, (DI)
	VMOVDQU64 Z19, (R8)
	RET

// func xorAVX2(p *byte, n int, key uint32)
TEXT ·xorAVX2(SB), NOSPLIT, $0-20
	MOVQ p+0(FP), DI
	MOVQ n+8(FP), SI
	MOVL key+16(FP), AX

	VMOVD        AX, X0
	VPBROADCASTD X0, Y0            // Y0 = key from p
	LEAQ         (SI*8), CX
	MOVL         AX, DX
	RORL         CX, DX
	VMOVD        DX, X1
	VPBROADCASTD X1, Y1            // Y1 = key from p+n, and from p+n-32
	VPXOR        (DI), Y0, Y2          // Y2 = first vector
	VPXOR        -32(DI)(SI*1), Y1, Y3 // Y3 = last vector

	LEAQ -32(DI)(SI*1), R8         // R8 = address of the last vector
	LEAQ 32(DI), R9
	ANDQ $~31, R9                  // R9 = first aligned address after p
	CMPQ R9, R8
	JAE  ends

	MOVQ         R9, CX
	SUBQ         DI, CX
	SHLQ         $3, CX
	RORL         CX, AX
	VMOVD        AX, X0
	VPBROADCASTD X0, Y0            // Y0 = key from R9

	LEAQ -96(R8), R10
	CMPQ R9, R10
	JAE  singles

fours:
	// R9+96 < R8, so all four vectors end before p+n.
	VPXOR   (R9), Y0, Y4
	VPXOR   32(R9), Y0, Y5
	VPXOR   64(R9), Y0, Y6
	VPXOR   96(R9), Y0, Y7
	VMOVDQA Y4, (R9)
	VMOVDQA Y5, 32(R9)
	VMOVDQA Y6, 64(R9)
	VMOVDQA Y7, 96(R9)
	ADDQ    $128, R9
	CMPQ    R9, R10
	JB      fours
	CMPQ    R9, R8
	JAE     ends

singles:
	VPXOR   (R9), Y0, Y4
	VMOVDQA Y4, (R9)
	ADDQ    $32, R9
	CMPQ    R9, R8
	JB      singles

ends:
	VMOVDQU Y2, (DI)
	VMOVDQU Y3, (R8)
	VZEROUPPER
	RET

// func xorSSE2(p *byte, n int, key uint32)
TEXT ·xorSSE2(SB), NOSPLIT, $0-20
	MOVQ p+0(FP), DI
	MOVQ n+8(FP), SI
	MOVL key+16(FP), AX

	LEAQ   (SI*8), CX
	MOVL   AX, DX
	RORL   CX, DX
	MOVL   AX, X0
	PSHUFD $0, X0, X0              // X0 = key from p
	MOVL   DX, X1
	PSHUFD $0, X1, X1              // X1 = key from p+n, and from p+n-16
	MOVOU  -16(DI)(SI*1), X2
	PXOR   X1, X2                  // X2 = last vector

	LEAQ -16(DI)(SI*1), R8         // R8 = address of the last vector
	LEAQ -48(R8), R10
	CMPQ DI, R10
	JAE  singles

fours:
	// DI+48 < R8, so all four vectors end before p+n.
	MOVOU (DI), X4
	MOVOU 16(DI), X5
	MOVOU 32(DI), X6
	MOVOU 48(DI), X7
	PXOR  X0, X4
	PXOR  X0, X5
	PXOR  X0, X6
	PXOR  X0, X7
	MOVOU X4, (DI)
	MOVOU X5, 16(DI)
	MOVOU X6, 32(DI)
	MOVOU X7, 48(DI)
	ADDQ  $64, DI
	CMPQ  DI, R10
	JB    fours

singles:
	CMPQ  DI, R8
	JAE   end
	MOVOU (DI), X4
	PXOR  X0, X4
	MOVOU X4, (DI)
	ADDQ  $16, DI
	JMP   singles

end:
	MOVOU X2, (R8)
	RET
