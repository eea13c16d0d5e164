package session

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

// missedTrailer says how many packets the API did not get rid of in time.
const missedTrailer = "x-concentrator-missed"

func capture(e *env.Env) *cobra.Command {
	var file, side string
	var duration time.Duration
	r := &pb.CaptureSessionRequest{}
	cmd := &cobra.Command{
		Use: "capture NAME -w FILE|-", Short: "Copy the packets of a session into a pcap file, as they pass", Args: env.Args(1, 1),
		Long: `Copies the packets of one session into a file that tcpdump and Wireshark open, until the session ends, a limit is reached or
it is interrupted. The capture stands in the audit trail. At most four run at a time.

--side inner is what the client sends into its network and gets from there. --side outer is what goes over the line: GRE of
PPTP, L2TP in UDP, or ESP, encrypted where it is. IKE and the TCP connection of PPTP are not in it.

  ctl session capture --tenant acme 5f3a -w alice.pcap --duration 5m
  ctl session capture --tenant acme 5f3a -w - | tshark -r -`,
		RunE: e.Verb(func(cmd *cobra.Command, args []string) (err error) {
			if r.Name, err = fullName(e, args[0]); err != nil {
				return err
			}
			if r.Side, err = sideOf(side); err != nil {
				return err
			}
			if cmd.Flags().Changed("duration") {
				r.Duration = durationpb.New(duration)
			}
			switch {
			case file == "" && e.Width(e.Out) == 0:
				file = "-"
			case file == "":
				return fmt.Errorf("%w: -w FILE says where to put the packets; -w - with a pipe behind it hands them on", env.ErrUsage)
			case file == "-" && e.Width(e.Out) > 0:
				return fmt.Errorf("%w: packets are no text for a terminal; name a file, or use a pipe", env.ErrUsage)
			}
			return run(cmd.Context(), e, r, file)
		}),
	}
	f := cmd.Flags()
	f.StringVarP(&file, "write", "w", "", "the file; - for the standard output, which is the default if that is no terminal")
	f.StringVar(&side, "side", "inner", "inner or outer")
	f.DurationVar(&duration, "duration", time.Minute, "how long, 1s to 1h")
	f.Int64Var(&r.MaxBytes, "max-bytes", 0, "how many octets of packets, up to 1 GiB (default 64 MiB)")
	f.Int64Var(&r.MaxPackets, "packets", 0, "how many packets (default no limit)")
	f.Int32Var(&r.SnapLength, "snap", 0, "how many octets of each packet to keep, 20 to 65535 (default all)")
	_ = cmd.RegisterFlagCompletionFunc("side", cobra.FixedCompletions([]string{"inner", "outer"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func sideOf(word string) (pb.CaptureSessionRequest_Side, error) {
	switch strings.ToLower(word) {
	case "inner":
		return pb.CaptureSessionRequest_INNER, nil
	case "outer":
		return pb.CaptureSessionRequest_OUTER, nil
	}
	return 0, fmt.Errorf("%w: --side %q is not inner or outer", env.ErrUsage, word)
}

// run captures into a file, or to the standard output.
func run(ctx context.Context, e *env.Env, r *pb.CaptureSessionRequest, file string) (err error) {
	stream, err := pb.NewSessionServiceClient(e.Conn).CaptureSession(ctx, r)
	if err != nil {
		return err
	}
	first, err := stream.Recv() // comes at once; a refusal leaves the file as it was
	if err != nil {
		return err
	}
	out := e.Out
	if file != "-" {
		f, err := os.OpenFile(file, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		out = f
		defer func() { err = errors.Join(err, f.Close()) }()
	}
	var n counter
	missed, err := receive(ctx, e, stream, first, &n, out, file != "-")
	text := fmt.Sprintf("%d packets, %d octets", n.packets, n.octets)
	if n.packets == 1 {
		text = fmt.Sprintf("1 packet, %d octets", n.octets)
	}
	if file != "-" {
		text = file + ": " + text
	}
	if missed != "" && missed != "0" {
		text += "; " + missed + " more were missed"
	}
	_, perr := fmt.Fprintln(e.Err, text)
	return errors.Join(err, perr)
}

// receive writes what comes until the end, and returns how many packets were missed, if that is known.
func receive(
	ctx context.Context, e *env.Env, stream grpc.ServerStreamingClient[httpbody.HttpBody], m *httpbody.HttpBody,
	n *counter, out io.Writer, show bool,
) (missed string, err error) {
	var p *env.Progress
	if show {
		p = e.Progress("capture", "packets")
		defer p.End()
	}
	for {
		n.count(m.GetData())
		if _, err := out.Write(m.GetData()); err != nil {
			return "", err
		}
		if show {
			p.Set(n.packets, 0, fmt.Sprintf("%sB", env.Octets(float64(n.octets))))
		}
		m, err = stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return strings.Join(stream.Trailer().Get(missedTrailer), ""), nil
		case ctx.Err() != nil: // interrupted: what was taken is whole
			return "", nil
		case err != nil:
			return "", err
		}
	}
}

// Lengths in a pcap file, octets, and where a record header says how much of the packet follows.
const (
	fileHeaderLen   = 24
	recordHeaderLen = 16
	keptAt          = 8
)

// counter counts the packets of a pcap file that comes in pieces.
type counter struct {
	begun           bool
	skip            int // octets until the next record
	head            []byte
	packets, octets int64
}

// count takes the next piece.
func (c *counter) count(piece []byte) {
	if !c.begun {
		c.begun, c.skip = true, fileHeaderLen
	}
	for len(piece) > 0 {
		if n := min(c.skip, len(piece)); n > 0 {
			piece, c.skip = piece[n:], c.skip-n
			continue
		}
		n := min(recordHeaderLen-len(c.head), len(piece))
		c.head, piece = append(c.head, piece[:n]...), piece[n:]
		if len(c.head) == recordHeaderLen {
			c.skip = int(binary.LittleEndian.Uint32(c.head[keptAt:]))
			c.packets++
			c.octets += int64(c.skip)
			c.head = c.head[:0]
		}
	}
}
