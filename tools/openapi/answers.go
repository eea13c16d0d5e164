package main

import (
	"maps"
	"slices"
	"strings"
)

const (
	typeJSON   = "application/json"
	typeLines  = "application/x-ndjson"
	typeEvents = "text/event-stream"
	typePcap   = "application/vnd.tcpdump.pcap"
	typeBinary = "application/octet-stream"
)

// errorResponse is what every call may answer.
var errorResponse = object{
	"description": "An error. Its details have an ErrorInfo with the reason.",
	"headers":     object{"X-Request-Id": requestHeader},
	"content":     object{typeJSON: object{"schema": object{"$ref": "#/components/schemas/google.rpc.Status"}}},
}

var requestHeader = object{
	"description": "The ID under which the log and the audit trail have the call.",
	"schema":      object{"type": "string"},
}

// describeAnswers describes a call's answers as the gateway sends them.
func describeAnswers(op object, path string) {
	responses, _ := op["responses"].(object)
	responses["default"] = object{"$ref": "#/components/responses/Error"}
	ok, _ := responses["200"].(object)
	if ok == nil {
		return
	}
	ok["headers"] = object{"X-Request-Id": requestHeader}
	content, _ := ok["content"].(object)
	media, _ := content[typeJSON].(object)
	_, verb, _ := strings.Cut(path, ":")
	switch {
	case verb == "watch" && media != nil:
		watched(op, ok, media["schema"])
	case verb == "capture":
		ok["description"] = "A pcap file, as it grows."
		ok["content"] = file(typePcap)
	case verb == "download":
		ok["description"] = "The file."
		ok["content"] = file(typeBinary)
	default:
		// The generator describes the type here, which the schema says already.
		ok["description"] = "Done."
	}
}

// file is an answer of octets.
func file(contentType string) object {
	return object{contentType: object{"schema": object{"type": "string", "format": "binary"}}}
}

// watched describes a watch: one JSON object a line, each either a result or, last, an error; or the same as events.
func watched(op, ok object, message any) {
	ok["description"] = "What there is, then snapshotDone, then changes as they happen. It has no end of its own."
	ok["content"] = object{
		typeLines: object{"schema": object{
			"type":        "object",
			"description": "One line: a message, or the error that ended the watch.",
			"properties": object{
				"result": message,
				"error":  object{"$ref": "#/components/schemas/google.rpc.Status"},
			},
		}},
		typeEvents: object{"schema": object{
			"type": "string",
			"description": "Server-sent events, where the request accepts them. The event's name is upsert, removed, snapshot_done or " +
				"bookmark, its id the revision, its data the message in JSON; error has a google.rpc.Status and is the last.",
		}},
	}
	parameters, _ := op["parameters"].([]any)
	op["parameters"] = append(parameters, object{
		"name": "Last-Event-ID", "in": "header", "schema": object{"type": "string"},
		"description": "As revision, and counts more: browsers send it when they come back to a stream of events.",
	})
}

// addEtags describes the header with which each call that takes an etag can be guarded, and where answers have one.
func (d *document) addEtags() {
	for _, path := range slices.Sorted(maps.Keys(d.paths)) {
		item := d.paths[path].(object)
		for _, method := range slices.Sorted(maps.Keys(item)) {
			op := item[method].(object)
			parameters, _ := op["parameters"].([]any)
			body, _ := op["requestBody"].(object)
			taken := slices.ContainsFunc(parameters, func(p any) bool { return nameOf(p.(object)) == "etag" })
			if taken || method != "post" && d.hasEtag(body) || method == "post" && inline(body)["etag"] != nil {
				op["parameters"] = append(parameters, object{
					"name": "If-Match", "in": "header", "schema": object{"type": "string"},
					"description": "As etag, in quotation marks. If the resource changed since, the answer is 412.",
				})
			}
			ok, _ := op["responses"].(object)["200"].(object)
			if d.hasEtag(ok) {
				ok["headers"].(object)["ETag"] = object{"description": "The resource's etag, in quotation marks.", "schema": object{"type": "string"}}
			}
		}
	}
}

// schemaOf is what a body holds.
func schemaOf(body object) object {
	content, _ := body["content"].(object)
	media, _ := content[typeJSON].(object)
	schema, _ := media["schema"].(object)
	return schema
}

// inline are the fields of a body that has no type of its own.
func inline(body object) object {
	properties, _ := schemaOf(body)["properties"].(object)
	return properties
}

// hasEtag says whether a body is a resource with an etag.
func (d *document) hasEtag(body object) bool {
	to, _ := schemaOf(body)["$ref"].(string)
	schema, _ := d.schemas[strings.TrimPrefix(to, "#/components/schemas/")].(object)
	properties, _ := schema["properties"].(object)
	return properties["etag"] != nil
}

// addOpenPaths adds what is beside the API and needs no token.
func (d *document) addOpenPaths() {
	const tag = "Server"
	d.tags = append(d.tags, object{"name": tag, "description": "What the server says of itself, without a token."})
	text := object{"text/plain": object{"schema": object{"type": "string"}}}
	get := func(id, summary string, responses object) object {
		return object{"get": object{"operationId": id, "summary": summary, "tags": []any{tag}, "security": []any{}, "responses": responses}}
	}
	d.paths["/livez"] = get("GetLive", "Says that the server runs", object{
		"200": object{"description": "It runs.", "content": text},
	})
	d.paths["/readyz"] = get("GetReady", "Says whether the server takes calls of clients", object{
		"200": object{"description": "It does.", "content": text},
		"503": object{"description": "It does not; the text says why.", "content": text},
	})
	d.paths["/openapi.json"] = get("GetOpenAPI", "Returns this document", object{
		"200": object{
			"description": "This document.",
			"content":     object{typeJSON: object{"schema": object{"type": "object", "additionalProperties": true}}},
		},
	})
}
