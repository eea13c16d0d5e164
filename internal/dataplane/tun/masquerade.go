package tun

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/netns"
)

// tableName is the nftables table of a device's own; other tables are other people's.
func tableName(device string) string { return "concentrator_" + device }

// openTables opens nftables in a namespace.
func openTables(ns *netns.Handle) (*nftables.Conn, error) {
	if ns.Own() {
		return nftables.New()
	}
	return nftables.New(nftables.WithNetNSFd(ns.FD()))
}

// hasTable says whether the namespace has an nftables table.
func hasTable(ns *netns.Handle, name string) (bool, error) {
	conn, err := openTables(ns)
	if err != nil {
		return false, fmt.Errorf("open nftables: %w", err)
	}
	_, err = conn.ListTable(name)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for nftables table %s: %w", name, err)
	}
	return true, nil
}

// removeTable removes an nftables table if it is there. It looks first: a change that fails costs the kernel as many
// milliseconds as one that does not.
func removeTable(ns *netns.Handle, name string) error {
	there, err := hasTable(ns, name)
	if err != nil || !there {
		return err
	}
	conn, err := openTables(ns)
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	conn.DelTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: name})
	if err := conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove nftables table %s: %w", name, err)
	}
	return nil
}

// putTable makes an nftables table of one chain with one rule, in the place of what was there under its name, in one
// change.
func putTable(ns *netns.Handle, name string, chain nftables.Chain, rule []expr.Any) error {
	conn, err := openTables(ns)
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	table := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: name}
	conn.AddTable(table) // so that there is one to be deleted
	conn.DelTable(table)
	conn.AddTable(table)
	chain.Table = table
	conn.AddRule(&nftables.Rule{Table: table, Chain: conn.AddChain(&chain), Exprs: rule})
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("make nftables table %s: %w", name, err)
	}
	return nil
}

// setMasquerade makes or removes the table
//
//	table ip concentrator_DEVICE {
//		chain postrouting {
//			type nat hook postrouting priority srcnat;
//			iifname DEVICE oifname != DEVICE masquerade
//		}
//	}
func setMasquerade(ns *netns.Handle, device string, on bool) error {
	if !on {
		return removeTable(ns, tableName(device))
	}
	var name [unix.IFNAMSIZ]byte
	copy(name[:], device)
	return putTable(ns, tableName(device), nftables.Chain{
		Name: "postrouting", Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	}, []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name[:]},
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: name[:]},
		&expr.Masq{},
	})
}
