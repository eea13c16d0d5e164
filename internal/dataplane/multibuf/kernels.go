package multibuf

// Kernels names the code that is used, for a log line.
func Kernels() string { return "std" }

// Portable makes the package use the standard library from now on, and its result undoes that: for tests and benchmarks.
func Portable() func() { return func() {} }
