package token

import (
	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

func list(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the tokens, all or those of --tenant", Args: env.Args(0, 0),
		RunE: e.Verb(func(cmd *cobra.Command, _ []string) error {
			all := new(pb.ListApiTokensResponse)
			for _, parent := range parents(e) {
				err := pages(cmd, e, parent, all)
				if parent == "" && status.Code(err) == codes.PermissionDenied {
					continue // the caller is bound to a tenant, and sees those of that one
				}
				if err != nil {
					return err
				}
			}
			return e.PrintList(all, columns)
		}),
	}
}

// parents are below what to list: under no tenant and under all, or under the one that was named.
func parents(e *env.Env) []string {
	if e.Tenant() != "" {
		return []string{e.Tenant()}
	}
	return []string{"", e.Parent()}
}

// pages appends what stands under parent to all.
func pages(cmd *cobra.Command, e *env.Env, parent string, all *pb.ListApiTokensResponse) error {
	for token := ""; ; {
		page, err := pb.NewApiTokenServiceClient(e.Conn).ListApiTokens(cmd.Context(),
			&pb.ListApiTokensRequest{Parent: parent, PageSize: 1000, PageToken: token})
		if err != nil {
			return err
		}
		all.ApiTokens = append(all.ApiTokens, page.GetApiTokens()...)
		if token = page.GetNextPageToken(); token == "" {
			return nil
		}
	}
}
