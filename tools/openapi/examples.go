package main

// examples are bodies to copy, by call. A test sends them to the API, in the order of create.
var examples = map[string]any{
	"CreateTenant": object{
		"displayName": "Acme", "realms": []any{"acme.example"},
		"ipsec": object{"psks": []any{object{"id": "main", "secret": "a long random text"}}},
	},
	"CreatePool":    object{"ranges": []any{"10.64.0.0/24"}},
	"CreateProfile": object{"pool": "tenants/acme/pools/main", "dnsServers": []any{"10.99.0.53"}},
	"CreateUser":    object{"password": "a long random text", "profile": "tenants/acme/profiles/default"},
	"CreateAcl": object{"rules": []any{
		object{"action": "PERMIT", "direction": "UP", "protocol": "tcp", "destinationPorts": []any{"443"}},
	}},
	"CreateRadiusServer": object{"address": "192.0.2.5", "secrets": []any{"a long random text"}},
	"CreateListener": object{
		"address": "198.51.100.1", "protocols": []any{"L2TP_IPSEC"}, "tenants": []any{"tenants/acme"}, "defaultTenant": "tenants/acme",
	},
	"CreateApiToken":         object{"role": "OPERATOR"},
	"UpdateUser":             object{"disabled": true},
	"UpdateProfile":          object{"rateLimit": object{"upBps": "20000000", "downBps": "100000000"}},
	"DisconnectSession":      object{},
	"DisconnectSessions":     object{"filter": "user = \"alice*\""},
	"CaptureSession":         object{"side": "INNER", "duration": "60s"},
	"DrainInstance":          object{"deadline": "600s"},
	"WaitOperation":          object{"timeout": "20s"},
	"WaitInstanceOperation":  object{"timeout": "20s"},
	"RotatePsk":              object{"pskId": "next"},
	"TestRadiusServer":       object{},
	"VerifyAuditEvents":      object{},
	"UndrainInstance":        object{},
	"ReencryptInstance":      object{},
	"BackupInstance":         object{},
	"ReleaseLease":           object{},
	"CancelOperation":        object{},
	"RotateApiToken":         object{},
	"RotateInstanceApiToken": object{},
}

// parameterExamples are values of parameters, by name.
var parameterExamples = map[string]any{
	"tenantId": "acme", "poolId": "main", "profileId": "default", "userId": "alice", "aclId": "web", "radiusServerId": "one",
	"listenerId": "main", "apiTokenId": "portal",
	"tenant": "acme", "pool": "main", "profile": "default", "user": "alice", "acl": "web", "radiusServer": "one", "listener": "main",
	"instance": "-", "lease": "10.64.0.2",
}

// addExamples puts the examples where they belong.
func (d *document) addExamples() {
	walk(d.paths, func(o object) {
		if id, ok := o["operationId"].(string); ok {
			body, _ := o["requestBody"].(object)
			content, _ := body["content"].(object)
			media, _ := content[typeJSON].(object)
			if example, ok := examples[id]; ok && media != nil {
				media["example"] = example
			}
		}
		if example, ok := parameterExamples[nameOf(o)]; ok && o["in"] != nil {
			o["example"] = example
		}
	})
}

func nameOf(o object) string {
	name, _ := o["name"].(string)
	return name
}
