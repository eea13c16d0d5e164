// Package token has the verbs of API tokens that are not as those of other nouns: a token is shown once, when it is made.
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
	"concentrator/cmd/ctl/resource"
)

var noun = resource.ByName("api-token")

// Command makes the noun's command.
func Command(e *env.Env) *cobra.Command {
	return noun.Command(e, create(e), update(e), noun.Delete(e), rotate(e))
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
		return e.Print(m, noun.Columns)
	}
	return e.Print(m, append(append([]env.Column(nil), noun.Columns...), env.Field("TOKEN (shown only now)", "token")))
}
