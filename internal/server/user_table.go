package server

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// Bounds of a table of users.
const (
	maxTableLines = 20_000
	// maxTableFaults is how many faults of a table an error names: it is to fit what clients take.
	maxTableFaults = 20
)

// userColumn is the column that names the user.
const userColumn = "user"

// userColumns are the other columns that a table of users may have, as in the JSON of a User.
var userColumns = map[string]func(m *concentratorv1.User, parent, cell string) error{
	"password": func(m *concentratorv1.User, _, cell string) error {
		if cell != "" { // an empty one leaves a password as it is
			m.Password = &cell
		}
		return nil
	},
	"profile": func(m *concentratorv1.User, parent, cell string) error {
		if cell != "" && !strings.Contains(cell, "/") {
			cell = parent + "/profiles/" + cell
		}
		m.Profile = cell
		return nil
	},
	"staticAddress": func(m *concentratorv1.User, _, cell string) error {
		m.StaticAddress = cell
		return nil
	},
	"framedRoutes": func(m *concentratorv1.User, _, cell string) error {
		m.FramedRoutes = strings.Fields(cell)
		return nil
	},
	"disabled": func(m *concentratorv1.User, _, cell string) error {
		switch cell {
		case "true":
			m.Disabled = true
		case "", "false":
		default:
			return fmt.Errorf("%q is neither true nor false", clipped(cell))
		}
		return nil
	},
	"maxSessions": func(m *concentratorv1.User, _, cell string) error {
		if cell == "" {
			return nil
		}
		n, err := strconv.ParseInt(cell, 10, 32)
		if err != nil {
			return fmt.Errorf("%q is no number of sessions", clipped(cell))
		}
		m.MaxSessions = int32(n)
		return nil
	},
	"expireTime": func(m *concentratorv1.User, _, cell string) error {
		if cell == "" {
			return nil
		}
		t, err := time.Parse(time.RFC3339, cell)
		if err != nil {
			return fmt.Errorf("%q is no time, write it as in %q", clipped(cell), "2030-01-31T00:00:00Z")
		}
		m.ExpireTime = timestamppb.New(t)
		return nil
	},
}

// userTable is a table of users that could be read whole.
type userTable struct {
	columns []string // of userColumns, in the order of the table
	rows    []userRow
}

// userRow is one of its lines.
type userRow struct {
	line int // the first that the row has in the text, from 1
	id   string
	user *concentratorv1.User
}

// place says where something stands, for people; an empty column means the line.
func (r userRow) place(column string) string {
	if column == "" {
		return fmt.Sprintf("line %d", r.line)
	}
	return fmt.Sprintf("line %d, %s", r.line, column)
}

// tableFaults collects what is wrong with a table.
type tableFaults struct {
	list []string
	more int
}

func (f *tableFaults) add(place, format string, args ...any) {
	if len(f.list) == maxTableFaults {
		f.more++
		return
	}
	f.list = append(f.list, place+": "+fmt.Sprintf(format, args...))
}

// err is a violation of the field csv for each fault.
func (f *tableFaults) err() error {
	var bad fieldErrors
	for _, text := range f.list {
		bad.add("csv", "%s", text)
	}
	if f.more > 0 {
		bad.add("csv", "and %d faults more", f.more)
	}
	return bad.err()
}

// parseUsers reads a table of users of a tenant, in CSV (RFC 4180). It looks at the form of the table only.
func parseUsers(parent, text string, faults *tableFaults) *userTable {
	in := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "\ufeff")))
	in.ReuseRecord = true
	head, err := in.Read()
	if err != nil {
		faults.add("line 1", "%s", csvFault(err))
		return nil
	}
	columns := slices.Clone(head)
	if !checkColumns(columns, faults) {
		return nil
	}
	t := &userTable{columns: slices.DeleteFunc(slices.Clone(columns), func(c string) bool { return c == userColumn })}
	seen := make(map[string]int)
	for {
		cells, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			faults.add(lineOf(err), "%s", csvFault(err))
			return nil // what comes after can't be told apart any more
		}
		if len(t.rows) == maxTableLines {
			faults.add("the table", "has more than %d lines", maxTableLines)
			return nil
		}
		line, _ := in.FieldPos(0)
		row := userRow{line: line, user: &concentratorv1.User{}}
		for i, column := range columns {
			if column == userColumn {
				row.id = tenant.EncodeUser(cells[i])
				continue
			}
			if err := userColumns[column](row.user, parent, cells[i]); err != nil {
				faults.add(row.place(column), "%v", err)
			}
		}
		row.user.Name = parent + "/users/" + row.id
		if _, err := tenant.DecodeUser(row.id); err != nil {
			faults.add(row.place(userColumn), "%v", err)
		} else if first, twice := seen[row.id]; twice {
			faults.add(row.place(userColumn), "stands in line %d already", first)
		}
		seen[row.id] = line
		t.rows = append(t.rows, row)
	}
	if len(t.rows) == 0 {
		faults.add("the table", "has no users")
	}
	return t
}

// checkColumns holds the first line of a table against what it may name.
func checkColumns(columns []string, faults *tableFaults) bool {
	n := len(faults.list)
	for i, c := range columns {
		switch {
		case slices.Contains(columns[:i], c):
			faults.add("line 1", "names the column %q twice", clipped(c))
		case c != userColumn && userColumns[c] == nil && !slices.Contains(columns, userColumn):
			// The line may be forgotten, and this a password.
		case c != userColumn && userColumns[c] == nil:
			faults.add("line 1", "%q is no column; there are %s, %s", clipped(c), userColumn,
				strings.Join(slices.Sorted(maps.Keys(userColumns)), ", "))
		}
	}
	if !slices.Contains(columns, userColumn) {
		faults.add("line 1", "has no column %q", userColumn)
	}
	return len(faults.list) == n
}

// violationsOf are the fields that an error is about.
func violationsOf(err error) []*errdetails.BadRequest_FieldViolation {
	for _, d := range status.Convert(err).Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			return bad.GetFieldViolations()
		}
	}
	return nil
}

// lineOf says where a table can't be read.
func lineOf(err error) string {
	var at *csv.ParseError
	if errors.As(err, &at) {
		return fmt.Sprintf("line %d", at.Line)
	}
	return "the table"
}

// csvFault says why a table can't be read, without a word of what stands there: it may be a password.
func csvFault(err error) string {
	switch {
	case errors.Is(err, io.EOF):
		return "is missing; it names the columns"
	case errors.Is(err, csv.ErrFieldCount):
		return "has not as many cells as the first line has columns"
	case errors.Is(err, csv.ErrQuote), errors.Is(err, csv.ErrBareQuote):
		return `has a quotation mark at a wrong place: a cell with commas, quotation marks or line breaks stands between " and ", a " in it twice`
	}
	return "can't be read"
}

// check holds what the cells say against what a user may be, as CreateUser would: all that does not depend on other users.
// A password may be missing where a user may be there already.
func (t *userTable) check(b *backend, parent string, mayExist bool, faults *tableFaults) error {
	profiles := make(map[string]bool) // those looked up: whether it is there
	addresses := make(map[string]int) // line by address
	for _, row := range t.rows {
		var old *store.User
		if mayExist {
			old = new(store.User)
		}
		bad := fieldErrors{tenant: parent, list: violationsOf(checkRules(row.user))}
		if bad.empty() {
			decodeUser(row.user, old, &bad)
		}
		for _, v := range bad.list {
			faults.add(row.place(v.GetField()), "%s", v.GetDescription())
		}
		if a := row.user.GetStaticAddress(); a != "" {
			if first, twice := addresses[a]; twice {
				faults.add(row.place("staticAddress"), "%s stands in line %d already", clipped(a), first)
			}
			addresses[a] = row.line
		}
		if p := row.user.GetProfile(); p != "" && len(bad.list) == 0 {
			if _, known := profiles[p]; !known {
				var bad fieldErrors
				if err := checkOwn[store.Profile](b, "profile", parent, p, &bad); err != nil {
					return err
				}
				profiles[p] = bad.empty()
			}
			if !profiles[p] {
				faults.add(row.place("profile"), "%s is not there", clipped(p))
			}
		}
	}
	return nil
}
