package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"concentrator/internal/simclient/load"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/eap"
)

// options are the flags that all commands have.
type options struct {
	server, protocol  string
	count, first      int
	user, password    string
	psk, tunnelSecret string
	auth              string
	newPassword       string
	identity          string
	cert, key, caCert string
	certName          string
	cipher, group     string
	pfs, natT         bool
	ikeLife, espLife  time.Duration
	hello             time.Duration
	notice            string // something that was decided for the user
	sourceNet         string
	parallel          int
	rate              float64
	timeout           time.Duration
	serverPID         int
	keyLog            string
	output            string
	quiet             bool
	config            load.Config
}

// goodbye is how long a client waits for the server when it hangs up.
const goodbye = 10 * time.Second

// Logins under way at most where --parallel does not say it. A server counts those of one address.
const (
	parallelPerSource = 8
	maxParallel       = 64
)

func (o *options) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.server, "server", "", "address or name of the server (IPv4)")
	f.StringVar(&o.protocol, "protocol", "L2TP_IPSEC",
		"PPTP, L2TP, L2TP_IPSEC, or several with commas, which clients take in turn; MIX: all three")
	f.IntVar(&o.count, "count", 1, "how many clients")
	f.IntVar(&o.first, "first", 1, "number of the first client")
	f.StringVar(&o.user, "user", "u%d", "login name; %d is the client's number")
	f.StringVar(&o.password, "password", "", "password; %d is the client's number")
	f.StringVar(&o.psk, "psk", "", "pre-shared key of IPsec")
	f.StringVar(&o.tunnelSecret, "tunnel-secret", "", "tunnel secret of L2TP")
	f.StringVar(&o.auth, "auth", "MSCHAPV2", strings.Join(load.Auths(), ", ")+"; PPTP does not encrypt with CHAP and PAP")
	f.StringVar(&o.newPassword, "new-password", "", "takes the place of a password that has expired; %d is the client's number")
	f.StringVar(&o.identity, "identity", "", "what PEAP says in the clear; %d is the client's number (default the login name)")
	f.StringVar(&o.cert, "cert", "", "PEM file with the clients' certificate for EAP_TLS; %d is the client's number")
	f.StringVar(&o.key, "key", "", "PEM file with its key; %d is the client's number (default the file of --cert)")
	f.StringVar(&o.caCert, "cacert", "",
		"PEM file with the authorities of which the EAP server's certificate may be (default any certificate will do)")
	f.StringVar(&o.certName, "cert-name", "", "DNS name that must be in the EAP server's certificate; with --cacert")
	f.StringVar(&o.cipher, "cipher", "AES-128-CBC-SHA1", "of ESP: "+strings.Join(load.Ciphers(), ", "))
	f.StringVar(&o.group, "group", "ecp256", "Diffie-Hellman: "+strings.Join(load.Groups(), ", "))
	f.BoolVar(&o.pfs, "pfs", false, "a Diffie-Hellman for ESP too")
	f.DurationVar(&o.ikeLife, "ike-lifetime", 0, "of ISAKMP SAs; the client makes new ones at 85 to 90 % of it (default 3h)")
	f.DurationVar(&o.espLife, "esp-lifetime", 0, "the same of ESP SAs (default 1h)")
	f.DurationVar(&o.hello, "hello", 0, "silence after which L2TP asks whether the server is alive (default 20s)")
	f.BoolVar(&o.natT, "nat-t", false,
		"IPsec as from behind a NAT: ESP in UDP, a port for each client; else raw ESP, if each client has an address")
	f.StringVar(&o.sourceNet, "source-net", "",
		"network whose addresses the clients send from, in turn; they must be this machine's")
	f.IntVar(&o.parallel, "parallel", 0, "logins under way at most (default 8 for each source address, at most 64)")
	f.Float64Var(&o.rate, "rate", 0, "logins begun a second; 0: as many as go")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "time for one login")
	f.IntVar(&o.serverPID, "server-pid", 0, "process of the server on this machine, whose CPU time is reported")
	f.StringVar(&o.keyLog, "key-log", "", "file that the keys of all sessions are written to, one a line: name, tab, hexadecimal")
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "no progress on stderr")
	_ = cmd.MarkFlagRequired("server") // it is there
}

// read turns the flags into a configuration.
func (o *options) read(ctx context.Context) error {
	c := load.Config{
		User: o.user, Password: o.password, First: o.first, PSK: tenant.Secret(o.psk), PFS: o.pfs, NATT: o.natT,
		IKELifetime: o.ikeLife, ESPLifetime: o.espLife, Hello: o.hello,
	}
	if o.tunnelSecret != "" {
		c.TunnelSecret = tenant.Secret(o.tunnelSecret)
	}
	var err error
	if c.Protocols, err = load.Protocols(o.protocol); err != nil {
		return err
	}
	if err = o.readAuth(&c); err != nil {
		return err
	}
	if c.Cipher, err = load.Cipher(o.cipher); err != nil {
		return err
	}
	if c.Group, err = load.Group(o.group); err != nil {
		return err
	}
	if o.sourceNet != "" {
		network, err := netip.ParsePrefix(o.sourceNet)
		if err != nil {
			return fmt.Errorf("%w: --source-net: %w", errUsage, err)
		}
		if c.Sources, err = load.Sources(network); err != nil {
			return err
		}
		c.Sources = c.Sources[:min(len(c.Sources), max(o.count, 1))]
	}
	if o.count > 1 && len(c.Sources) == 0 && !c.NATT && slices.Contains(c.Protocols, tenant.ProtocolL2TPIPsec) {
		c.NATT = true // raw ESP has no ports that would tell them apart
		o.notice = "the IPsec clients share one address: as behind a NAT; for raw ESP see --source-net"
	}
	switch {
	case !slices.Contains([]string{"text", "json"}, o.output):
		return fmt.Errorf("%w: -o is text or json", errUsage)
	case o.parallel < 0 || o.rate < 0 || o.timeout <= 0 || o.first < 0 || o.serverPID < 0 || o.hello < 0:
		return fmt.Errorf("%w: --parallel, --rate, --timeout, --first, --hello and --server-pid must be positive", errUsage)
	case o.parallel == 0:
		o.parallel = min(parallelPerSource*max(1, len(c.Sources)), maxParallel)
	}
	if c.Server, err = resolve(ctx, o.server); err != nil {
		return err
	}
	o.config = c
	return nil
}

// readAuth reads what the clients log in with.
func (o *options) readAuth(c *load.Config) error {
	var err error
	if c.Auth, c.EAP, err = load.Auth(o.auth); err != nil {
		return err
	}
	c.NewPassword, c.EAP.Identity, c.EAP.TLS.ServerName = o.newPassword, o.identity, o.certName
	tls := slices.ContainsFunc(c.EAP.Methods, func(m byte) bool { return m == eap.TypeTLS || m == eap.TypePEAP })
	switch {
	case o.password == "" && !slices.Contains(c.EAP.Methods, eap.TypeTLS):
		return fmt.Errorf("%w: --auth %s needs --password", errUsage, o.auth)
	case !tls && (o.cert != "" || o.caCert != ""):
		return fmt.Errorf("%w: --cert and --cacert are for EAP_TLS and PEAP", errUsage)
	case o.certName != "" && o.caCert == "":
		return fmt.Errorf("%w: --cert-name needs --cacert", errUsage)
	case o.key != "" && o.cert == "":
		return fmt.Errorf("%w: --key needs --cert", errUsage)
	}
	if o.cert != "" {
		if c.Certificates, err = load.Certificates(o.cert, cmp.Or(o.key, o.cert), o.first, o.count); err != nil {
			return err
		}
	}
	if o.caCert != "" {
		c.EAP.TLS.Roots, err = load.Roots(o.caCert)
	}
	return err
}

// resolve finds the server's IPv4 address.
func resolve(ctx context.Context, name string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return a.Unmap(), nil
	}
	var r net.Resolver
	all, err := r.LookupNetIP(ctx, "ip4", strings.TrimSpace(name))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the server: %w", err)
	}
	return all[0].Unmap(), nil
}
