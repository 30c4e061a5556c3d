package device

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path"
	"time"

	"github.com/qualgent/qgjob"
)

// site is one installed web app on a loopback port of its own. A new install
// gets a new port, hence a new origin: no cache, cookie or service worker of
// the version before can answer for it.
type site struct {
	url    string
	server *http.Server
	root   *os.Root
	ended  chan struct{}
}

// contentTypes are those of web apps that systems' own tables often lack.
// Browsers refuse modules and manifests of a wrong type.
var contentTypes = map[string]string{
	".css":         "text/css; charset=utf-8",
	".html":        "text/html; charset=utf-8",
	".ico":         "image/x-icon",
	".js":          "text/javascript; charset=utf-8",
	".json":        "application/json",
	".map":         "application/json",
	".mjs":         "text/javascript; charset=utf-8",
	".svg":         "image/svg+xml",
	".txt":         "text/plain; charset=utf-8",
	".wasm":        "application/wasm",
	".webmanifest": "application/manifest+json",
	".webp":        "image/webp",
	".woff":        "font/woff",
	".woff2":       "font/woff2",
}

// serveSite serves the folder until close; ctx bounds only its beginning. A zip that was made of one folder
// is served from inside that folder.
func serveSite(ctx context.Context, dir string) (*site, error) {
	root, err := openSite(dir)
	if err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("serve the app: %w", err), root.Close())
	}
	s := &site{
		url:    "http://" + l.Addr().String(),
		root:   root,
		ended:  make(chan struct{}),
		server: &http.Server{Handler: siteHandler(root.FS()), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute},
	}
	go func() {
		defer close(s.ended)
		// Serve always ends with an error; close is the only way to end it.
		_ = s.server.Serve(l)
	}()
	return s, nil
}

func (s *site) close() error {
	err := s.server.Close()
	<-s.ended
	return errors.Join(err, s.root.Close())
}

func openSite(dir string) (*os.Root, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	if hasIndex(root, ".") {
		return root, nil
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	if len(entries) == 1 && entries[0].IsDir() && hasIndex(root, entries[0].Name()) {
		return root.OpenRoot(entries[0].Name())
	}
	return nil, &qgjob.Error{Kind: qgjob.KindInvalid, Message: "the build holds no index.html at its top",
		Hint: "upload a zip of the web app's files, as its web server would serve them"}
}

func hasIndex(root *os.Root, dir string) bool {
	st, err := root.Stat(path.Join(dir, "index.html"))
	return err == nil && st.Mode().IsRegular()
}

func siteHandler(files fs.FS) http.Handler {
	static := http.FileServerFS(unlisted{files})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "this is a static site", http.StatusMethodNotAllowed)
			return
		}
		if t, ok := contentTypes[path.Ext(r.URL.Path)]; ok {
			w.Header().Set("Content-Type", t)
		}
		// The browser may keep files, but asks before it uses them.
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		static.ServeHTTP(w, r)
	})
}

// unlisted hides folders without an index.html, which would be listed.
type unlisted struct{ fs.FS }

func (u unlisted) Open(name string) (fs.File, error) {
	f, err := u.FS.Open(name)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && st.IsDir() {
		_, err = fs.Stat(u.FS, path.Join(name, "index.html"))
	}
	if err == nil && !st.IsDir() && !st.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
