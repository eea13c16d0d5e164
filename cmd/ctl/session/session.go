// Package session has the verbs of live sessions.
package session

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

var columns = []env.Column{
	env.Name("TENANT", 1), env.Name("NAME", 0), env.Field("USER", "user"), env.Field("PROTOCOL", "protocol"),
	env.Field("STATE", "state"), env.Field("CLIENT", "client_address"), env.Field("ADDRESS", "address"),
	env.Field("CIPHER", "cipher"), env.Field("IN", "in_bytes"), env.Field("OUT", "out_bytes"), env.Field("SINCE", "start_time"),
	env.Field("METHOD", "auth_method").OnlyWide(), env.Field("MTU", "mtu").OnlyWide(), env.Field("SHARD", "shard").OnlyWide(),
	env.Field("IDLE", "idle_time").OnlyWide(), env.Field("PROFILE", "profile").OnlyWide(), env.Field("LISTENER", "listener").OnlyWide(),
	env.Field("NAT", "nat_detected").OnlyWide(), env.Field("UP BPS", "rate_limit.up_bps").OnlyWide(),
	env.Field("DOWN BPS", "rate_limit.down_bps").OnlyWide(),
}

// Command makes the noun's command.
func Command(e *env.Env) *cobra.Command {
	return env.Noun("session", "Who is connected", list(e), get(e), watch(e), disconnect(e))
}

// fullName makes a session's resource name of an argument: a full name, or the last part and --tenant.
func fullName(e *env.Env, arg string) (string, error) {
	if strings.HasPrefix(arg, "tenants/") {
		return arg, nil
	}
	if e.Tenant() == "" {
		return "", fmt.Errorf("%w: name the session in full, tenants/{tenant}/sessions/{session}, or give --tenant", env.ErrUsage)
	}
	return e.Tenant() + "/sessions/" + arg, nil
}

// Line shows a session in one line, for watch.
func line(s *pb.Session) string {
	text := fmt.Sprintf("%-14s %s  %s  %s", s.GetState(), s.GetName(), s.GetProtocol(), s.GetClientAddress())
	for _, f := range []struct{ key, value string }{{"user", s.GetUser()}, {"address", s.GetAddress()}, {"cipher", s.GetCipher()}} {
		if f.value != "" {
			text += "  " + f.key + "=" + f.value
		}
	}
	return env.Clean(text)
}
