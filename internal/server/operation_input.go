package server

import (
	"fmt"
	"strings"

	"concentrator/internal/store"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
)

// inputName is the name of the record that holds the i-th piece of an operation's input.
func inputName(operation string, i int) string {
	cut := strings.LastIndex(operation, "operations/")
	return fmt.Sprintf("%soperationInputs/%s-%02d", operation[:cut], operation[cut+len("operations/"):], i)
}

// inputOf is the operation that a record of input belongs to.
func inputOf(input string) string {
	name := strings.Replace(input, "operationInputs/", "operations/", 1)
	return name[:strings.LastIndexByte(name, '-')]
}

// keepInput stores what an operation is to work on, in pieces, before the operation is stored.
func (o *operations) keepInput(r *running, input []byte) error {
	for len(input) > 0 {
		n := min(len(input), store.MaxInput)
		piece := &store.OperationInput{Data: tenant.Secret(input[:n])}
		piece.Name = inputName(r.record.Name, r.record.Inputs)
		if err := store.Create(o.store, piece); err != nil {
			o.forgetInput(&r.record)
			return &resourceError{r.tenant(), err}
		}
		r.record.Inputs++
		input = input[n:]
	}
	return nil
}

// forgetInput removes the input of an operation that ended, or was not begun.
func (o *operations) forgetInput(rec *store.Operation) {
	for i := range rec.Inputs {
		o.forget(inputName(rec.Name, i))
	}
}

func (o *operations) forget(input string) {
	if err := store.Delete[store.OperationInput](o.store, input, ""); err != nil && !isNotFound(err) {
		o.log.Warn("input of an operation not removed", telemetry.Resource, input, telemetry.Error, err.Error())
	}
}
