//go:build !amd64 || purego

package multibuf

func detect() *kernels { return std }
