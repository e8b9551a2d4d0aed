//go:build !noasm

#include "textflag.h"

// Both kernels have the same plan. The first and the last vector are loaded and
// XORed before anything is stored, and stored after everything else. What lies
// between is done in aligned vectors, which may run into the first and last
// ones: those bytes are then simply written twice with the same value. So no
// length needs a scalar tail and no address an unaligned loop.
//
// The key of a vector is the key rotated right by 8 bits per byte of distance
// from p; whole vectors are multiples of 4 bytes and leave it as it is.
//
// Vector 8 gathers the OR of everything unmasked; the top bits of its bytes are
// the verdict.

// func unmaskAVX2(p *byte, n int, key uint32) (ascii bool)
TEXT ·unmaskAVX2(SB), NOSPLIT, $0-25
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
	VPOR         Y2, Y3, Y8

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
	VPOR    Y4, Y5, Y4
	VPOR    Y6, Y7, Y6
	VPOR    Y4, Y6, Y4
	VPOR    Y4, Y8, Y8
	ADDQ    $128, R9
	CMPQ    R9, R10
	JB      fours
	CMPQ    R9, R8
	JAE     ends

singles:
	VPXOR   (R9), Y0, Y4
	VMOVDQA Y4, (R9)
	VPOR    Y4, Y8, Y8
	ADDQ    $32, R9
	CMPQ    R9, R8
	JB      singles

ends:
	VMOVDQU   Y2, (DI)
	VMOVDQU   Y3, (R8)
	VPMOVMSKB Y8, AX
	VZEROUPPER
	TESTL     AX, AX
	SETEQ     ascii+24(FP)
	RET

// func unmaskAVX512(p *byte, n int, key uint32) (ascii bool)
TEXT ·unmaskAVX512(SB), NOSPLIT, $0-25
	MOVQ p+0(FP), DI
	MOVQ n+8(FP), SI
	MOVL key+16(FP), AX

	VPBROADCASTD AX, Z0            // Z0 = key from p
	CMPQ         SI, $64
	JGT          long

	// Up to 64 bytes: one vector under a mask of n low bits. Bytes outside
	// the mask are neither read nor written, and cannot fault.
	MOVL       $64, CX
	SUBL       SI, CX
	MOVQ       $-1, DX
	SHRQ       CX, DX
	KMOVQ      DX, K1
	VMOVDQU8.Z (DI), K1, Z1
	VPXORD     Z0, Z1, Z1
	VMOVDQU8   Z1, K1, (DI)

	// Outside the mask Z1 holds bytes of the key, which must not be judged.
	VPMOVB2M Z1, K2
	KTESTQ   K1, K2
	SETEQ    ascii+24(FP)
	VZEROUPPER
	RET

long:
	LEAQ         (SI*8), CX
	MOVL         AX, DX
	RORL         CX, DX
	VPBROADCASTD DX, Z1            // Z1 = key from p+n, and from p+n-64
	VPXORD       (DI), Z0, Z2      // Z2 = first vector
	VPXORD       -64(DI)(SI*1), Z1, Z3 // Z3 = last vector
	VPORD        Z2, Z3, Z8

	LEAQ -64(DI)(SI*1), R8         // R8 = address of the last vector
	LEAQ 64(DI), R9
	ANDQ $~63, R9                  // R9 = first aligned address after p
	CMPQ R9, R8
	JAE  ends

	MOVQ         R9, CX
	SUBQ         DI, CX
	SHLQ         $3, CX
	RORL         CX, AX
	VPBROADCASTD AX, Z0            // Z0 = key from R9

	LEAQ -192(R8), R10
	CMPQ R9, R10
	JAE  singles

fours:
	// R9+192 < R8, so all four vectors end before p+n.
	VPXORD     (R9), Z0, Z4
	VPXORD     64(R9), Z0, Z5
	VPXORD     128(R9), Z0, Z6
	VPXORD     192(R9), Z0, Z7
	VMOVDQA64  Z4, (R9)
	VMOVDQA64  Z5, 64(R9)
	VMOVDQA64  Z6, 128(R9)
	VMOVDQA64  Z7, 192(R9)
	VPTERNLOGD $0xFE, Z4, Z5, Z8   // Z8 |= Z4 | Z5
	VPTERNLOGD $0xFE, Z6, Z7, Z8
	ADDQ       $256, R9
	CMPQ       R9, R10
	JB         fours
	CMPQ       R9, R8
	JAE        ends

singles:
	VPXORD    (R9), Z0, Z4
	VMOVDQA64 Z4, (R9)
	VPORD     Z4, Z8, Z8
	ADDQ      $64, R9
	CMPQ      R9, R8
	JB        singles

ends:
	VMOVDQU64 Z2, (DI)
	VMOVDQU64 Z3, (R8)
	VPMOVB2M  Z8, K1
	KORTESTQ  K1, K1
	SETEQ     ascii+24(FP)
	VZEROUPPER
	RET
