// Package server is the control API: one file per service, and the doors through which callers come.
//
// It owns the API's listeners (gRPC over TLS, REST over TLS, the unix socket), their certificate and token, who may call
// what (permission.go has a row for every method, authorize.go holds each call against it and against the tenant that its
// caller is bound to, keyring.go knows the stored API tokens, reserved.go what a tenant may not change of itself, quota.go
// how often it may call), the rules for what a resource may hold (those of one field stand in the proto files:
// validate.go), and the translation between the API's messages and the records of internal/store. It is the only writer of
// the store: what a record must not hold in view of other records (overlapping addresses, dangling references) is checked
// under one lock.
//
// The daemon builds one Server, calls Serve once and, with Dial, uses the API itself (serve --apply). REST goes through
// the same in-process connection, so that every call passes the same interceptors.
//
// Goroutines: one per listener, and those of the gRPC and HTTP servers, one per call.
//
// It follows google.aip.dev: AIP-122 (names), 131 to 135 (standard methods), 132 (order_by), 154 (etags), 155
// (request_id), 158 (pages), 160 (filters), 161 (masks), 163 (validate_only) and 193 (errors).
package server
