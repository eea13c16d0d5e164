package server

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"time"

	"concentrator/api/gen"
)

//go:embed page
var pages embed.FS

// openPaths need no token: the state of the server, and the description of its API.
var openPaths = map[string]func(h *rest, w http.ResponseWriter, r *http.Request){
	"/livez":        (*rest).livez,
	"/readyz":       (*rest).readyz,
	"/openapi.json": static(typeJSON, gen.OpenAPI),
	"/":             page("text/html; charset=utf-8", "index.html"),
	"/docs":         page("text/html; charset=utf-8", "docs.html"),
	"/docs.js":      page("text/javascript; charset=utf-8", "docs.js"),
	"/docs.css":     page("text/css; charset=utf-8", "docs.css"),
	"/icon.svg":     page("image/svg+xml", "icon.svg"),
}

// page serves a file of the pages.
func page(contentType, file string) func(*rest, http.ResponseWriter, *http.Request) {
	text, err := pages.ReadFile("page/" + file)
	if err != nil {
		panic("server: " + err.Error()) // the file is a part of the program
	}
	return static(contentType, text)
}

// static serves what never changes while the program runs. A caller that has it already is told so.
func static(contentType string, text []byte) func(*rest, http.ResponseWriter, *http.Request) {
	sum := sha256.Sum256(text)
	etag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return func(_ *rest, w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("Content-Security-Policy", pageCSP)
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
	}
}

func (h *rest) livez(w http.ResponseWriter, _ *http.Request) { plainText(w, http.StatusOK, "live\n") }

func (h *rest) readyz(w http.ResponseWriter, _ *http.Request) {
	if why := h.unready(); why != "" {
		plainText(w, http.StatusServiceUnavailable, "not ready\n"+why)
		return
	}
	plainText(w, http.StatusOK, "ready\n")
}

func plainText(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text)) // the caller has gone
}
