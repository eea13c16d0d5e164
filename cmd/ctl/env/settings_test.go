package env

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

const file = "/home/op/.config/concentrator/config.yaml"

func TestSettings(t *testing.T) {
	const profiles = `
tenant: general
token: secret-of-the-general
profile: lab
profiles:
  lab: {addr: "lab:9443", token: "@lab.token", cacert: lab.pem}
  prod: {addr: "prod:9443", cert: me.pem, key: me.key, tenant: acme}
  here: {socket: /run/other.sock}
`
	for _, c := range []struct {
		name, file, flags, env, want, fails string
	}{
		{name: "nothing", want: "output=table"},
		{name: "a flat file", file: "addr: a:1\ntoken: t\noutput: json\n", want: "addr=a:1 token=t output=json"},
		{name: "environment over file", file: "addr: a:1\n", env: "ADDR=b:2 TENANT=x", want: "addr=b:2 tenant=x output=table"},
		{name: "flag over environment", env: "ADDR=b:2", flags: "--addr c:3", want: "addr=c:3 output=table"},
		{name: "a socket over an address that is said later", file: "addr: a:1\n", flags: "--socket /s", want: "socket=/s output=table"},
		{name: "and the other way round", file: "socket: /s\n", env: "ADDR=b:2", want: "addr=b:2 output=table"},
		{name: "the file's profile", file: profiles, want: "addr=lab:9443 token=@lab.token cacert=lab.pem tenant=general output=table"},
		{name: "another one, without the general token", file: profiles, flags: "--profile prod", want: "addr=prod:9443 cert=me.pem key=me.key tenant=acme output=table"},
		{name: "by the environment", file: profiles, env: "PROFILE=here", want: "socket=/run/other.sock tenant=general output=table"},
		{name: "environment over the file's profile", file: profiles, env: "ADDR=b:2", want: "addr=b:2 token=@lab.token cacert=lab.pem tenant=general output=table"},
		{name: "a profile by flag over environment", file: profiles, env: "ADDR=b:2 TENANT=x", flags: "--profile prod", want: "addr=prod:9443 cert=me.pem key=me.key tenant=acme output=table"},
		{name: "a flag over its profile", file: profiles, flags: "--profile prod --tenant y", want: "addr=prod:9443 cert=me.pem key=me.key tenant=y output=table"},
		{name: "no such profile", file: profiles, flags: "--profile prud", fails: `there is no profile "prud" in ` + file + "; there are here, lab, prod"},
		{name: "no profiles", flags: "--profile prod", fails: `there is no profile "prod"`},
		{name: "a wrong key", file: "profiles: {lab: {adr: x}}\n", fails: `profiles: lab: no key "adr"; there are socket, addr`},
		{name: "a wrong key outside", file: "adr: x\n", fails: `no key "adr"; there are profile, profiles, socket`},
		{name: "a wrong form", file: "profiles: [lab]\n", fails: "profiles: no map of names"},
		{name: "a profile of a wrong form", file: "profiles: {lab: x}\n", fails: "profiles: lab: no map of keys"},
		{name: "a number", file: "tenant: 5\n", fails: "tenant: no text; put it in quotes"},
		{name: "profile is no text", file: "profile: [x]\n", fails: "profile: no text"},
		{name: "a wrong output", flags: "--output xml", fails: `"xml" is not one of table`},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := &Env{Home: "/home/op", Getenv: func(key string) string {
				for kv := range strings.FieldsSeq(c.env) {
					if k, v, _ := strings.Cut(kv, "="); "CONC_"+k == key {
						return v
					}
				}
				return ""
			}, ReadFile: func(name string) ([]byte, error) {
				if c.file == "" || name != file {
					return nil, os.ErrNotExist
				}
				return []byte(c.file), nil
			}}
			flags := pflag.NewFlagSet("ctl", pflag.ContinueOnError)
			e.Flags(flags)
			if err := flags.Parse(strings.Fields(c.flags)); err != nil {
				t.Fatal(err)
			}
			err := e.fill()
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("%v, want %s", err, c.fails)
				}
				return
			}
			var got []string
			for _, s := range settings {
				if v := *s.value(e); v != "" {
					got = append(got, s.name+"="+v)
				}
			}
			if err != nil || strings.Join(got, " ") != c.want {
				t.Errorf("%s, %v; want %s", strings.Join(got, " "), err, c.want)
			}
		})
	}
}
