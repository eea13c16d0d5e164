package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "concentrator/api/gen/concentrator/v1"
)

// world is an API with something of every kind in it, all of it fixed, and a clock that stands still but for operations that
// are waited for. It keeps what it was asked.
type world struct {
	resources []proto.Message
	calls     []string
	waited    int
	kind      pb.Operation_Kind // of the operation that was begun
	unit      string
}

// operations are the methods that begin one.
var operations = map[string]struct {
	kind pb.Operation_Kind
	unit string
}{
	"DrainInstance": {pb.Operation_DRAIN, "sessions"}, "DisconnectSessions": {pb.Operation_DISCONNECT_SESSIONS, "sessions"},
	"ReencryptInstance": {pb.Operation_REENCRYPT, "records"}, "ImportUsers": {pb.Operation_IMPORT_USERS, "users"},
	"BackupInstance": {pb.Operation_BACKUP, "octets"},
}

func at(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(exampleTime.Add(d)) }

func (w *world) now() time.Time {
	return exampleTime.Add(2*time.Hour + time.Duration(w.waited)*5*time.Second)
}

func newWorld() *world {
	struct1, err := structpb.NewStruct(map[string]any{"state_dir": "/var/lib/concentrator", "api": map[string]any{"grpc": "127.0.0.1:9443"}})
	if err != nil {
		panic(err)
	}
	return &world{kind: pb.Operation_DRAIN, unit: "sessions", resources: []proto.Message{
		&pb.Tenant{
			Name: "tenants/acme", DisplayName: "Acme", Realms: []string{"acme.example"}, Limits: &pb.Tenant_Limits{MaxSessions: 100},
			Network: &pb.Tenant_Network{Device: "tun-acme", Mtu: 1400}, CreateTime: at(-48 * time.Hour), Etag: "1",
			Ipsec: &pb.Tenant_Ipsec{Psks: []*pb.Tenant_Ipsec_Psk{{Id: "main", UseCount: 3, LastUseTime: at(0)}}},
		},
		&pb.Tenant{Name: "tenants/beta", Suspended: true, Etag: "2"},
		&pb.Profile{
			Name: "tenants/acme/profiles/default", AuthMethods: []pb.Profile_AuthMethod{pb.Profile_MSCHAPV2}, Pool: "tenants/acme/pools/main",
			DnsServers: []string{"10.64.0.1"}, Acl: "tenants/acme/acls/web", RateLimit: &pb.Profile_RateLimit{UpBps: 8_000_000}, Etag: "3",
			Echo: &pb.Profile_Echo{Interval: durationpb.New(20 * time.Second), Failures: 3},
		},
		&pb.Acl{Name: "tenants/acme/acls/web", DisplayName: "the web", Etag: "4", Rules: []*pb.Acl_Rule{
			{Action: pb.Acl_Rule_PERMIT, Protocol: "tcp", DestinationPorts: []string{"80", "443"}}, {Action: pb.Acl_Rule_DENY},
		}},
		&pb.User{Name: "tenants/acme/users/alice", Profile: "tenants/acme/profiles/default", StaticAddress: "10.64.0.2", Etag: "5", CreateTime: at(-time.Hour)},
		&pb.User{Name: "tenants/acme/users/bob%2Fhome", Profile: "tenants/acme/profiles/default", Disabled: true, FramedRoutes: []string{"192.168.7.0/24"}, Etag: "6"},
		&pb.Pool{Name: "tenants/acme/pools/main", Ranges: []string{"10.64.0.0/24"}, Gateway: "10.64.0.1", Usage: &pb.Pool_Usage{Size: 253, Leased: 1}, Etag: "7"},
		&pb.RadiusServer{
			Name: "tenants/acme/radiusServers/one", Address: "192.0.2.5", AuthPort: 1812, Transport: pb.RadiusServer_UDP, Priority: 1, Etag: "8",
			Health: &pb.RadiusServer_Health{State: pb.RadiusServer_Health_ALIVE, RoundTripTime: durationpb.New(277 * time.Microsecond), Requests: 40},
		},
		&pb.Listener{
			Name: "listeners/main", Address: "198.51.100.1", Protocols: []pb.Listener_Protocol{pb.Listener_PPTP, pb.Listener_L2TP_IPSEC},
			Tenants: []string{"tenants/acme"}, Etag: "9",
		},
		&pb.Session{
			Name: "tenants/acme/sessions/s1", User: "alice", Protocol: pb.Listener_PPTP, State: pb.Session_OPEN, Listener: "listeners/main",
			ClientAddress: "198.51.100.11:4711", Address: "10.64.0.2", Profile: "tenants/acme/profiles/default", AuthMethod: pb.Profile_MSCHAPV2,
			Cipher: "MPPE-128", Mtu: 1400, StartTime: at(0), IdleTime: durationpb.New(3 * time.Second), InBytes: 420, OutBytes: 840, InPackets: 4,
			OutPackets: 8, Drops: map[string]int64{"NO_ROUTE": 1, "ACL": 2}, RateLimit: &pb.Profile_RateLimit{UpBps: 8_000_000}, Acl: "tenants/acme/acls/web",
		},
		&pb.Session{
			Name: "tenants/acme/sessions/s2", User: "bo\x1b[2Jb", Protocol: pb.Listener_L2TP_IPSEC, State: pb.Session_AUTHENTICATING, Listener: "listeners/main",
			ClientAddress: "198.51.100.12:1701", StartTime: at(time.Hour), Shard: 1,
		},
		&pb.Lease{
			Name: "tenants/acme/pools/main/leases/10.64.0.2", User: "alice", Session: "tenants/acme/sessions/s1", State: pb.Lease_LEASED,
			LeaseTime: at(0), Static: true,
		},
		&pb.LoginAttempt{
			Name: "tenants/acme/logins/2", Time: at(time.Hour), Protocol: pb.Listener_PPTP, ClientAddress: "198.51.100.11:4712", User: "alice",
			Stage: pb.LoginAttempt_AUTHENTICATION, Outcome: pb.LoginAttempt_REFUSED, Reason: pb.LoginAttempt_WRONG_CREDENTIALS,
			Detail: "the password is wrong", Server: "tenants/acme/radiusServers/one", RoundTripTime: durationpb.New(12 * time.Millisecond),
			Sent:     []*pb.LoginAttempt_Attribute{{Name: "User-Name", Value: "alice"}},
			Received: []*pb.LoginAttempt_Attribute{{Name: "Reply-Message", Value: "go\naway"}},
		},
		&pb.LoginAttempt{
			Name: "logins/1", Time: at(0), Protocol: pb.Listener_L2TP_IPSEC, ClientAddress: "198.51.100.13:500", Stage: pb.LoginAttempt_IKE_MAIN_MODE,
			Outcome: pb.LoginAttempt_REFUSED, Reason: pb.LoginAttempt_PSK_MISMATCH,
		},
		&pb.Lockout{Name: "tenants/acme/lockouts/user-1", Kind: pb.Lockout_USER, Subject: "alice", Failures: 5, Until: at(3 * time.Hour)},
		&pb.ApiToken{Name: "apiTokens/admin", Role: pb.ApiToken_ADMIN, CreateTime: at(-time.Hour)},
		&pb.ApiToken{Name: "tenants/acme/apiTokens/ci", Role: pb.ApiToken_OPERATOR, DisplayName: "the build", ExpireTime: at(24 * time.Hour), LastUseTime: at(0)},
		&pb.AccountingQueue{Name: "tenants/acme/accountingQueue", Unsent: 2, UnsentBytes: 600, OldestTime: at(0), Sent: 40, LastError: "no answer"},
		&pb.AccountingRecord{
			Name: "tenants/acme/accountingQueue/records/1", Kind: pb.AccountingRecord_START, Time: at(0), User: "alice", Session: "tenants/acme/sessions/s1",
			Address: "10.64.0.2", Attempts: 2,
		},
		&pb.AccountingRecord{
			Name: "tenants/acme/accountingQueue/records/2", Kind: pb.AccountingRecord_STOP, Time: at(time.Hour), User: "alice", Session: "tenants/acme/sessions/s0",
			InBytes: 420, OutBytes: 840, SessionTime: durationpb.New(time.Hour), Reason: pb.LoginAttempt_IDLE_TIMEOUT,
		},
		&pb.Operation{
			Name: "operations/1", Kind: pb.Operation_DRAIN, State: pb.Operation_RUNNING, Target: "instances/vpn-1", Caller: "root", Done: 10, Total: 40,
			Unit: "sessions", CreateTime: at(time.Hour), UpdateTime: at(2 * time.Hour), FileSize: 9,
		},
		&pb.Operation{
			Name: "tenants/acme/operations/2", Kind: pb.Operation_IMPORT_USERS, State: pb.Operation_FAILED, Target: "tenants/acme", Done: 2, Total: 3,
			Unit: "users", Detail: "1 line failed", ProblemCount: 1, EndTime: at(time.Hour),
			Problems: []*pb.Operation_Problem{{Subject: "line 3, staticAddress", Reason: "INVALID_FIELD", Detail: `"x" is no address`}},
		},
		&pb.Instance{
			Name: "instances/vpn-1", Version: "v1.2.3", StartTime: at(-72 * time.Hour), MaxSessions: 1000, Sessions: 2, LoginsAccepted: 40, LoginsRefused: 3,
			Shards:        []*pb.Instance_Shard{{Sessions: 1, InPackets: 4, OutPackets: 8, Drops: map[string]int64{"ACL": 2}}, {Shard: 1, Sessions: 1}},
			Build:         &pb.Instance_Build{Version: "v1.2.3", Commit: "0123abcd", GoVersion: "go1.26.0"},
			Configuration: struct1,
			Conditions:    []*pb.Instance_Condition{{Type: "STORE", Ok: true}, {Type: "NETWORKS", Detail: "tenants/beta: no such device"}},
			Faults:        []*pb.Instance_Fault{{Type: "NETWORK", Subject: "tenants/beta", Detail: "no such device", BeginTime: at(0)}},
		},
		&pb.AuditEvent{
			Name: "tenants/acme/auditEvents/0000000000000007", Sequence: 7, Time: at(0), Caller: "tenants/acme/apiTokens/ci", Role: "OPERATOR",
			Method: "UpdateUser", Resource: "tenants/acme/users/alice", Code: "OK", ChangedFields: []string{"password"}, Count: 1,
		},
	}}
}

// Invoke implements grpc.ClientConnInterface.
func (w *world) Invoke(_ context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	method = method[strings.LastIndexByte(method, '/')+1:]
	req, out := args.(proto.Message), reply.(proto.Message)
	w.asked(method, req)
	verb := method
	for _, v := range []string{"Get", "List", "Create", "Update", "Delete"} {
		if strings.HasPrefix(method, v) {
			verb = v
		}
	}
	name := field(req, "name")
	switch verb {
	case "Get":
		m := w.find(name)
		if m == nil {
			return absent(name)
		}
		proto.Merge(out, m)
	case "List":
		w.list(req, out)
	case "Create":
		given := inside(req, out)
		id := req.ProtoReflect().Get(req.ProtoReflect().Descriptor().Fields().ByName(snakeID(out))).String()
		collection := collectionOf(out)
		full := strings.TrimPrefix(field(req, "parent")+"/"+collection+"/"+id, "/")
		if w.find(full) != nil {
			return refuse(codes.AlreadyExists, "RESOURCE_EXISTS", full, full+" exists already")
		}
		proto.Merge(out, given)
		setName(out, full)
	case "Update":
		given := inside(req, out)
		name = field(given, "name")
		is := w.find(name)
		if is == nil {
			return absent(name)
		}
		proto.Merge(out, is)
		if slices.Equal(maskOf(req), []string{"*"}) {
			proto.Reset(out)
			proto.Merge(out, given)
		}
		for _, path := range maskOf(req) {
			if path == "*" {
				break
			}
			f := out.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(strings.SplitN(path, ".", 2)[0]))
			if given.ProtoReflect().Has(f) {
				out.ProtoReflect().Set(f, given.ProtoReflect().Get(f))
			} else {
				out.ProtoReflect().Clear(f)
			}
		}
	case "Delete":
		if w.find(name) == nil {
			return absent(name)
		}
	default:
		return w.other(method, req, out)
	}
	return nil
}

// other answers what is no standard method.
func (w *world) other(method string, req, out proto.Message) error {
	if begun, ok := operations[method]; ok {
		w.kind, w.unit = begun.kind, begun.unit
	}
	running := &pb.Operation{
		Name: "operations/1", Kind: w.kind, State: pb.Operation_RUNNING, Unit: w.unit, Total: 40, FileSize: 9,
	}
	switch method {
	case "WaitOperation":
		w.waited++
		proto.Merge(out, running)
		o := out.(*pb.Operation)
		o.Done = int64(10 * w.waited)
		if o.GetDone() == o.GetTotal() {
			o.State, o.EndTime = pb.Operation_SUCCEEDED, at(2*time.Hour)
		}
	case "DrainInstance", "DisconnectSessions", "ReencryptInstance", "ImportUsers", "BackupInstance":
		proto.Merge(out, running)
		if f := req.ProtoReflect().Descriptor().Fields().ByName("validate_only"); f != nil && req.ProtoReflect().Get(f).Bool() {
			out.(*pb.Operation).State = pb.Operation_SUCCEEDED
		}
	case "CancelOperation":
		proto.Merge(out, running)
		out.(*pb.Operation).State = pb.Operation_CANCELLED
	case "UndrainInstance":
		proto.Merge(out, w.find("instances/-"))
	case "RotatePsk":
		r := out.(*pb.RotatePskResponse)
		r.PskId, r.Key = req.(*pb.RotatePskRequest).GetPskId(), "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	case "RotateApiToken":
		proto.Merge(out, w.find(field(req, "name")))
		out.(*pb.ApiToken).Token = proto.String("conc_hush")
	case "TestRadiusServer":
		proto.Merge(out, &pb.TestRadiusServerResponse{Reachable: true, SecretCheck: pb.TestRadiusServerResponse_RIGHT, Verdict: pb.TestRadiusServerResponse_REFUSED})
	}
	return nil
}

// NewStream implements grpc.ClientConnInterface: a watch that sends what there is, that it is all, and that the first is gone.
func (w *world) NewStream(ctx context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	if strings.HasSuffix(method, "/DownloadOperation") {
		return &download{w: w}, nil
	}
	return &worldStream{w: w, ctx: ctx, method: method[strings.LastIndexByte(method, '/')+1:]}, nil
}

// download is a file in two pieces.
type download struct {
	grpc.ClientStream
	w    *world
	sent int
}

func (d *download) SendMsg(m any) error {
	d.w.asked("DownloadOperation", m.(proto.Message))
	return nil
}
func (d *download) CloseSend() error { return nil }
func (d *download) RecvMsg(m any) error {
	if d.sent == 2 {
		return io.EOF
	}
	m.(*httpbody.HttpBody).Data = []byte([]string{"the ", "file\n"}[d.sent])
	d.sent++
	return nil
}

type worldStream struct {
	grpc.ClientStream
	w      *world
	ctx    context.Context //nolint:containedctx // a stream's own
	method string
	parent string
	sent   int
}

func (s *worldStream) SendMsg(m any) error {
	s.parent = field(m.(proto.Message), "parent")
	s.w.asked(s.method, m.(proto.Message))
	return nil
}
func (s *worldStream) CloseSend() error         { return nil }
func (s *worldStream) Context() context.Context { return s.ctx }
func (s *worldStream) RecvMsg(m any) error {
	r := m.(proto.Message).ProtoReflect()
	fields := r.Descriptor().Fields()
	upsert := fields.ByName("upsert")
	var all []proto.Message
	for _, x := range s.w.resources {
		if x.ProtoReflect().Descriptor().FullName() == upsert.Message().FullName() && below(s.parent, field(x, "name")) {
			all = append(all, x)
		}
	}
	switch i := s.sent; {
	case len(all) == 0:
		return io.EOF
	case i < len(all):
		r.Set(upsert, protoreflect.ValueOfMessage(all[i].ProtoReflect()))
	case i == len(all):
		r.Set(fields.ByName("snapshot_done"), protoreflect.ValueOfMessage((&emptypb.Empty{}).ProtoReflect()))
	case i == len(all)+1:
		r.Set(upsert, protoreflect.ValueOfMessage(all[0].ProtoReflect()))
	case i == len(all)+2:
		r.Set(fields.ByName("removed"), protoreflect.ValueOfString(field(all[0], "name")))
	default:
		return io.EOF
	}
	s.sent++
	r.Set(fields.ByName("revision"), protoreflect.ValueOfString(fmt.Sprint(s.sent)))
	return nil
}

func (w *world) asked(method string, req proto.Message) {
	all := ""
	if u, ok := req.(interface{ GetUpdateMask() *fieldmaskpb.FieldMask }); ok && slices.Equal(u.GetUpdateMask().GetPaths(), []string{"*"}) {
		req, all = proto.Clone(req), " of all fields" // protojson has no form for it
		req.ProtoReflect().Clear(req.ProtoReflect().Descriptor().Fields().ByName("update_mask"))
	}
	b, err := protojson.Marshal(req)
	if err != nil {
		panic(err)
	}
	text := strings.NewReplacer(`": `, `":`, `, "`, `,"`).Replace(string(b)) // protojson's spaces vary on purpose
	w.calls = append(w.calls, method+" "+text+all)
}

func (w *world) find(name string) proto.Message {
	if name == "instances/-" {
		name = "instances/vpn-1"
	}
	for _, m := range w.resources {
		if field(m, "name") == name {
			return m
		}
	}
	return nil
}

// list answers with what is below the parent and matches the filter, as many as asked for.
func (w *world) list(req, out proto.Message) {
	r := out.ProtoReflect()
	var f protoreflect.FieldDescriptor
	for i := range r.Descriptor().Fields().Len() {
		if r.Descriptor().Fields().Get(i).IsList() {
			f = r.Descriptor().Fields().Get(i)
			break
		}
	}
	size := int(req.ProtoReflect().Get(req.ProtoReflect().Descriptor().Fields().ByName("page_size")).Int())
	for _, m := range w.resources {
		if m.ProtoReflect().Descriptor().FullName() != f.Message().FullName() || !below(field(req, "parent"), field(m, "name")) ||
			!matching(m, field(req, "filter")) {
			continue
		}
		if size > 0 && r.Get(f).List().Len() == size {
			r.Set(r.Descriptor().Fields().ByName("next_page_token"), protoreflect.ValueOfString("more"))
			return
		}
		r.Mutable(f).List().Append(protoreflect.ValueOfMessage(m.ProtoReflect()))
	}
}

// below says whether a name stands below a parent; an empty one is for logins and audit events all, for others none.
func below(parent, name string) bool {
	if parent == "" {
		return !strings.HasPrefix(name, "tenants/") || strings.Contains(name, "/logins/") || strings.Contains(name, "/auditEvents/") || strings.Count(name, "/") == 1
	}
	want, have := strings.Split(parent, "/"), strings.Split(name, "/")
	if len(have) < len(want) {
		return false
	}
	for i := range want {
		if want[i] != "-" && want[i] != have[i] {
			return false
		}
	}
	return true
}

// matching knows of filters what describe asks for: fields that are equal to something, joined by AND.
func matching(m proto.Message, filter string) bool {
	if filter == "" || strings.Contains(filter, " OR ") {
		return true
	}
	b, err := protojson.Marshal(m)
	if err != nil {
		panic(err)
	}
	var all structpb.Struct
	if err := protojson.Unmarshal(b, &all); err != nil {
		panic(err)
	}
	for part := range strings.SplitSeq(filter, " AND ") {
		key, value, _ := strings.Cut(part, "=")
		have := all.GetFields()[strings.TrimSpace(key)].GetStringValue()
		value = strings.Trim(value, ` "`)
		if prefix, ok := strings.CutSuffix(value, "*"); ok && strings.HasPrefix(have, prefix) {
			continue
		}
		if have != value {
			return false
		}
	}
	return true
}

func field(m proto.Message, name protoreflect.Name) string {
	if f := m.ProtoReflect().Descriptor().Fields().ByName(name); f != nil && f.Kind() == protoreflect.StringKind {
		return m.ProtoReflect().Get(f).String()
	}
	return ""
}

func setName(m proto.Message, name string) {
	m.ProtoReflect().Set(m.ProtoReflect().Descriptor().Fields().ByName("name"), protoreflect.ValueOfString(name))
}

// inside is the resource of a request, of the kind that is answered.
func inside(req, out proto.Message) proto.Message {
	fields := req.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); f.Message() != nil && f.Message().FullName() == out.ProtoReflect().Descriptor().FullName() {
			return req.ProtoReflect().Get(f).Message().Interface()
		}
	}
	panic(errors.New("no resource in the request"))
}

func snakeID(out proto.Message) protoreflect.Name {
	var b strings.Builder
	for i, r := range string(out.ProtoReflect().Descriptor().Name()) {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteString(strings.ToLower(string(r)))
	}
	return protoreflect.Name(b.String() + "_id")
}

func collectionOf(out proto.Message) string {
	name := string(out.ProtoReflect().Descriptor().Name())
	return strings.ToLower(name[:1]) + name[1:] + "s"
}

func maskOf(req proto.Message) []string {
	f := req.ProtoReflect().Descriptor().Fields().ByName("update_mask")
	list := req.ProtoReflect().Get(f).Message()
	paths := list.Get(list.Descriptor().Fields().ByName("paths")).List()
	out := make([]string, paths.Len())
	for i := range out {
		out[i] = paths.Get(i).String()
	}
	return slices.Compact(out)
}

func absent(name string) error {
	return refuse(codes.NotFound, "RESOURCE_NOT_FOUND", name, name+" does not exist")
}

func refuse(code codes.Code, reason, resource, text string) error {
	st, err := status.New(code, text).WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: "concentrator", Metadata: map[string]string{"resource": resource}})
	if err != nil {
		panic(err)
	}
	return st.Err()
}
