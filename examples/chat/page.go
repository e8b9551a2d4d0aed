package main

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
)

//go:embed index.html
var page string

// pages serves the page, for the rooms too: their addresses can be passed on.
func pages() http.Handler {
	// What others write is shown as text. Should the page fail in that, the browser runs no script and loads nothing but
	// what is in the page as it was embedded.
	policy := "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; " +
		"frame-ancestors 'none'; script-src " + hashed("script") + "; style-src " + hashed("style")
	show := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Referrer-Policy", "no-referrer")
		io.WriteString(w, page)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", show)
	mux.HandleFunc("GET /room/{room}", show)
	return mux
}

// hashed returns the page's only element called tag as a source of a content security policy.
func hashed(tag string) string {
	_, content, _ := strings.Cut(page, "<"+tag+">")
	content, _, _ = strings.Cut(content, "</"+tag+">")
	sum := sha256.Sum256([]byte(content))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
