//go:build !noasm

#include "textflag.h"

// func xorNEON(p *byte, n int, key uint32)
//
// The plan is that of the kernels for amd64: the first and the last vector are loaded before anything is stored, and
// stored after everything else; what lies between is done in aligned vectors, which may run into the first and last
// ones and then write the same bytes again.
TEXT ·xorNEON(SB), NOSPLIT, $0-20
	MOVD  p+0(FP), R0
	MOVD  n+8(FP), R1
	MOVWU key+16(FP), R2

	VDUP R2, V0.S4                     // V0 = key from p
	LSL  $3, R1, R3
	RORW R3, R2, R4
	VDUP R4, V1.S4                     // V1 = key from p+n, and from p+n-16
	ADD  R1, R0, R5
	SUB  $16, R5                       // R5 = address of the last vector
	VLD1 (R0), [V2.B16]
	VLD1 (R5), [V3.B16]
	VEOR V0.B16, V2.B16, V2.B16
	VEOR V1.B16, V3.B16, V3.B16

	ADD $16, R0, R6
	AND $~15, R6                       // R6 = first aligned address after p
	CMP R5, R6
	BHS ends

	SUB  R0, R6, R3
	LSL  $3, R3
	RORW R3, R2, R2
	VDUP R2, V0.S4                     // V0 = key from R6

	SUB $48, R5, R7
	CMP R7, R6
	BHS singles

fours:
	// R6+48 < R5, so all four vectors end before p+n.
	VLD1   (R6), [V4.B16, V5.B16, V6.B16, V7.B16]
	VEOR   V0.B16, V4.B16, V4.B16
	VEOR   V0.B16, V5.B16, V5.B16
	VEOR   V0.B16, V6.B16, V6.B16
	VEOR   V0.B16, V7.B16, V7.B16
	VST1.P [V4.B16, V5.B16, V6.B16, V7.B16], 64(R6)
	CMP    R7, R6
	BLO    fours
	CMP    R5, R6
	BHS    ends

singles:
	VLD1   (R6), [V4.B16]
	VEOR   V0.B16, V4.B16, V4.B16
	VST1.P [V4.B16], 16(R6)
	CMP    R5, R6
	BLO    singles

ends:
	VST1 [V2.B16], (R0)
	VST1 [V3.B16], (R5)
	RET
