//go:build !amd64 || purego

package multibuf

func available() []*kernels { return []*kernels{std} }
