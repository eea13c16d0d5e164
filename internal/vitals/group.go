package vitals

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// groupShare is how much of the control group's memory is the Go runtime's; the rest is for socket buffers and page tables.
const groupShare = 0.9

// groupMemory is the smallest memory.max of the process's control group (version 2) and those above it, in octets; 0: none.
// table is /proc/self/cgroup, root where the groups are mounted.
func groupMemory(table, root string) int64 {
	text, err := os.ReadFile(table)
	if err != nil {
		return 0
	}
	var least int64
	for line := range strings.Lines(string(text)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		for path = filepath.Clean("/" + path); ; path = filepath.Dir(path) {
			text, err := os.ReadFile(filepath.Join(root, path, "memory.max"))
			if n, perr := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && perr == nil && (least == 0 || n < least) {
				least = n
			}
			if path == "/" {
				break
			}
		}
	}
	return least
}
