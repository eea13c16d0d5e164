package env

import (
	"fmt"
	"strings"

	pb "concentrator/api/gen/concentrator/v1"
)

// Touched says which sessions a change touches: how many, and each one's name, user and outer address; "" if none. would is
// what it says of a dry run, does of a change that is made.
func (*Env) Touched(indent string, dryRun bool, would, does string, list []*pb.Session) string {
	if len(list) == 0 {
		return ""
	}
	if dryRun {
		does = would
	}
	plural := "s"
	if len(list) == 1 {
		plural = ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s %d session%s:\n", indent, does, len(list), plural)
	for _, s := range list {
		fmt.Fprintf(&b, "%s  %s %s %s\n", indent, s.GetName(), Clean(s.GetUser()), s.GetClientAddress())
	}
	return b.String()
}
