package utf8x

// Kernels returns the names of the implementations that this build has for this processor, the one in use first.
func Kernels() []string { return append(vectorKernels(), portable) }

// Force makes Unmask, Next and Valid use the one of Kernels that is named so, until the next call. It is for tests and
// fuzzing: no other goroutine may call them meanwhile.
func Force(name string) { forceKernel(name) }

const portable = "portable"
