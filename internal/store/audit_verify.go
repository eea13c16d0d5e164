package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
)

// AuditReport is what VerifyAudit has found.
type AuditReport struct {
	Checked     int64 // events
	First, Last int64 // sequences, as the trail's head says
	LastHash    Fingerprint
	BadSequence int64  // the first event that is not as it was written; 0: none
	Problem     string // what is wrong; empty: nothing
}

// VerifyAudit recomputes the hash of every event, and holds it against the event after it and the head of the trail. With a
// known hash, unless it is zero, the trail must hold an event with it. Events that are written meanwhile are checked too.
func (s *Store) VerifyAudit(ctx context.Context, known Fingerprint) (AuditReport, error) {
	for range tries {
		r, err := s.verifyAudit(ctx, known)
		if !errors.Is(err, errAuditTrimmed) {
			return r, err
		}
	}
	return AuditReport{}, fmt.Errorf("verify the audit trail: %w", ErrConflict)
}

// errAuditTrimmed begins a verification anew: the oldest events were dropped under it.
var errAuditTrimmed = errors.New("trail was trimmed")

func (s *Store) verifyAudit(ctx context.Context, known Fingerprint) (AuditReport, error) {
	h, _, err := s.auditHead(ctx)
	if errors.Is(err, ErrCorrupt) {
		return AuditReport{Problem: "the head of the trail can't be read"}, nil
	}
	if err != nil {
		return AuditReport{}, err
	}
	v := auditVerifier{next: h.First, hash: h.Base, known: known, found: known == (Fingerprint{}) || known == h.Base}
	r := Range{Start: auditPrefix, End: PrefixEnd(auditPrefix), Limit: auditRead}
	for {
		items, _, more, err := s.kv.List(ctx, r)
		if err != nil {
			return AuditReport{}, fmt.Errorf("verify the audit trail: %w", err)
		}
		for _, item := range items {
			if v.check(item); v.problem != "" {
				break
			}
			r.Start = item.Key + "\x00"
		}
		if more && v.problem == "" {
			continue
		}
		now, _, err := s.auditHead(ctx)
		switch {
		case err != nil:
			return AuditReport{}, err
		case now.First > h.First && (v.problem != "" || v.next < now.First):
			return AuditReport{}, errAuditTrimmed
		case v.problem == "" && now.Last >= v.next && now.Last > h.Last:
			h = now // more were written: read on
			continue
		}
		return v.report(now), nil
	}
}

// auditVerifier is how far a verification has come.
type auditVerifier struct {
	next    int64       // the sequence that must come
	hash    Fingerprint // that it must name as the one before it
	checked int64
	bad     int64  // the first row that is wrong
	problem string // what is wrong with it; empty: none is

	known Fingerprint
	found bool // known, or nothing is known
}

// check holds one row against the one before it.
func (v *auditVerifier) check(item Item) {
	v.bad = v.next
	sequence, ok := auditSequence(item.Key)
	switch {
	case !ok:
		v.problem = fmt.Sprintf("there is a row %q, which is none of the trail", item.Key)
	case sequence > v.next:
		v.problem = fmt.Sprintf("event %d is missing; the next one there is %d", v.next, sequence)
	case sequence < v.next:
		v.bad, v.problem = sequence, fmt.Sprintf("there is an event %d, before the trail's first", sequence)
	}
	if v.problem != "" {
		return
	}
	e, body, err := openAudit(item.Value)
	switch {
	case err != nil:
		v.problem = "it can't be read"
	case sha256.Sum256(body) != e.Hash:
		v.problem = "its hash is not that of what it says"
	case e.Sequence != sequence:
		v.problem = fmt.Sprintf("it says that it is event %d", e.Sequence)
	case e.PreviousHash != v.hash:
		v.problem = fmt.Sprintf("it was not written after event %d as it is now", sequence-1)
	default:
		v.next, v.hash = sequence+1, e.Hash
		v.checked++
		v.found = v.found || e.Hash == v.known
	}
}

// report holds what was read against the head.
func (v *auditVerifier) report(h auditHead) AuditReport {
	r := AuditReport{Checked: v.checked, First: h.First, Last: h.Last, LastHash: h.Hash, Problem: v.problem}
	if r.Problem != "" {
		r.BadSequence = v.bad
	}
	switch {
	case r.Problem != "":
	case v.next <= h.Last:
		r.BadSequence, r.Problem = v.next, fmt.Sprintf("event %d is missing, and so are all up to %d, the last one", v.next, h.Last)
	case v.next > h.Last+1:
		r.BadSequence, r.Problem = h.Last+1, fmt.Sprintf("event %d is there, behind the trail's last", h.Last+1)
	case v.hash != h.Hash:
		r.BadSequence, r.Problem = h.Last, "it is not the event that the head of the trail names as the last one"
	case !v.found:
		r.Problem = "no event has the known hash: the trail was written anew, or the event was dropped when the trail became too large"
	}
	return r
}
