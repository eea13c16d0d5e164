package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"concentrator/internal/corpus"
	"concentrator/internal/store"
	"concentrator/internal/store/bolt"
	"concentrator/internal/tenant"
)

const (
	// fuzzPatience is how long an answer may take: many times what any takes, on a machine that does other things too.
	fuzzPatience = 20 * time.Second
	// fuzzWatch is how long a stream is read.
	fuzzWatch = 20 * time.Millisecond
)

// fuzzServer is a served API whose records can be made what they were.
type fuzzServer struct {
	*fixture
	kv      store.KV
	conn    *grpc.ClientConn
	methods []method
	tokens  []string // of nobody, the admin, and each role, for the instance and bound to beta
	before  map[string][]byte
	rev     int64 // as of before
}

// Places in fuzzServer.tokens.
const (
	firstRole  = 2
	firstBound = firstRole + 3
	fuzzTokens = firstBound + 3
)

func newFuzzServer(f *testing.F) *fuzzServer {
	dir := f.TempDir()
	kv, err := bolt.Open(filepath.Join(dir, "state.db"))
	must(f)(kv, err)
	f.Cleanup(func() { _ = kv.Close() })
	st, err := store.Open(f.Context(), kv, filepath.Join(dir, "master.key"))
	must(f)(st, err)
	s := &fuzzServer{fixture: start(f, func(c *Config) { c.Store = st }), kv: kv}
	s.seedBoth(f, false)
	s.conn = s.dialTLS(f)
	s.tokens = []string{"", s.token}
	for _, parent := range []string{"", "tenants/beta"} {
		for _, role := range tenant.Roles {
			s.tokens = append(s.tokens, s.newToken(f, parent, "fuzz-"+strings.ToLower(string(role)), role))
		}
	}
	if len(s.tokens) != fuzzTokens {
		f.Fatalf("%d callers", len(s.tokens))
	}
	for _, m := range s.fixture.methods(f) {
		// What re-encrypts would leave the records of before with a key that is gone.
		if m.desc.Input().FullName() != "concentrator.v1.ReencryptSecretsRequest" && !strings.Contains(m.full, "Reencrypt") {
			s.methods = append(s.methods, m)
		}
	}
	slices.SortFunc(s.methods, func(a, b method) int { return strings.Compare(a.full, b.full) })
	s.before = s.records(f)
	s.rev, err = s.store.Revision()
	must(f)(nil, err)
	return s
}

// records are all that is stored, by key.
func (s *fuzzServer) records(t testing.TB) map[string][]byte {
	all := map[string][]byte{}
	for from := "r/"; ; {
		items, _, more, err := s.kv.List(context.Background(), store.Range{Start: from, End: "r0"})
		must(t)(items, err)
		for _, i := range items {
			all[i.Key], from = i.Value, i.Key+"\x00"
		}
		if !more {
			return all
		}
	}
}

// restore makes the records what they were.
func (s *fuzzServer) restore(t testing.TB) {
	for len(s.ops.find(func(*running) bool { return true })) > 0 {
		time.Sleep(time.Millisecond)
	}
	var ops []store.Op
	now := s.records(t)
	for key := range now {
		if _, ok := s.before[key]; !ok {
			ops = append(ops, store.Op{Key: key, Delete: true})
		}
	}
	for key, v := range s.before {
		if !bytes.Equal(now[key], v) {
			ops = append(ops, store.Op{Key: key, Value: v})
		}
	}
	for part := range slices.Chunk(ops, store.MaxOps) {
		_, ok, err := s.kv.Commit(context.Background(), nil, part)
		if must(t)(nil, err); !ok {
			t.Fatal("the records can't be restored")
		}
	}
	s.live.mu.Lock()
	s.live.tests, s.live.disconnected, s.live.taken = nil, nil, nil
	s.live.mu.Unlock()
}

// acme is what the tenant acme and the instance have, which callers that are bound to beta can't touch.
func (s *fuzzServer) acme(all map[string][]byte) map[string][]byte {
	acme := maps.Clone(all)
	maps.DeleteFunc(acme, func(key string, _ []byte) bool {
		// A token says when it was last used, and operations go on by themselves.
		return strings.Contains(key, "beta") || strings.Contains(key, "apiTokens") || strings.Contains(key, "operations")
	})
	return acme
}

// FuzzAPICall calls methods by TLS with any octets as their request, by callers of every role. Every call is answered in
// time, by a code that tells the caller what is wrong: nothing panics, and nothing fails for a reason that only the log has.
// What is stored can be read and names only what exists, and who is bound to a tenant changes nothing of another.
func FuzzAPICall(f *testing.F) {
	corpus.Add(f)
	s := newFuzzServer(f)
	for i, m := range s.methods {
		f.Add(uint16(i), byte(1+i%(len(s.tokens)-1)), s.sample(f, m, "tenants/beta"))
		f.Add(uint16(i), byte(len(s.tokens)-1), s.sample(f, m, "tenants/acme")) // of another tenant than the caller's
	}
	f.Add(uint16(0), byte(1), []byte{0xff, 0xff, 0xff})
	f.Add(uint16(1), byte(0), []byte{})
	f.Fuzz(func(t *testing.T, which uint16, caller byte, req []byte) {
		m, who := s.methods[int(which)%len(s.methods)], int(caller)%len(s.tokens)
		s.check(t, m, who, req)
	})
}

// sample is a request of a method about what a tenant has, that does something.
func (*fuzzServer) sample(t testing.TB, m method, tenantName string) []byte {
	req := m.request(t, tenantName)
	if r := req.ProtoReflect(); r.Descriptor().Fields().ByName("validate_only") != nil {
		r.Clear(r.Descriptor().Fields().ByName("validate_only"))
	}
	fillSample(req.ProtoReflect(), 0)
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(req)
	must(t)(b, err)
	return b
}

// check makes one call, and holds what comes of it against the rules.
func (s *fuzzServer) check(t testing.TB, m method, who int, req []byte) {
	began := time.Now()
	err := s.raw(m, s.tokens[who], req)
	if took := time.Since(began); took > fuzzPatience {
		t.Errorf("%s took %v", m.full, took)
	}
	s.judge(t, m.full, status.Convert(err))
	s.settle(t, m.full, who)
}

// settle looks at what a call has left behind: log and records. The records are what they were afterwards.
func (s *fuzzServer) settle(t testing.TB, what string, who int) {
	for line := range strings.Lines(s.log.take()) {
		if strings.Contains(line, "level=ERROR") && !strings.Contains(line, "keeps nothing that could be backed up") {
			t.Errorf("%s: the log has %s", what, line)
		}
	}
	rev, err := s.store.Revision()
	if must(t)(nil, err); rev == s.rev {
		return // nothing is stored that was not
	}
	now := s.records(t)
	if a, b := s.acme(s.before), s.acme(now); who >= firstBound && !maps.EqualFunc(a, b, bytes.Equal) {
		t.Errorf("%s by a caller that is bound to beta has changed something of others", what)
	}
	s.sound(t, now)
	s.restore(t)
	s.rev, err = s.store.Revision()
	must(t)(nil, err)
}

// raw calls a method with octets as its request.
func (s *fuzzServer) raw(m method, token string, req []byte) error {
	patience := 2 * fuzzPatience
	if m.desc.IsStreamingServer() {
		patience = fuzzWatch
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if token != "" {
		ctx = withToken(ctx, token)
	}
	both := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	st, err := s.conn.NewStream(ctx, both, m.full, grpc.ForceCodecV2(octets{}))
	if err != nil {
		return err
	}
	if err := st.SendMsg(req); err == nil {
		_ = st.CloseSend()
	}
	for {
		var answer []byte
		if err := st.RecvMsg(&answer); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// judge wants an answer that a caller can do something with.
func (s *fuzzServer) judge(t testing.TB, what string, st *status.Status) {
	switch st.Code() {
	case codes.Internal, codes.Unknown, codes.DataLoss, codes.Unavailable:
		// Where gRPC itself can't read the request, it says so by INTERNAL.
		for _, own := range []string{"error unmarshalling request", "failed to unmarshal"} {
			if strings.Contains(st.Message(), own) {
				return
			}
		}
		t.Errorf("%s: %v", what, st)
	default:
	}
	if strings.Contains(st.Message(), "panic") {
		t.Errorf("%s: %v", what, st)
	}
}

// take returns what was logged, and forgets it.
func (l *logBuffer) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.b.String()
	l.b.Reset()
	return text
}

// sound wants every record to be readable, and what it names to be there.
func (s *fuzzServer) sound(t testing.TB, now map[string][]byte) {
	there := map[string]bool{"": true}
	for key := range now {
		_, name, _ := strings.Cut(strings.TrimPrefix(key, "r/"), "/")
		there[name] = true
	}
	want := func(who, what string) {
		if !there[what] {
			t.Errorf("%s names %s, which does not exist", who, what)
		}
	}
	const below = "tenants/-"
	stored[store.Tenant](t, s, "")
	stored[store.Pool](t, s, below)
	stored[store.ACL](t, s, below)
	stored[store.RadiusServer](t, s, below)
	stored[store.APIToken](t, s, below)
	for _, r := range stored[store.Profile](t, s, below) {
		want(r.Name, r.Pool)
		want(r.Name, r.ACL)
		want(r.Name, store.TenantOf(r.Name))
	}
	for _, r := range stored[store.User](t, s, below) {
		want(r.Name, r.Profile)
		want(r.Name, store.TenantOf(r.Name))
	}
	for _, r := range stored[store.Listener](t, s, "") {
		want(r.Name, r.DefaultTenant)
		for _, name := range r.Tenants {
			want(r.Name, name)
		}
	}
}

// stored reads all records of a kind.
func stored[T store.Record](t testing.TB, s *fuzzServer, parent string) []*T {
	all, _, err := store.List[T](s.store, parent, "", 0)
	must(t)(all, err)
	return all
}

// octets is a codec that changes nothing.
type octets struct{}

func (octets) Name() string { return "proto" }

func (octets) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (octets) Unmarshal(b mem.BufferSlice, v any) error {
	*v.(*[]byte) = b.Materialize()
	return nil
}

// fillSample gives the empty fields of a message values that look like something.
func fillSample(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if m.Has(fd) || fd.IsMap() || depth > 3 {
			continue
		}
		switch {
		case fd.IsList() && fd.Kind() == protoreflect.MessageKind:
			fillSample(m.Mutable(fd).List().AppendMutable().Message(), depth+1)
		case fd.IsList() && fd.Kind() == protoreflect.StringKind:
			m.Mutable(fd).List().Append(protoreflect.ValueOfString(sampleOf(string(fd.Name()))))
		case fd.IsList():
		case fd.Kind() == protoreflect.MessageKind:
			fillSample(m.Mutable(fd).Message(), depth+1)
		case fd.Kind() == protoreflect.StringKind:
			m.Set(fd, protoreflect.ValueOfString(sampleOf(string(fd.Name()))))
		case fd.Kind() == protoreflect.EnumKind:
			m.Set(fd, protoreflect.ValueOfEnum(1))
		case fd.Kind() == protoreflect.Int32Kind:
			m.Set(fd, protoreflect.ValueOfInt32(1))
		case fd.Kind() == protoreflect.Int64Kind:
			m.Set(fd, protoreflect.ValueOfInt64(1))
		default:
		}
	}
}

// sampleOf is something that a field of that name may hold.
func sampleOf(field string) string {
	switch {
	case strings.HasSuffix(field, "_id"):
		return "new-one"
	case field == "filter":
		return `name = "a"`
	case field == "order_by":
		return "name desc"
	case field == "pool":
		return "tenants/beta/pools/main"
	case field == "profile":
		return "tenants/beta/profiles/staff"
	case field == "paths":
		return "display_name"
	case strings.Contains(field, "address"), strings.Contains(field, "servers"):
		return "192.0.2.9"
	case strings.Contains(field, "range"), strings.Contains(field, "route"):
		return "10.64.0.0/24"
	}
	return ""
}
