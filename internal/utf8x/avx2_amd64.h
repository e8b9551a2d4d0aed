// The body of the AVX2 kernels, for whoever has set KEY, OK and STORE.
//
// The plan is that of avx512_amd64.h. There are no masks: the last vector ends with the payload and overlaps the one
// before it, so that it and the 4 bytes in front of it are loaded before anything is stored, and its bytes are judged
// in part twice.

	MOVQ p+0(FP), R8
	MOVQ n+8(FP), SI
	MOVL KEY, AX

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
	STORE(Y2, (R8))
	STORE(Y4, (DI))
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
	STORE(Y2, (R8))
	STORE(Y3, 32(R8))
	STORE(Y4, 64(R8))
	STORE(Y5, 96(R8))
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
	STORE(Y2, (R8))
	ADDQ      $32, R8
	CMPQ      R8, R9
	JBE       one

last:
	CMPQ      R8, R10
	JEQ       ascii
	VPMOVMSKB Y1, CX
	TESTL     CX, CX
	JNE       text
	STORE(Y1, -32(R10))

ascii:
	VZEROUPPER
	MOVB      $1, OK
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
	STORE(Y3, (R8))
	STORE(Y4, 32(R8))
	VPOR       Y7, Y5, Y7
	VPOR       Y7, Y8, Y7
	VPMOVMSKB  Y7, CX
	TESTL      CX, CX
	JNE        textAll
	STORE(Y5, 64(R8))
	STORE(Y8, 96(R8))
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
	STORE(Y3, 64(R8))
	VPERM2I128 $0x21, Y3, Y4, Y5
	JUDGE256(Y3, Y5, Y6)
	VPXOR      96(R8), Y0, Y2
	STORE(Y2, 96(R8))
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
	STORE(Y3, (R8))
	VPERM2I128 $0x21, Y3, Y2, Y5
	JUDGE256(Y3, Y5, Y6)
	VMOVDQA    Y3, Y2
	ADDQ       $32, R8
	CMPQ       R8, R9
	JBE        textOne

textLast:
	CMPQ        R8, R10
	JEQ         verdict
	STORE(Y1, -32(R10))
	VMOVD       R11, X5
	VPSLLDQ     $12, X5, X5
	VINSERTI128 $1, X1, Y5, Y5
	JUDGE256(Y1, Y5, Y6)

verdict:
	VPTEST Y6, Y6
	SETEQ  OK
	VZEROUPPER
	RET
