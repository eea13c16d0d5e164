package session

import (
	"net/netip"
	"time"

	"concentrator/internal/authz/accounting"
	"concentrator/internal/tenant"
)

// AccountingStatus is how a tenant's accounting records get on.
type AccountingStatus struct {
	Tenant      string    // tenants/{tenant}
	Unsent      int       // records that nobody has acknowledged yet
	UnsentBytes int64     // octets that they take in the file
	Oldest      time.Time // when the oldest of them happened; zero: there is none
	Live        int       // sessions that have begun and not ended
	Sent        uint64    // records acknowledged since start
	Dropped     uint64    // interim records given up for want of room, since start
	Failures    uint64    // deliveries that failed, since start
	LastSent    time.Time // zero: never since start
	LastError   string    // of the last delivery that failed; empty: none did
}

// AccountingKind is what an accounting record tells, RFC 2866 section 5.1.
type AccountingKind string

// The kinds of accounting records.
const (
	AccountingStart   AccountingKind = "START"
	AccountingInterim AccountingKind = "INTERIM"
	AccountingStop    AccountingKind = "STOP"
	AccountingOn      AccountingKind = "ON"
	AccountingOff     AccountingKind = "OFF"
)

// AccountingRecord is one accounting record that waits for its delivery.
type AccountingRecord struct {
	ID         uint64 // orders the records of a tenant; from 1
	Tenant     string // tenants/{tenant}
	Kind       AccountingKind
	Time       time.Time // when it happened
	Session    string    // tenants/{tenant}/sessions/{session}; empty for ON and OFF
	User       string
	Address    netip.Addr // inner
	Duration   time.Duration
	InBytes    uint64 // octets of inner IP packets from the client
	OutBytes   uint64
	InPackets  uint64
	OutPackets uint64
	Reason     tenant.Reason // of a STOP: why the session ended; empty with Crash
	Crash      bool          // of a STOP: the daemon died before the session did
	Attempts   int           // deliveries that failed, since start
}

// AccountingStatus returns the state of accounting of tenants/{tenant}, or of all tenants that have any for "" and
// "tenants/-", sorted by name.
func (m *Manager) AccountingStatus(tenantName string) []AccountingStatus {
	var out []AccountingStatus
	for _, t := range m.cfg.Ledger.Status(ledgerTenant(tenantName)) {
		out = append(out, AccountingStatus{
			Tenant: tenantPrefix + t.Tenant, Unsent: t.Unsent, UnsentBytes: t.UnsentBytes, Oldest: t.Oldest, Live: t.Live,
			Sent: t.Sent, Dropped: t.Dropped, Failures: t.Failures, LastSent: t.LastSent, LastError: printable(t.LastError),
		})
	}
	return out
}

// AccountingUnsent returns up to limit records of tenants/{tenant} that nobody has acknowledged, in order, from the first
// whose ID is over after, and whether there are more.
func (m *Manager) AccountingUnsent(tenantName string, after uint64, limit int) ([]AccountingRecord, bool) {
	records, more := m.cfg.Ledger.Unsent(ledgerTenant(tenantName), after, limit)
	kinds := map[accounting.Status]AccountingKind{
		accounting.Start: AccountingStart, accounting.Interim: AccountingInterim, accounting.Stop: AccountingStop,
		accounting.On: AccountingOn, accounting.Off: AccountingOff,
	}
	out := make([]AccountingRecord, len(records))
	for i, r := range records {
		out[i] = AccountingRecord{
			ID: r.ID, Tenant: tenantPrefix + r.Tenant, Kind: kinds[r.Status], Time: r.Time, Duration: r.Duration,
			InBytes: r.Counters.InBytes, OutBytes: r.Counters.OutBytes,
			InPackets: r.Counters.InPackets, OutPackets: r.Counters.OutPackets,
			Reason: r.Cause, Crash: r.Crash, Attempts: r.Attempts,
		}
		if a := r.Session; a != nil {
			out[i].Session = tenantPrefix + r.Tenant + "/sessions/" + a.SessionID
			out[i].User, out[i].Address = printable(a.User), a.Address
		}
	}
	return out, more
}

// ledgerTenant is a tenant's name as the ledger has it; "": all.
func ledgerTenant(name string) string {
	if name == tenantPrefix+"-" {
		return ""
	}
	return tenantID(name)
}
