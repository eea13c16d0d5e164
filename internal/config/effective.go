package config

import "maps"

// Effective returns what the file would say to mean c, with every key that has a value: nothing is left to a default.
func (c Config) Effective() map[string]any {
	return map[string]any{
		"state_dir":    c.StateDir,
		"key_file":     c.KeyFile,
		"instance":     c.Instance,
		"shards":       c.Shards,
		"max_sessions": c.MaxSessions,
		"api": map[string]any{
			"grpc":         c.API.GRPC,
			"rest":         c.API.REST,
			"metrics":      c.API.Metrics,
			"socket":       c.API.Socket,
			"cors_origins": list(c.API.CORSOrigins),

			"requests_per_second": c.API.RequestsPerSecond,

			"tls": given(map[string]any{"cert": c.API.TLS.Cert, "key": c.API.TLS.Key, "client_ca": c.API.TLS.ClientCA}),
		},
		"radius": map[string]any{"coa": c.Radius.CoA},
		"accounting": map[string]any{
			"file": c.Accounting.File, "syslog": c.Accounting.Syslog, "max_bytes": c.Accounting.MaxBytes,
		},
		"audit": map[string]any{"max_bytes": c.Audit.MaxBytes},
		"log":   map[string]any{"level": wordOf(logLevels, c.Log.Level), "format": wordOf(logFormats, c.Log.Format)},
		"tracing": map[string]any{
			"endpoint": c.Tracing.Endpoint, "insecure": c.Tracing.Insecure, "sample_ratio": c.Tracing.SampleRatio,
		},
		"privileges": map[string]any{
			"namespaces": wordOf(namespaceChoices, c.Privileges.Namespaces), "debug": c.Privileges.Debug,
		},
	}
}

// list is a list as a decoded file has it.
func list(texts []string) []any {
	all := make([]any, len(texts))
	for i, text := range texts {
		all[i] = text
	}
	return all
}

// given leaves out the keys that can't be empty, and are.
func given(keys map[string]any) map[string]any {
	maps.DeleteFunc(keys, func(_ string, v any) bool { return v == "" })
	return keys
}

// wordOf is the word for a value.
func wordOf[T comparable](choices []choice[T], value T) string {
	for _, c := range choices {
		if c.value == value {
			return c.word
		}
	}
	return ""
}
