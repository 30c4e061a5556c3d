package store

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
)

func says(code string) error { return &pgconn.PgError{Severity: "FATAL", Code: code} }

func refusedDial() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

// TestWhatPasses: one row a reason for which a database was not opened.
func TestWhatPasses(t *testing.T) {
	silent := lease.Former(lease.Primary{System: "1", Timeline: 1}, lease.Primary{System: "1", Timeline: 2})
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"nothing listens":          {refusedDial(), true},
		"its name is not known":    {&net.DNSError{Err: "no such host", Name: "db", IsNotFound: true}, true},
		"it does not answer":       {context.DeadlineExceeded, true},
		"it hung up":               {io.ErrUnexpectedEOF, true},
		"shutting down":            {says("57P01"), true},
		"crashed":                  {says("57P02"), true},
		"starting":                 {says("57P03"), true},
		"a proxy lost it":          {says("08006"), true},
		"no connection left":       {says("53300"), true},
		"full":                     {says("53100"), true},
		"its disk fails":           {says("58030"), true},
		"read-only":                {says("25006"), true},
		"another flush holds on":   {says("55P03"), true},
		"a standby":                {errStandby, true},
		"a former primary":         {silent, true},
		"no name of a standby":     {demandStandby("", "on"), true},
		"no word of the standby":   {&unknownError{errNoStandby}, true},
		"one standby, one away":    {errors.Join(errStandby, refusedDial()), true},
		"one away, one forbids":    {errors.Join(refusedDial(), says("28000")), true},
		"refused without TLS too":  {errors.Join(says("53300"), says("28000")), true},
		"wrong password":           {says("28P01"), false},
		"no such login":            {says("28000"), false},
		"wrong password, one away": {errors.Join(refusedDial(), says("28P01")), false},
		"no such database":         {says("3D000"), false},
		"may not":                  {says("42501"), false},
		"lacks a table":            {says("42P01"), false},
		"cannot do that":           {says("0A000"), false},
		"damaged":                  {says("XX001"), false},
		"whatever that is":         {says("22012"), false},
		"commits wait for nobody":  {demandStandby("*", "local"), false},
		"a strange certificate":    {x509.UnknownAuthorityError{}, false},
		"a newer schema":           {qgjob.Conflict("", "version 99"), false},
		"no URL":                   {qgjob.Invalid("database", "cannot be read"), false},
		"given up":                 {context.Canceled, false},
		"a fault":                  {errors.New("a fault"), false},
		"no error":                 {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.err
			if err != nil {
				err = errors.Join((&Store{opts: Options{Retried: true}}).unopened("postgres://db/q", fmt.Errorf("connect: %w", err)), nil)
			}
			if got := Passing(err); got != test.want {
				t.Errorf("passes: %v, want %v: %v", got, test.want, err)
			}
			if err != nil && strings.Contains(err.Error(), "goes on") != test.want {
				t.Errorf("the promise of %v", err)
			}
			if test.err == nil {
				return
			}
			if err := (&Store{}).unopened("postgres://db/q", test.err); strings.Contains(err.Error(), "goes on") {
				t.Errorf("a program that ends promises to go on: %v", err)
			}
		})
	}
}

// TestADatabaseThatIsSilent takes connections and never answers: that is said
// of it, and not of a request.
func TestADatabaseThatIsSilent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Open(context.Background(), "postgres://q:secret@"+l.Addr().String()+"/q?connect_timeout=1", Options{})
	wantError(t, err, qgjob.KindUnavailable, "the database cannot be reached", "start it again when it answers")
	if !Passing(err) || strings.Contains(err.Error(), "secret") {
		t.Errorf("passes: %v: %v", Passing(err), err)
	}
}
