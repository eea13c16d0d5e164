package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

// tokenAPI answers for one API token, and keeps what it was asked.
type tokenAPI struct {
	grpc.ClientConnInterface
	asked []proto.Message
	bound bool // the caller is bound to a tenant
}

func (a *tokenAPI) Invoke(_ context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	req := args.(proto.Message)
	a.asked = append(a.asked, req)
	token := &pb.ApiToken{Name: "tenants/acme/apiTokens/ci", Role: pb.ApiToken_OPERATOR, ExpireTime: timestamppb.New(exampleTime)}
	switch method {
	case pb.ApiTokenService_CreateApiToken_FullMethodName, pb.ApiTokenService_RotateApiToken_FullMethodName:
		token.Token = proto.String("conc_hush")
	case pb.ApiTokenService_ListApiTokens_FullMethodName:
		if a.bound && req.(*pb.ListApiTokensRequest).GetParent() == "" {
			return status.Error(codes.PermissionDenied, "bound")
		}
		reply.(*pb.ListApiTokensResponse).ApiTokens = []*pb.ApiToken{token}
		return nil
	case pb.ApiTokenService_DeleteApiToken_FullMethodName:
		return nil
	}
	proto.Merge(reply.(proto.Message), token)
	return nil
}

func TestToken(t *testing.T) {
	const print = "9b:d2"
	for _, c := range []struct {
		args  string
		bound bool
		code  int
		asked string // requests in text form, one after the other
		out   string // what must be in the output
		not   string // what must not
	}{
		{
			args:  "create ci --tenant acme --role operator --display-name CI --expire-time 2030-01-31T12:00:00Z",
			asked: `parent:"tenants/acme" api_token_id:"ci" api_token:{display_name:"CI" role:OPERATOR expire_time:{seconds:1896091200}}`,
			out:   "conc_hush",
		},
		{
			args:  "create ci --role VIEWER --dry-run --certificate-fingerprints " + print + ",aa",
			asked: `api_token_id:"ci" api_token:{role:VIEWER certificate_fingerprints:"9b:d2" certificate_fingerprints:"aa"} validate_only:true`,
		},
		{args: "create tenants/beta/apiTokens/ci --role ADMIN", asked: `parent:"tenants/beta" api_token_id:"ci" api_token:{role:ADMIN}`},
		{args: "create ci --role root", code: 2},
		{args: "create ci --role VIEWER --expire-time soon", code: 2},
		{args: "get ci --tenant acme", asked: `name:"tenants/acme/apiTokens/ci"`, out: "OPERATOR", not: "TOKEN"},
		{args: "get ci", asked: `name:"apiTokens/ci"`},
		{args: "list", asked: `page_size:1000 parent:"tenants/-" page_size:1000`, out: "acme"},
		{args: "list", bound: true, asked: `page_size:1000 parent:"tenants/-" page_size:1000`, out: "acme"},
		{args: "list --tenant acme", asked: `parent:"tenants/acme" page_size:1000`, out: "ci"},
		{
			args:  "update ci --expire-time= --display-name x",
			asked: `api_token:{name:"apiTokens/ci" display_name:"x"} update_mask:{paths:"display_name" paths:"expire_time"}`,
		},
		{args: "update ci", code: 2},
		{args: "rotate ci --tenant acme", asked: `name:"tenants/acme/apiTokens/ci"`, out: "conc_hush"},
		{args: "rotate ci --tenant acme -o json", asked: `name:"tenants/acme/apiTokens/ci"`, out: `"conc_hush"`},
		{args: "delete ci --tenant acme", asked: `name:"tenants/acme/apiTokens/ci"`, not: "conc_"},
		{args: "delete", code: 2},
	} {
		t.Run(c.args, func(t *testing.T) {
			var out, errs strings.Builder
			a := &tokenAPI{bound: c.bound}
			e := &env.Env{Out: &out, Err: &errs, Getenv: func(string) string { return "" }, Conn: a}
			code := run(t.Context(), append([]string{"api-token"}, strings.Fields(c.args)...), e)
			if code != c.code || !strings.Contains(out.String(), c.out) || c.not != "" && strings.Contains(out.String(), c.not) {
				t.Errorf("exit code %d, want %d\n%s%s", code, c.code, &out, &errs)
			}
			var asked []string
			for _, m := range a.asked {
				text, err := prototext.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				asked = append(asked, strings.ReplaceAll(string(text), "  ", " ")) // its spaces vary on purpose
			}
			if got := strings.Join(asked, " "); got != c.asked {
				t.Errorf("asked %s\nwant  %s", got, c.asked)
			}
		})
	}
}

// A duration is from now on.
func TestTokenExpiresIn(t *testing.T) {
	a := &tokenAPI{}
	var out strings.Builder
	e := &env.Env{Out: &out, Err: &out, Getenv: func(string) string { return "" }, Conn: a}
	if code := run(t.Context(), []string{"api-token", "create", "ci", "--role", "VIEWER", "--expire-time", "720h"}, e); code != 0 {
		t.Fatal(code, out.String())
	}
	at := a.asked[0].(*pb.CreateApiTokenRequest).GetApiToken().GetExpireTime().AsTime()
	if d := time.Until(at) - 720*time.Hour; d.Abs() > time.Minute {
		t.Errorf("expires at %s", at)
	}
}
