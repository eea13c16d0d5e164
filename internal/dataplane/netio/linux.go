package netio

import (
	"errors"

	"concentrator/internal/dataplane/netns"
	"concentrator/internal/dataplane/tun"
)

// Linux is the Opener of the running kernel. It needs CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and, for namespaces,
// CAP_SYS_ADMIN.
type Linux struct {
	// NoOffload sends datagrams one by one, without UDP_SEGMENT.
	NoOffload bool
}

var _ Opener = Linux{}

// RemoveNamespace implements Opener.
func (Linux) RemoveNamespace(name string) error {
	if err := netns.Remove(name); err != nil && !errors.Is(err, netns.ErrNotOurs) {
		return err
	}
	return nil
}

// OpenTUN implements Opener.
func (Linux) OpenTUN(spec tun.Spec) (Device, error) {
	d, err := tun.Open(spec)
	if err != nil {
		return nil, err
	}
	return d, nil
}
