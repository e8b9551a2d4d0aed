// The body of the NEON kernels, for whoever has set KEY, OK, UNMASK and the STOREs, which step over what they store.
//
// The first loop takes ASCII. At the first vector, or four, with another byte, nothing of which is stored yet, it goes
// over to the second loop, which judges everything up to the end. It does so at a rune boundary, for ASCII precedes.
//
// The last vector ends with the payload and overlaps the one before it, so that it and the 4 bytes in front of it are
// loaded before anything is stored, and its bytes are judged in part twice.

	MOVD  p+0(FP), R0
	MOVD  n+8(FP), R1
	MOVWU KEY, R2

	VDUP  R2, V0.S4                    // V0 = key from p
	LSL   $3, R1, R3
	RORW  R3, R2, R4                   // R4 = key from p+n, the same from any p+n-4*i
	VDUP  R4, V1.S4
	ADD   R1, R0, R5                   // R5 = p+n
	SUB   $16, R5, R6                  // R6 = address of the last vector
	VLD1  (R6), [V2.B16]
	VEOR  V1.B16, V2.B16, V2.B16       // V2 = last vector
	MOVWU -20(R5), R7
	EORW  R4, R7                       // R7 = the 4 bytes before it
	MOVD  $0x8080808080808080, R9

	SUB $64, R5, R8
	CMP R8, R0
	BHI ones

fours:
	VLD1   (R0), [V4.B16, V5.B16, V6.B16, V7.B16]
	UNMASK(V4)
	UNMASK(V5)
	UNMASK(V6)
	UNMASK(V7)
	VORR   V4.B16, V5.B16, V22.B16
	VORR   V6.B16, V7.B16, V23.B16
	VORR   V22.B16, V23.B16, V22.B16
	VMOV   V22.D[0], R10
	VMOV   V22.D[1], R11
	ORR    R11, R10
	TST    R9, R10
	BNE    text
	STORE_FOUR
	CMP    R8, R0
	BLS    fours

ones:
	CMP R6, R0
	BHI last

one:
	VLD1   (R0), [V4.B16]
	UNMASK(V4)
	VMOV   V4.D[0], R10
	VMOV   V4.D[1], R11
	ORR    R11, R10
	TST    R9, R10
	BNE    text
	STORE_ONE
	CMP    R6, R0
	BLS    one

last:
	CMP  R5, R0
	BEQ  ascii
	VMOV V2.D[0], R10
	VMOV V2.D[1], R11
	ORR  R11, R10
	TST  R9, R10
	BNE  text
	STORE_LAST

ascii:
	MOVD $1, R10
	MOVB R10, OK
	RET

text:
	// What is before R0 is ASCII, and nothing from R0 is stored.
	MOVD   $classes<>(SB), R12
	VLD1.P 64(R12), [V16.B16, V17.B16, V18.B16, V19.B16]
	VLD1   (R12), [V20.B16]
	VMOVI  $15, V21.B16
	VEOR   V12.B16, V12.B16, V12.B16   // V12 = the vector before R0
	VEOR   V13.B16, V13.B16, V13.B16   // V13 = the high halves of its bytes
	VEOR   V15.B16, V15.B16, V15.B16   // V15 = mistakes so far
	CMP    R8, R0
	BHI    textOnes

textFours:
	VLD1   (R0), [V4.B16, V5.B16, V6.B16, V7.B16]
	UNMASK(V4)
	UNMASK(V5)
	UNMASK(V6)
	UNMASK(V7)
	STORE_FOUR
	VORR   V4.B16, V5.B16, V22.B16
	VORR   V6.B16, V7.B16, V23.B16
	VORR   V22.B16, V23.B16, V22.B16
	VMOV   V22.D[0], R10
	VMOV   V22.D[1], R11
	ORR    R11, R10
	JUDGE(V4, V26, V12, V13)           // also: was what came before complete?
	TST    R9, R10
	BEQ    textNext                    // V12 stays: it ends complete, as ASCII does
	JUDGE(V5, V27, V4, V26)
	JUDGE(V6, V28, V5, V27)
	JUDGE(V7, V13, V6, V28)
	VORR   V7.B16, V7.B16, V12.B16

textNext:
	CMP R8, R0
	BLS textFours

textOnes:
	CMP R6, R0
	BHI textLast

textOne:
	VLD1   (R0), [V4.B16]
	UNMASK(V4)
	STORE_ONE
	JUDGE(V4, V26, V12, V13)
	VORR   V4.B16, V4.B16, V12.B16
	VORR   V26.B16, V26.B16, V13.B16
	CMP    R6, R0
	BLS    textOne

textLast:
	CMP   R5, R0
	BEQ   verdict
	STORE_LAST
	VEOR  V12.B16, V12.B16, V12.B16
	VMOV  R7, V12.S[3]
	VUSHR $4, V12.B16, V13.B16
	JUDGE(V2, V26, V12, V13)

verdict:
	VMOV V15.D[0], R10
	VMOV V15.D[1], R11
	ORR  R11, R10
	CMP  $0, R10
	CSET EQ, R10
	MOVB R10, OK
	RET
