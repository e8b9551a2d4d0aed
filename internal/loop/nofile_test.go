package loop_test

const fewFiles = "ZEROFRAME_TEST_FEW_FILES"
func serveWithFewFiles() int { return 0 }
