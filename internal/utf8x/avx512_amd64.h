// The body of the AVX-512 kernels, for whoever has set KEY, OK, STORE and STORE_MASKED.
//
// The first loop takes ASCII. At the first vector, or four, with another byte, nothing of which is stored yet, it goes
// over to the second loop, which judges everything up to the end. It does so at a rune boundary, for ASCII precedes.
//
// Long payloads are done in aligned vectors: the first begins before p, and the last goes on after p+n, under a mask.
// Bytes outside a mask are neither read nor written and cannot fault. Unmasked, they hold bytes of the key, which
// must not be judged.

	MOVQ         p+0(FP), R8
	MOVQ         n+8(FP), SI
	MOVL         KEY, AX
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
	STORE_MASKED(Z17, K1, (R8))
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
	STORE(Z17, (R8))
	STORE(Z18, 64(R8))
	STORE(Z19, 128(R8))
	STORE(Z20, 192(R8))
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
	STORE(Z17, (R8))
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
	STORE_MASKED(Z17, K1, (R8))

ascii:
	MOVB $1, OK
	RET

text:
	// Z17 = the vector at R8 unmasked, to be judged and stored under the mask K1.
	LOAD512
	VPXORQ     Z18, Z18, Z18
	VPXORQ     Z19, Z19, Z19
	STORE_MASKED(Z17, K1, (R8))
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
	STORE(Z17, (R8))
	STORE(Z18, 64(R8))
	KORTESTQ   K2, K2
	JNE        textAll
	STORE(Z21, 128(R8))
	STORE(Z22, 192(R8))
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
	STORE(Z17, 128(R8))
	STORE(Z20, 192(R8))
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
	STORE(Z17, (R8))
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
	STORE_MASKED(Z17, K1, (R8))
	VMOVDQU8.Z Z17, K1, Z17
	VPXORQ     Z18, Z18, Z18
	JUDGE512(Z17, Z20, Z18)
	VMOVDQU8.Z Z18, K1, Z18
	VPORQ      Z18, Z19, Z19

verdict:
	VPTESTMB Z19, Z19, K2
	KORTESTQ K2, K2
	SETEQ    OK
	RET
