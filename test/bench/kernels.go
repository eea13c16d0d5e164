package main

import "concentrator/internal/dataplane/multibuf"

// kernels names the crypto code that was chosen for this CPU.
func kernels() string { return multibuf.Kernels() }
