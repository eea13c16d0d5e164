package store

import (
	"encoding/json"
	"time"

	"concentrator/internal/tenant"
)

// Operation is tenants/{tenant}/operations/{operation} or operations/{operation}: work that takes longer than a call.
type Operation struct {
	Meta
	Job          string          `json:"job"`   // what it does; a word of the API
	State        OperationState  `json:"state"` // RUNNING also while the daemon is down
	Target       string          `json:"target,omitempty"`
	Caller       string          `json:"caller,omitempty"`
	Done         int64           `json:"done,omitempty"`
	Total        int64           `json:"total,omitempty"`
	Unit         string          `json:"unit,omitempty"`
	Detail       string          `json:"detail,omitempty"`
	Problems     []Problem       `json:"problems,omitempty"` // the first of them
	ProblemCount int64           `json:"problemCount,omitempty"`
	FileSize     int64           `json:"fileSize,omitempty"` // octets; 0: there is no file
	EndTime      time.Time       `json:"endTime,omitzero"`
	Cancelled    bool            `json:"cancelled,omitempty"` // it is to end, even if that takes a restart
	Settings     json.RawMessage `json:"settings,omitempty"`  // of its job, who alone can read them
	Inputs       int             `json:"inputs,omitempty"`    // how many OperationInputs it has
}

// OperationState is where an operation stands.
type OperationState string

// The states.
const (
	OperationRunning   OperationState = "RUNNING"
	OperationSucceeded OperationState = "SUCCEEDED"
	OperationFailed    OperationState = "FAILED"
	OperationCancelled OperationState = "CANCELLED"
)

// Problem is one thing that went wrong in an operation.
type Problem struct {
	Subject string `json:"subject,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

// OperationInput is a piece of what an operation works on, sealed while it waits: at most MaxInput octets.
type OperationInput struct {
	Meta
	Data tenant.Secret `json:"-"`
}

// MaxInput is the length of an OperationInput at most, in octets. Sealed and in JSON, it fits a record.
const MaxInput = 256 << 10

func (*Operation) kind() Kind      { return KindOperation }
func (*OperationInput) kind() Kind { return KindOperationInput }

func (*Operation) secretSlots(map[string][]byte) []secretSlot { return nil }

func (i *OperationInput) secretSlots(map[string][]byte) []secretSlot {
	return []secretSlot{{"data", &i.Data}}
}
