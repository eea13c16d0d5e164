package accounting

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"concentrator/internal/authz"
	"concentrator/internal/tenant"
)

// What is stored. Names in keys are percent-encoded, so that they hold no slash.
//
//	meta                                       metaForm
//	live/{session}                             liveForm, of a session that lives
//	checkpoint/{number}                        checkpointForm, of some of them
//	record/{ID in hex}/{status}/{tenant}/{session}   recordForm
//
// A key of a record says all that the index holds of it, so that a start with many records need not decode them.
const (
	metaKey          = "meta"
	livePrefix       = "live/"
	checkpointPrefix = "checkpoint/"
	recordPrefix     = "record/"

	maxKey = 1024
)

// ErrCorrupt is wrapped by the error of Open for an item that can't be right; the error names it.
var ErrCorrupt = errors.New("accounting: corrupt item")

// ErrTooNew is wrapped by the error of Open for an item that a newer version of the program wrote.
var ErrTooNew = errors.New("accounting: written by a newer version")

// formVersion is the version of all forms. A value is this number, the CRC-32C of the rest in hex and the form as JSON,
// with spaces between; so a reader knows whether it can read on before it has read anything.
const formVersion = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal makes a value of a form.
func seal(form any) ([]byte, error) {
	b, err := json.Marshal(form)
	if err != nil {
		return nil, fmt.Errorf("encode for the accounting store: %w", err)
	}
	return append(fmt.Appendf(make([]byte, 0, len(b)+16), "%d %08x ", formVersion, crc32.Checksum(b, castagnoli)), b...), nil
}

// check returns the JSON in a value.
func check(value []byte) ([]byte, error) {
	version, rest, _ := bytes.Cut(value, []byte{' '})
	switch n, err := strconv.ParseUint(string(version), 10, 32); {
	case err != nil || n == 0:
		return nil, fmt.Errorf("%w: no version", ErrCorrupt)
	case n > formVersion:
		return nil, fmt.Errorf("%w: version %d", ErrTooNew, n)
	}
	sum, body, ok := bytes.Cut(rest, []byte{' '})
	if want := fmt.Appendf(nil, "%08x", crc32.Checksum(body, castagnoli)); !ok || !bytes.Equal(sum, want) {
		return nil, fmt.Errorf("%w: wrong checksum", ErrCorrupt)
	}
	return body, nil
}

// open decodes a value into a form.
func open(value []byte, form any) error {
	body, err := check(value)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, form); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil
}

// text is a string of any octets: JSON holds it as a string if it is UTF-8, otherwise as an array of its Base64.
type text string

// MarshalJSON implements json.Marshaler.
func (t text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	return json.Marshal([1][]byte{[]byte(t)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		var octets [1][]byte
		err := json.Unmarshal(b, &octets)
		*t = text(octets[0])
		return err
	}
	return json.Unmarshal(b, (*string)(t))
}

// metaForm is stored once.
type metaForm struct {
	NextID uint64 `json:"nextID"` // no record has an ID that is not below this
}

type countersForm struct {
	InBytes    uint64 `json:"inBytes,omitempty"`
	OutBytes   uint64 `json:"outBytes,omitempty"`
	InPackets  uint64 `json:"inPackets,omitempty"`
	OutPackets uint64 `json:"outPackets,omitempty"`
}

type sessionForm struct {
	ID              text           `json:"id,omitempty"`
	Tenant          text           `json:"tenant,omitempty"`
	Protocol        string         `json:"protocol,omitempty"`
	ClientAddress   netip.Addr     `json:"client,omitzero"`
	ListenerAddress netip.Addr     `json:"listener,omitzero"`
	NASPort         uint32         `json:"port,omitempty"`
	TunnelClient    text           `json:"tunnelClient,omitempty"`
	TunnelID        text           `json:"tunnel,omitempty"`
	ClientName      text           `json:"clientName,omitempty"`
	ClientVersion   text           `json:"clientVersion,omitempty"`
	User            text           `json:"user,omitempty"`
	Domain          text           `json:"domain,omitempty"`
	Method          string         `json:"method,omitempty"`
	Local           bool           `json:"local,omitempty"`
	Server          text           `json:"server,omitempty"`
	Address         netip.Addr     `json:"address,omitzero"`
	Routes          []netip.Prefix `json:"routes,omitempty"`
	Class           [][]byte       `json:"class,omitempty"`
	Started         time.Time      `json:"started"`
	InterimInterval time.Duration  `json:"interim,omitempty"`
}

// liveForm is a session that lives, and what was last known of it when it was written.
type liveForm struct {
	Session  sessionForm   `json:"session"`
	Counters countersForm  `json:"counters"`
	Time     time.Time     `json:"time"`
	Age      time.Duration `json:"age,omitempty"` // 0: Time tells
}

// checkpointForm is what some sessions had carried. Sessions in it that don't live any more don't count, nor does what is
// less than another item says.
type checkpointForm struct {
	Sessions []checkpointEntry `json:"sessions"`
}

type checkpointEntry struct {
	ID       text          `json:"id"`
	Counters countersForm  `json:"counters"`
	Time     time.Time     `json:"time"`
	Age      time.Duration `json:"age,omitempty"` // 0: Time tells
}

// recordForm is a Record without what its key says.
type recordForm struct {
	Session  *sessionForm  `json:"session,omitempty"`
	Time     time.Time     `json:"time"`
	Counters countersForm  `json:"counters,omitzero"`
	Duration time.Duration `json:"duration,omitempty"`
	Cause    string        `json:"cause,omitempty"`
	Detail   text          `json:"detail,omitempty"`
	Crash    bool          `json:"crash,omitempty"`
}

func formOf(s *Session) sessionForm {
	return sessionForm{
		ID: text(s.SessionID), Tenant: text(s.Tenant), Protocol: string(s.Protocol),
		ClientAddress: s.ClientAddress, ListenerAddress: s.ListenerAddress, NASPort: s.NASPort,
		TunnelClient: text(s.TunnelClient), TunnelID: text(s.TunnelID),
		ClientName: text(s.ClientName), ClientVersion: text(s.ClientVersion),
		User: text(s.User), Domain: text(s.Domain), Method: string(s.Method), Local: s.Local, Server: text(s.Server),
		Address: s.Address, Routes: s.Routes, Class: s.Class, Started: s.Started, InterimInterval: s.InterimInterval,
	}
}

func (f *sessionForm) session() *Session {
	return &Session{
		Caller: authz.Caller{
			Tenant: string(f.Tenant), SessionID: string(f.ID), Protocol: tenant.Protocol(f.Protocol),
			ClientAddress: f.ClientAddress, ListenerAddress: f.ListenerAddress, NASPort: f.NASPort,
			TunnelClient: string(f.TunnelClient), TunnelID: string(f.TunnelID),
			ClientName: string(f.ClientName), ClientVersion: string(f.ClientVersion),
		},
		User: string(f.User), Domain: string(f.Domain), Method: tenant.AuthMethod(f.Method), Local: f.Local,
		Server: string(f.Server), Address: f.Address, Routes: f.Routes, Class: f.Class, Started: f.Started,
		InterimInterval: f.InterimInterval,
	}
}

// encodeRecord returns the item of r.
func encodeRecord(r *Record) (Item, error) {
	f := recordForm{
		Time: r.Time, Counters: countersForm(r.Counters), Duration: r.Duration,
		Cause: string(r.Cause), Detail: text(r.Detail), Crash: r.Crash,
	}
	key := recordKey{id: r.ID, status: r.Status, tenant: r.Tenant}
	if r.Session != nil {
		s := formOf(r.Session)
		s.ID, s.Tenant = "", "" // the key has them
		f.Session = &s
		key.session = r.Session.SessionID
	}
	value, err := seal(&f)
	return Item{Key: key.String(), Value: value}, err
}

// decodeRecord is the reverse of encodeRecord.
func decodeRecord(key recordKey, value []byte) (Record, error) {
	var f recordForm
	if err := open(value, &f); err != nil {
		return Record{}, err
	}
	r := Record{
		ID: key.id, Status: key.status, Tenant: key.tenant, Time: f.Time, Counters: Counters(f.Counters),
		Duration: f.Duration, Cause: tenant.Reason(f.Cause), Detail: string(f.Detail), Crash: f.Crash,
	}
	if f.Session != nil {
		f.Session.ID, f.Session.Tenant = text(key.session), text(key.tenant)
		r.Session = f.Session.session()
	}
	if (r.Session == nil) != r.Status.barrier() {
		return Record{}, fmt.Errorf("%w: a session is missing, or one too many", ErrCorrupt)
	}
	return r, nil
}

// recordKey is what the key of a record says.
type recordKey struct {
	id      uint64
	status  Status
	tenant  string
	session string // empty with On and Off
}

// String is the key itself.
func (k recordKey) String() string {
	return fmt.Sprintf("%s%016x/%s/%s/%s", recordPrefix, k.id, k.status, url.PathEscape(k.tenant), url.PathEscape(k.session))
}

// parseRecordKey is the reverse of recordKey.String.
func parseRecordKey(key string) (k recordKey, err error) {
	parts := strings.Split(strings.TrimPrefix(key, recordPrefix), "/")
	if len(parts) != 4 {
		return k, fmt.Errorf("%w: wrong key", ErrCorrupt)
	}
	if k.id, err = strconv.ParseUint(parts[0], 16, 64); err != nil {
		return k, fmt.Errorf("%w: wrong ID in the key", ErrCorrupt)
	}
	for s := Start; s <= Off; s++ {
		if s.String() == parts[1] {
			k.status = s
		}
	}
	var errTenant, errSession error
	k.tenant, errTenant = url.PathUnescape(parts[2])
	k.session, errSession = url.PathUnescape(parts[3])
	if errTenant != nil || errSession != nil || k.status == 0 || k.String() != key {
		return k, fmt.Errorf("%w: wrong key", ErrCorrupt)
	}
	return k, nil
}

func liveKey(session string) string { return livePrefix + url.PathEscape(session) }

func checkpointKey(n int) string { return checkpointPrefix + strconv.Itoa(n) }

// checkNames says whether the keys of a session's items can be made.
func checkNames(tenant, session string, barrier bool) error {
	switch {
	case tenant == "", session == "" && !barrier:
		return errors.New("accounting: a record needs the ID of a tenant and of a session")
	case len((recordKey{tenant: tenant, session: session, status: Interim}).String()) > maxKey:
		return errors.New("accounting: the IDs of tenant and session are too long")
	}
	return nil
}
