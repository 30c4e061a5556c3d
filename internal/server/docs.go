package server

import (
	"bytes"
	"embed"
	"net/http"
	"path"
	"time"
)

//go:embed web/docs.html web/docs.js web/docs.css web/favicon.svg web/rapidoc
var docsFiles embed.FS

// docsPolicy lets the documentation load and ask nothing but this server. The
// viewer sets its styles itself, hence 'unsafe-inline' for styles.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// docsAssets maps what the page asks for to what is embedded. It is the whole
// list: nothing else of the folder can be asked for.
var docsAssets = map[string]string{
	"docs.js":             "web/docs.js",
	"docs.css":            "web/docs.css",
	"favicon.svg":         "web/favicon.svg",
	"rapidoc.min.js":      "web/rapidoc/rapidoc.min.js",
	"rapidoc-license.txt": "web/rapidoc/LICENSE.txt",
	"third-party.txt":     "web/rapidoc/THIRD-PARTY.txt",
}

// docsTypes are written out: what package mime knows depends on the machine.
var docsTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
}

// docsRoutes are the pages for people who write clients. They show
// /openapi.json with an embedded viewer and work without any other network.
func (s *Server) docsRoutes() []route {
	return []route{
		{Method: http.MethodGet, Pattern: "/docs", Scope: scopeNone, Owner: ownerNobody, Handler: func(w http.ResponseWriter, r *http.Request) {
			serveDocs(w, r, "web/docs.html")
		}},
		{Method: http.MethodGet, Pattern: "/docs/{file}", Scope: scopeNone, Owner: ownerNobody, Handler: func(w http.ResponseWriter, r *http.Request) {
			serveDocs(w, r, docsAssets[r.PathValue("file")])
		}},
	}
}

func serveDocs(w http.ResponseWriter, r *http.Request, name string) {
	body, err := docsFiles.ReadFile(name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", docsTypes[path.Ext(name)])
	h.Set("Content-Security-Policy", docsPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}
