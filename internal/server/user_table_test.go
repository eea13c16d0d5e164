package server

import (
	"fmt"
	"strings"
	"testing"

	"concentrator/internal/corpus"
	"concentrator/internal/store"
)

const acmeTenant = "tenants/acme"

func TestParseUsers(t *testing.T) {
	for _, tt := range []struct {
		name, csv string
		want      string // users, or faults
	}{
		{"one", "user,password\nalice,hush\n", "2 tenants/acme/users/alice password:hush"},
		{"no line end, CRLF, BOM, columns in any order", "\ufeffpassword,user\r\nhush,alice", "2 tenants/acme/users/alice password:hush"},
		{
			"all columns", "user,password,profile,staticAddress,framedRoutes,disabled,maxSessions,expireTime\n" +
				"bob,\"a,\"\"b\"\"\nc\",staff,10.1.0.9,10.2.0.0/24  10.3.0.0/24,true,2,2030-01-31T00:00:00Z\n" +
				"eve,x,tenants/acme/profiles/other,,,false,,\n",
			"2 tenants/acme/users/bob password:a,\"b\"\nc profile:tenants/acme/profiles/staff staticAddress:10.1.0.9 " +
				"framedRoutes:[10.2.0.0/24 10.3.0.0/24] disabled:true maxSessions:2 expireTime:2030-01-31\n" +
				"4 tenants/acme/users/eve password:x profile:tenants/acme/profiles/other",
		},
		{"a name that is encoded", "user\nE/i ü%\n", "2 tenants/acme/users/E%2Fi%20%C3%BC%25"},
		{"a blank line", "user\n\nalice\n", "3 tenants/acme/users/alice"},

		{"nothing", "", "line 1: is missing; it names the columns"},
		{"no users", "user\n", "the table: has no users"},
		{"no user column", "password\nx\n", `line 1: has no column "user"`},
		{"unknown column", "user,colour\nalice,red\n", `line 1: "colour" is no column; there are user, disabled, expireTime, framedRoutes, ` +
			`maxSessions, password, profile, staticAddress`},
		{"a column twice", "user,profile,profile\na,b,c\n", `line 1: names the column "profile" twice`},
		{"too few cells", "user,password\nalice\n", "line 2: has not as many cells as the first line has columns"},
		{"too many cells", "user\nalice,hush\n", "line 2: has not as many cells as the first line has columns"},
		{"a stray quotation mark", "user,password\nalice,hu\"sh\n", "line 2: has a quotation mark at a wrong place"},
		{"an open quotation mark", "user,password\nalice,\"hush\n", "line 2: has a quotation mark at a wrong place"},
		{"a user twice", "user\nalice\nbob\nalice\n", "line 4, user: stands in line 2 already"},
		{"no name", "user,password\n,hush\n", "line 2, user: "},
		{"too long a name", "user\n" + strings.Repeat("x", 254) + "\n", "line 2, user: "},
		{"wrong cells", "user,disabled,maxSessions,expireTime\na,maybe,-x,tomorrow\n", `line 2, disabled: "maybe" is neither true nor false` +
			"\n" + `line 2, maxSessions: "-x" is no number of sessions` + "\n" + `line 2, expireTime: "tomorrow" is no time`},
		{"too many lines", "user\n" + lines(maxTableLines+1), "the table: has more than 20000 lines"},
		{"many faults", "user,disabled\n" + strings.ReplaceAll(lines(maxTableFaults+7), "\n", ",x\n"), `line 2, disabled: "x" is neither true nor false`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var faults tableFaults
			table := parseUsers(acmeTenant, tt.csv, &faults)
			got := strings.Join(faults.list, "\n")
			if got == "" {
				got = tableText(table)
			}
			if !strings.HasPrefix(got, tt.want) || strings.Contains(strings.Join(faults.list, ""), "hush") {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			if len(faults.list) > maxTableFaults {
				t.Errorf("%d faults", len(faults.list))
			}
			if tt.name == "many faults" && faults.more != 7 {
				t.Errorf("%d faults more, want 7", faults.more)
			}
		})
	}
}

// lines are n names.
func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "u%d\n", i)
	}
	return b.String()
}

// tableText spells a table, a user a line.
func tableText(t *userTable) string {
	var all []string
	for _, r := range t.rows {
		text := fmt.Sprintf("%d %s", r.line, r.user.GetName())
		add := func(column string, value any, set bool) {
			if set {
				text += fmt.Sprintf(" %s:%v", column, value)
			}
		}
		u := r.user
		add("password", u.GetPassword(), u.Password != nil)
		add("profile", u.GetProfile(), u.GetProfile() != "")
		add("staticAddress", u.GetStaticAddress(), u.GetStaticAddress() != "")
		add("framedRoutes", u.GetFramedRoutes(), len(u.GetFramedRoutes()) > 0)
		add("disabled", u.GetDisabled(), u.GetDisabled())
		add("maxSessions", u.GetMaxSessions(), u.GetMaxSessions() != 0)
		add("expireTime", u.GetExpireTime().AsTime().Format("2006-01-02"), u.GetExpireTime() != nil)
		all = append(all, text)
	}
	return strings.Join(all, "\n")
}

// FuzzParseUsers: whatever a caller sends, the parser says what is wrong or gives users with names that can be.
func FuzzParseUsers(f *testing.F) {
	corpus.Add(f)
	f.Add("user,password\nalice,hush\n")
	f.Add("\ufeffuser,\"profile\"\r\n\"a\nb\",x\n")
	f.Add("user\n\"")
	f.Fuzz(func(t *testing.T, text string) {
		var faults tableFaults
		table := parseUsers(acmeTenant, text, &faults)
		if len(faults.list) > maxTableFaults {
			t.Fatalf("%d faults", len(faults.list))
		}
		if len(faults.list) > 0 {
			if faults.err() == nil {
				t.Fatal("faults and no error")
			}
			return
		}
		for _, r := range table.rows {
			if err := store.CheckName(store.KindUser, r.user.GetName()); err != nil {
				t.Fatal(err)
			}
		}
	})
}
