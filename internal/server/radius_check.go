package server

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/session"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// testTime bounds a test of a RADIUS server. It is below callTimeout, so that the caller gets an answer that says what
// happened.
const testTime = 25 * time.Second

func (s radiusServerService) TestRadiusServer(
	ctx context.Context, r *concentratorv1.TestRadiusServerRequest,
) (*concentratorv1.TestRadiusServerResponse, error) {
	server, err := find[store.RadiusServer](s.backend, r.GetName())
	if err != nil {
		return nil, err
	}
	var bad fieldErrors
	t := decodeRadiusTest(r, server, &bad)
	if err := bad.err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, testTime)
	defer cancel()
	result, err := s.live.TestRadiusServer(ctx, server.Name, t)
	if err != nil {
		if _, hidden := toStatus(err, ""); !hidden {
			return nil, &resourceError{server.Name, err}
		}
		// What is wrong lies in the server's settings or in the question: the caller must read it.
		about := map[string]string{"resource": server.Name}
		return nil, newStatus(codes.FailedPrecondition, reasonUntestable, err.Error(), about).Err()
	}
	return encodeRadiusTest(result), nil
}

func decodeRadiusTest(
	r *concentratorv1.TestRadiusServerRequest, server *store.RadiusServer, bad *fieldErrors,
) session.RadiusTest {
	t := session.RadiusTest{User: r.GetUser(), Method: tenant.AuthMethod(word(r.GetMethod()))}
	switch {
	case t.User == "" && r.GetPassword() != "":
		bad.add("user", "is missing, and a password is given")
	case t.User == "" && t.Method != "":
		bad.add("user", "is missing, and a method is given")
	case t.User != "" && !server.For(store.RadiusAuthentication):
		bad.add("user", "the server is for accounting only, so it decides about no user")
	}
	if t.User != "" {
		if r.Password == nil {
			bad.add("password", "is missing, and a user is given")
		}
		t.Password = tenant.Secret(r.GetPassword())
	}
	if t.Method == tenant.AuthEAP {
		bad.add("method", "is EAP, must be PAP, CHAP or MSCHAPV2")
	}
	if t.Method == "" && t.User != "" {
		t.Method = tenant.AuthPAP
	}
	return t
}

func encodeRadiusTest(r session.RadiusTestResult) *concentratorv1.TestRadiusServerResponse {
	m := &concentratorv1.TestRadiusServerResponse{
		Reachable:            r.Reachable,
		SecretCheck:          toEnum[concentratorv1.TestRadiusServerResponse_Secret](r.Secret),
		MessageAuthenticator: toEnum[concentratorv1.TestRadiusServerResponse_Signature](r.MessageAuthenticator),
		RoundTripTime:        toDuration(r.RTT),
		StatusServer:         r.StatusServer,
		Reason:               toEnum[concentratorv1.LoginAttempt_Reason](r.Reason),
		Detail:               valid(r.Detail),
		ReplyMessage:         valid(r.Message),
		Attributes:           encodeAttributes(r.Attributes),
	}
	switch {
	case r.Accepted != nil && *r.Accepted:
		m.Verdict = concentratorv1.TestRadiusServerResponse_ACCEPTED
	case r.Accepted != nil:
		m.Verdict = concentratorv1.TestRadiusServerResponse_REFUSED
	}
	return m
}
