package env

import (
	"regexp"
	"strings"
	"unicode"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"concentrator/internal/manifest"
)

// Describe says what went wrong, and what to do next where something can be done.
func Describe(err error) string {
	text := strings.TrimSpace(rpcPrefix.ReplaceAllString(manifest.Describe(err).Error(), ""))
	text = connection.ReplaceAllString(text, "no connection: $1")
	if noGRPC(err) {
		text, _, _ = strings.Cut(text, "\n") // below is the page that came instead
	}
	if hint := next(err); hint != "" {
		text += " (" + hint + ")"
	}
	return text
}

// rpcPrefix is what gRPC puts before the message of a status that stands inside another error.
var rpcPrefix = regexp.MustCompile(`rpc error: code = \w+ desc = `)

// connection is how gRPC tells that there is none.
var connection = regexp.MustCompile(`connection error: desc = "transport: (?:Error while dialing: )?(.*)"`)

// noGRPC says whether what answered does not speak gRPC, as the REST port.
func noGRPC(err error) bool {
	return strings.Contains(status.Convert(err).Message(), "unexpected HTTP status code received from server")
}

// byReason is what to do next, by the reason of the API's error.
var byReason = map[string]string{
	"ETAG_MISMATCH":       "somebody else changed it meanwhile: look at it again, then repeat",
	"RESOURCE_REFERENCED": "change or delete those first",
	"ADDRESSES_LEASED":    "ctl lease list --pool shows who has them, ctl lease release takes them back",
	"RESOURCE_EXPIRED":    "leave --revision out to begin with what there is now",
	"PERMISSION_DENIED":   "it needs a token of a higher role, or one that is not bound to a tenant; ctl api-token list",
	"NO_FILE":             "ctl operation get shows how far it is, and whether it makes a file",
	"READER_STALLED":      "write to a file that takes it faster",
	"TOO_MANY_CAPTURES":   "wait until one of the others has ended",
	"TOO_MANY_WATCHES":    "end some of the others",
	"WATCH_TOO_SLOW":      "go on with --revision and the last one that was printed",
	"STATE_NOT_WRITTEN":   "make room on the daemon's disk; ctl instance describe shows the faults that stand",
	"SHUTTING_DOWN":       "try again when it is back",
	"OPERATION_RUNNING":   "ctl operation list shows it, ctl operation cancel ends it",
	"RATE_LIMITED":        "make fewer calls",
	"INTERNAL":            "the daemon's log says more",
}

// next says what to do about an error; "" if nobody knows.
func next(err error) string {
	st, ok := status.FromError(err)
	if !ok {
		return ""
	}
	hint := byDetails(st)
	for _, d := range st.Details() {
		if d, ok := d.(*errdetails.RetryInfo); ok && d.GetRetryDelay() != nil {
			return strings.TrimPrefix(hint+": try again in "+d.GetRetryDelay().AsDuration().String(), ": ")
		}
	}
	if hint != "" {
		return hint
	}
	if noGRPC(err) {
		return "--addr is the API's gRPC port, api.grpc in the daemon's file, 9443 if it says nothing; this is another"
	}
	switch st.Code() {
	case codes.Unavailable:
		if strings.Contains(st.Message(), "x509:") {
			return "give the API's CA with --cacert; the certificate that the daemon made is tls.crt in its state_dir"
		}
		return "is the daemon running, and is --socket or --addr right?"
	case codes.Unauthenticated:
		return "give --token, or --cert; one that is given may be mistyped, expired, rotated or deleted; on the daemon's machine root needs neither over its socket"
	case codes.Unimplemented:
		return "the daemon is older than this ctl"
	}
	return ""
}

// byDetails says what to do by the reason of a status; "" if it has none, or none that is known.
func byDetails(st *status.Status) string {
	for _, d := range st.Details() {
		if d, ok := d.(*errdetails.ErrorInfo); ok {
			noun := nounOf(d.GetMetadata()["resource"])
			switch {
			case d.GetReason() == "RESOURCE_NOT_FOUND" && eitherScope[noun] && !strings.HasPrefix(d.GetMetadata()["resource"], "tenants/"):
				return "ctl " + noun + " list shows what there is; what is a tenant's needs --tenant"
			case d.GetReason() == "RESOURCE_NOT_FOUND" && noun != "":
				return "ctl " + noun + " list shows what there is"
			case d.GetReason() == "RESOURCE_EXISTS" && noun != "":
				return "ctl " + noun + " update changes it"
			}
			return byReason[d.GetReason()]
		}
	}
	return ""
}

// eitherScope are the nouns that the instance has some of, and each tenant too.
var eitherScope = map[string]bool{"api-token": true, "operation": true, "audit": true}

// nounOf is the noun of ctl for a resource name: radius-server for tenants/acme/radiusServers/one.
func nounOf(name string) string {
	parts := strings.Split(name, "/")
	if len(parts) < 2 {
		return ""
	}
	collection := parts[len(parts)-2]
	if collection == "auditEvents" {
		return "audit"
	}
	var b strings.Builder
	for _, r := range strings.TrimSuffix(collection, "s") {
		if unicode.IsUpper(r) {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
