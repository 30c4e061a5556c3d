package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qualgent/qgjob"
)

// Shutting down ends a waiting claim at once, without offers, and lets no
// claim happen after it.
func TestShutdownEndsPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{loops: true})
		r.register("a1")
		answered := make(chan reply, 1)
		go func() {
			p, err := r.send(context.Background(), "POST", "/v1/agents/a1/claim", claimOf(25*time.Second))
			if err != nil {
				t.Error(err)
			}
			answered <- p
		}()
		time.Sleep(2 * time.Second)
		began := time.Now()
		r.stop()
		if p := <-answered; p.Status != 200 || !strings.Contains(string(p.Body), `"offers":[]`) {
			t.Errorf("answer %s; want no offers", p)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("shutting down took %s", took)
		}
	})
}

// A client that holds its connection does not hold up the shutdown for ever.
func TestShutdownGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		r.mux.Handle("GET /v1/stuck", http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() }))
		go func() { _, _ = r.send(context.Background(), "GET", "/v1/stuck", nil) }()
		synctest.Wait()
		began := time.Now()
		r.stop()
		if took := time.Since(began); took != shutdownGrace {
			t.Errorf("shutting down took %s; want %s", took, shutdownGrace)
		}
	})
}

func TestServeTLS(t *testing.T) {
	r := newRig(t, rigOptions{token: "secret"})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- r.Serve(ctx, ln, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}})
	}()
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+ln.Addr().String()+"/v1/agents", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer secret")
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 || res.Proto != "HTTP/2.0" {
		t.Errorf("%s %s; want 200 over HTTP/2", res.Proto, res.Status)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
}

func TestServeBrokenListener(t *testing.T) {
	r := newRig(t, rigOptions{})
	ln := newMemory()
	ln.Close()
	if err := r.Serve(t.Context(), ln, nil); qgjob.KindOf(err) != qgjob.KindUnavailable {
		t.Errorf("serve on a closed listener: %v", err)
	}
}

func TestNewWantsItsParts(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("a server without a store was made")
	}
}
