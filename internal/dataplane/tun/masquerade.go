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

// removeTable removes the device's table if it is there.
func removeTable(ns *netns.Handle, device string) error {
	conn, err := nftables.New(nftables.WithNetNSFd(ns.FD()))
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	conn.DelTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: tableName(device)})
	if err := conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove nftables table %s: %w", tableName(device), err)
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
	if err := removeTable(ns, device); err != nil || !on {
		return err
	}
	conn, err := nftables.New(nftables.WithNetNSFd(ns.FD()))
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	var name [unix.IFNAMSIZ]byte
	copy(name[:], device)
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: tableName(device)})
	chain := conn.AddChain(&nftables.Chain{
		Name: "postrouting", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name[:]},
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: name[:]},
		&expr.Masq{},
	}})
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("make nftables table %s: %w", tableName(device), err)
	}
	return nil
}
