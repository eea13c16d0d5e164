//go:build interop

// Command askdhcp does in a guest what the DHCP clients of Windows and macOS do on a PPP link, for which no package of
// Debian has a program: it broadcasts messages from port 68 of an interface, one after the other, and prints who has answered
// what. What a message says is its caller's business.
//
//	askdhcp [-no-checksum] INTERFACE ADDRESS HEX...
package main

import (
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long an answer may take.
const patience = 3 * time.Second

func main() {
	noChecksum := flag.Bool("no-checksum", false, "send UDP without a checksum")
	flag.Parse()
	if flag.NArg() < 3 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Arg(0), flag.Arg(1), flag.Args()[2:], *noChecksum); err != nil {
		fmt.Fprintln(os.Stderr, "askdhcp:", err)
		os.Exit(1)
	}
}

func run(device, address string, messages []string, noChecksum bool) error {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		outer := c.Control(func(fd uintptr) {
			err = unix.BindToDevice(int(fd), device)
			if err == nil { // charon has the port too, for its DHCP plugin
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			}
			if err == nil && noChecksum {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1)
			}
		})
		return errors.Join(outer, err)
	}}
	p, err := lc.ListenPacket(context.Background(), "udp4", net.JoinHostPort(address, "68"))
	if err != nil {
		return err
	}
	return errors.Join(ask(p, messages), p.Close())
}

func ask(p net.PacketConn, messages []string) error {
	for _, text := range messages {
		m, err := hex.DecodeString(text)
		if err != nil {
			return err
		}
		if _, err := p.WriteTo(m, &net.UDPAddr{IP: net.IPv4bcast, Port: 67}); err != nil {
			return err
		}
		if err := p.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		answer := make([]byte, 2048)
		n, from, err := p.ReadFrom(answer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			fmt.Println("nobody")
			continue
		}
		if err != nil {
			return err
		}
		fmt.Println(from, hex.EncodeToString(answer[:n]))
	}
	return nil
}
