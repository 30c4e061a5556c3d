// Fakeadb is package adbtest as a program: an adb server with devices that do
// not exist, for tests that run the real adb client and Appium.
//
//	fakeadb -listen 127.0.0.1:0 -control 127.0.0.1:0 emulator-5554 emulator-5556
//
// It prints two addresses, that of the server and that of its control, and ends
// when its standard input does.
package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/qualgent/qgjob/internal/agent/adb/adbtest"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "where the adb server listens")
	control := flag.String("control", "127.0.0.1:0", "where orders are taken (see adbtest.Order)")
	flag.Parse()
	if err := run(*listen, *control, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "fakeadb:", err)
		os.Exit(1)
	}
}

func run(listen, control string, serials []string) error {
	s, err := adbtest.Listen(listen)
	if err != nil {
		return err
	}
	for _, serial := range serials {
		s.Plug(adbtest.Device{Serial: serial})
	}
	l, err := net.Listen("tcp", control) //nolint:noctx // lives as long as the program
	if err != nil {
		return err
	}
	fmt.Printf("%s\n%s\n", s.Addr(), l.Addr())
	server := &http.Server{Handler: s.Control(), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	go func() {
		<-s.Done()
		_ = server.Close()
	}()
	_ = server.Serve(l)
	return s.Close()
}
