package load

import (
	"bytes"
	"fmt"

	"concentrator/internal/simclient/ipsec"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/esphdr"
	wireike "concentrator/internal/wire/ike"
)

// notifyError is what a server says in the clear before there is an SA. Anybody could have sent it, so the engine goes on,
// as a client on a bad network should; a load takes the server's word, as strongSwan does, and need not wait.
type notifyError struct {
	notify wireike.NotifyType
}

// Error implements error.
func (e *notifyError) Error() string { return fmt.Sprintf("IKE: the server says %v", e.notify) }

// reason is what a notify means of a server that has nothing to choose from but pre-shared keys.
func (e *notifyError) reason() tenant.Reason {
	switch e.notify {
	case wireike.NotifyNoProposalChosen:
		return tenant.ReasonNoCommonProposal
	case wireike.NotifyAuthenticationFailed:
		return tenant.ReasonPSKMismatch
	default:
		return tenant.ReasonProtocolError
	}
}

// readNotify finds an error notify in a message from port 500 or 4500 that is not encrypted; nil: there is none.
func readNotify(port uint16, b []byte) error {
	switch port {
	case ipsec.PortIKE:
	case ipsec.PortNATT:
		if !bytes.HasPrefix(b, make([]byte, esphdr.MarkerLen)) {
			return nil
		}
		b = b[esphdr.MarkerLen:]
	default:
		return nil
	}
	h, err := wireike.ParseHeader(b)
	if err != nil || h.Exchange != wireike.ExchangeInformational || h.Encrypted() {
		return nil
	}
	m, err := wireike.ParseMessage(b)
	if err != nil {
		return nil
	}
	body, ok := m.Payloads.Get(wireike.PayloadNotify)
	if !ok {
		return nil
	}
	const firstStatus = 16384 // the types below it are errors, RFC 2408 section 3.14.1
	n, err := wireike.ParseNotify(body)
	if err != nil || n.Type >= firstStatus {
		return nil
	}
	return &notifyError{n.Type}
}
