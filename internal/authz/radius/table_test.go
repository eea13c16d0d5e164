package radius

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"layeh.com/radius"
)

var update = flag.Bool("update", false, "write the table of docs/radius.md")

const (
	docsPage   = "../../../docs/radius.md"
	tableBegin = "<!-- Made from internal/authz/radius/attribute.go by `go test ./internal/authz/radius -run TestDocsTable -update`. -->\n"
	tableEnd   = "<!-- The end of what is made. -->\n"
)

// columns are the packets as the page names them.
var columns = []struct {
	packets packets
	name    string
}{
	{inRequest, "Request"},
	{inStart, "Start"},
	{inInterim, "Interim"},
	{inStop, "Stop"},
	{inOn, "On"},
	{inOff, "Off"},
	{inStatus, "Status-Server"},
	{inAccept, "Accept"},
	{inChallenge, "Challenge"},
	{inReject, "Reject"},
	{inCoA, "CoA"},
	{inDisconnect, "Disconnect"},
}

const outbound = inRequest | inAccounting | inStatus

// docsTable is the table as the page has it.
func docsTable() string {
	var b strings.Builder
	b.WriteString("| attribute | number | value | sent in | read from | meaning |\n|---|---|---|---|---|---|\n")
	for _, row := range attributes {
		var sent, read []string
		for _, c := range columns {
			switch {
			case row.in&c.packets == 0:
			case c.packets&outbound != 0:
				sent = append(sent, c.name)
			case c.packets&inOrders != 0 && row.match != nil:
				read = append(read, c.name+" (key)")
			default:
				read = append(read, c.name)
			}
		}
		in := strings.Join(sent, ", ")
		in = strings.Replace(in, "Start, Interim, Stop, On, Off", "all accounting", 1)
		in = strings.Replace(in, "Start, Interim, Stop", "Start to Stop", 1)
		num := strconv.Itoa(int(row.typ))
		if row.vendor != 0 {
			num = fmt.Sprintf("%d/%d", row.vendor, row.typ)
		}
		value := kindNames[row.kind]
		if row.many {
			value += ", several"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", row.name, num, value, in, strings.Join(read, ", "), row.means)
	}
	return b.String()
}

func TestDocsTable(t *testing.T) {
	b, err := os.ReadFile(docsPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), tableBegin)
	have, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the lines around the table", docsPage)
	}
	want := "\n" + docsTable() + "\n"
	if *update {
		if err := os.WriteFile(docsPage, []byte(before+tableBegin+want+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if have != want {
		t.Errorf("the table of %s is not what attribute.go makes; run: go test ./internal/authz/radius -run TestDocsTable -update", docsPage)
	}
}

// Every row is whole, and can be sent and read where it says so.
func TestTable(t *testing.T) {
	seen := make(map[number]bool)
	for _, row := range attributes {
		n := number{row.vendor, row.typ}
		if seen[n] {
			t.Errorf("%s: another row has its number", row.name)
		}
		seen[n] = true
		sends := row.send != nil || row.sendAll != nil
		switch {
		case row.name == "" || row.means == "" || row.kind == 0 || row.in == 0 || row.typ < 1 || row.typ > 255:
			t.Errorf("%s is not whole", row.name)
		case row.vendor != 0 && !slices.Contains(understood, row.vendor):
			t.Errorf("%s: nobody looks into vendor %d", row.name, row.vendor)
		case sends != (row.in&outbound != 0) && row.typ != typeMessageAuthenticator:
			t.Errorf("%s: it has a value to send, or is to be sent, not both", row.name)
		case row.send != nil && row.sendAll != nil:
			t.Errorf("%s has two ways to be sent", row.name)
		case row.set != nil && row.in&(inReplies|inOrders) == 0:
			t.Errorf("%s is never read", row.name)
		case (row.match != nil || row.change != nil) && row.in&inOrders == 0:
			t.Errorf("%s is in no CoA- or Disconnect-Request", row.name)
		case row.in&inReplies != 0 && row.set == nil && row.typ != typeMessageAuthenticator:
			t.Errorf("%s is in replies, but nobody reads it", row.name)
		case row.in&inDisconnect != 0 && row.change != nil && row.name != "Class":
			t.Errorf("%s: a Disconnect-Request changes nothing else", row.name)
		case strings.Contains(row.means, "|"):
			t.Errorf("%s: its meaning would break the table", row.name)
		}
		for _, secret := range []string{"Password", "Key", "Response", "Challenge", "CPW", "-PW", "Success", "EAP-Message", "State", "Authenticator"} {
			if strings.Contains(row.name, secret) && row.name != "Proxy-State" && row.name != "Stateful-IPv6-Address-Pool" &&
				row.kind != kindSecret {
				t.Errorf("%s is shown in traces", row.name)
			}
		}
	}
}

// otherNames are the attributes that FreeRADIUS spells in another way.
var otherNames = map[string]string{
	"Tunnel-Assignment-ID": "Tunnel-Assignment-Id", "Tunnel-Client-Auth-ID": "Tunnel-Client-Auth-Id",
	"Tunnel-Server-Auth-ID": "Tunnel-Server-Auth-Id",
}

// The names and numbers are those of FreeRADIUS's dictionaries, which nobody here wrote.
func TestNamesAndNumbers(t *testing.T) {
	dir := "/usr/share/freeradius"
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		t.Skip("the dictionaries of FreeRADIUS are not installed")
	}
	files, err := filepath.Glob(filepath.Join(dir, "dictionary.rfc*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, vendor := range []string{"microsoft", "mikrotik", "wispr", "ascend"} {
		files = append(files, filepath.Join(dir, "dictionary."+vendor))
	}
	type name struct {
		vendor uint32
		name   string
	}
	known := make(map[name]radius.Type)
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		var vendor uint64
		for lines := bufio.NewScanner(f); lines.Scan(); {
			switch w := strings.Fields(lines.Text()); {
			case len(w) >= 3 && w[0] == "VENDOR":
				vendor, err = strconv.ParseUint(w[2], 10, 32)
				if err != nil {
					t.Fatal(err)
				}
			case len(w) >= 4 && w[0] == "ATTRIBUTE":
				if n, err := strconv.ParseUint(w[2], 0, 8); err == nil {
					known[name{uint32(vendor), w[1]}] = radius.Type(n)
				}
			}
		}
		noError(t, f.Close())
	}
	found := 0
	for _, row := range attributes {
		n := row.name
		if other, is := otherNames[n]; is {
			n = other
		}
		typ, is := known[name{row.vendor, n}]
		switch {
		case !is:
			t.Logf("%s is not in the dictionaries", n)
		case typ != row.typ:
			t.Errorf("%s has the number %d, FreeRADIUS says %d", n, row.typ, typ)
		default:
			found++
		}
	}
	if found < len(attributes)-6 {
		t.Errorf("only %d of %d attributes are in the dictionaries: the test does not see them", found, len(attributes))
	}
}
