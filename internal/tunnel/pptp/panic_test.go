package pptp_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	client "concentrator/internal/simclient/pptp"
	"concentrator/internal/tunnel/pptp"
	wire "concentrator/internal/wire/pptp"
)

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

// TestPanicEndsItsConnection: one in the work for a control connection ends that one with its calls, and no other.
func TestPanicEndsItsConnection(t *testing.T) {
	for _, deaf := range []bool{false, true} { // deaf: the machine can't say any more that its calls are gone
		h := newHandler()
		h.answer = func(_ pptp.Call, r pptp.CallRequest) (pptp.Answer, bool) {
			if r.SerialNumber == 666 {
				panic("bomb")
			}
			return pptp.Answer{}, false
		}
		var text lockedBuffer
		s := pptp.NewServer(pptp.Config{Log: slog.New(slog.NewTextHandler(&text, nil))}, h)
		addr := listenTCP(t, s, "l")
		good, bad := dial(t, addr, client.Config{}), dial(t, addr, client.Config{})
		goodCall := place(t, good, wire.OutgoingCallRequest{CallID: 1})
		place(t, bad, wire.OutgoingCallRequest{CallID: 2})
		place(t, bad, wire.OutgoingCallRequest{CallID: 4})
		if deaf {
			h.mu.Lock()
			h.panics = 1
			h.mu.Unlock()
		}
		_, _ = bad.Call(t.Context(), wire.OutgoingCallRequest{CallID: 3, SerialNumber: 666})
		<-bad.Done()
		<-h.wake
		<-h.wake
		h.expect(t, []string{"0x4002 LOST_CARRIER", "0x4003 LOST_CARRIER"}, nil)
		if err := good.Echo(t.Context()); err != nil {
			t.Error(err)
		}
		if err := goodCall.Clear(t.Context()); err != nil {
			t.Error(err)
		}
		text.mu.Lock()
		if got := text.String(); !strings.Contains(got, "panic contained") || !strings.Contains(got, "bomb") {
			t.Errorf("logged was %s", got)
		}
		text.mu.Unlock()
	}
}
