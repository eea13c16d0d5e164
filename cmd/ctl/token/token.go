// Package token has the verbs of API tokens. They are not among those of package resource: a token is shown once, when it is
// made, and may stand under a tenant or under none.
package token

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

var columns = []env.Column{
	env.Name("TENANT", 1), env.Name("NAME", 0), env.Field("ROLE", "role"),
	env.Field("DISPLAY NAME", "display_name"), env.Field("EXPIRES", "expire_time"), env.Field("LAST USE", "last_use_time"),
	env.Count("CERTIFICATES", "certificate_fingerprints").OnlyWide(), env.Field("MADE", "create_time").OnlyWide(),
}

// Command makes the noun's command.
func Command(e *env.Env) *cobra.Command {
	return env.Noun("api-token", "Who may call the API, and what", create(e), get(e), list(e), update(e), remove(e), rotate(e))
}

// fullName makes a token's resource name of an argument: a full name, or the last part, below --tenant if that is given.
func fullName(e *env.Env, arg string) string {
	switch {
	case strings.Contains(arg, "/"):
		return arg
	case e.Tenant() == "":
		return "apiTokens/" + arg
	}
	return e.Tenant() + "/apiTokens/" + arg
}

// split cuts a token's name into its parent, "" for one that is bound to no tenant, and its last part.
func split(name string) (parent, id string) {
	i := strings.LastIndexByte(name, '/')
	return strings.TrimSuffix(strings.TrimSuffix(name[:i], "apiTokens"), "/"), name[i+1:]
}

// fields are the flags of create and update.
type fields struct {
	role, displayName, expire string
	certificates              []string
}

func (f *fields) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.role, "role", "", "VIEWER, OPERATOR or ADMIN")
	flags.StringVar(&f.displayName, "display-name", "", "text for people")
	flags.StringVar(&f.expire, "expire-time", "", "when it ends: a time, as 2030-01-31T12:00:00Z, or from now on, as 720h; \"\" is never")
	flags.StringSliceVar(&f.certificates, "certificate-fingerprints", nil,
		"SHA-256 of client certificates of api.tls.client_ca, several by commas")
}

// token makes the message of the flags that were given, and the mask of them.
func (f *fields) token(flags *pflag.FlagSet, now time.Time) (*pb.ApiToken, []string, error) {
	m := &pb.ApiToken{DisplayName: f.displayName, CertificateFingerprints: f.certificates}
	if f.role != "" {
		v, ok := pb.ApiToken_Role_value[strings.ToUpper(f.role)]
		if !ok || v == 0 {
			return nil, nil, fmt.Errorf("%w: --role %q is not VIEWER, OPERATOR or ADMIN", env.ErrUsage, f.role)
		}
		m.Role = pb.ApiToken_Role(v)
	}
	if f.expire != "" {
		at, err := time.Parse(time.RFC3339, f.expire)
		if d, derr := time.ParseDuration(f.expire); derr == nil {
			at, err = now.Add(d), nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%w: --expire-time %q is neither a time nor a duration", env.ErrUsage, f.expire)
		}
		m.ExpireTime = timestamppb.New(at)
	}
	var mask []string
	for _, name := range []string{"role", "display-name", "expire-time", "certificate-fingerprints"} {
		if flags.Changed(name) {
			mask = append(mask, strings.ReplaceAll(name, "-", "_"))
		}
	}
	return m, mask, nil
}

// show prints a token, and once what its holder sends.
func show(e *env.Env, m *pb.ApiToken) error {
	if m.GetToken() == "" {
		return e.Print(m, columns)
	}
	return e.Print(m, append(append([]env.Column(nil), columns...), env.Field("TOKEN (shown only now)", "token")))
}
