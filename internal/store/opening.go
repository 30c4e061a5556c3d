package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
)

// What only those may promise who try again.
const (
	hintGoesOn   = "the server goes on as soon as it answers; nothing accepted was lost"
	hintByItself = "; the server goes on by itself"
)

// unopened says which PostgreSQL database could not be opened, and who begins
// again when it answers: the caller (Options.Retried) or a person.
func (s *Store) unopened(name string, err error) error {
	var unknown *unknownError
	if errors.As(err, &unknown) {
		err = unknown.cause // nobody waits to hear whether something was accepted
	}
	var known *qgjob.Error
	if errors.As(err, &known) {
		said := *known
		said.Hint = s.promise(err, said.Hint)
		return fmt.Errorf("open database %s: %w", name, &said)
	}
	said := &qgjob.Error{Err: fmt.Errorf("open database %s: %w", name, err)}
	if said.Kind, said.Message, said.Hint = explainPostgres(err); said.Kind == "" || errors.Is(err, context.Canceled) {
		return unavailable(said.Err)
	}
	said.Hint = s.promise(said, said.Hint)
	return said
}

// promise completes a hint by who tries again.
func (s *Store) promise(err error, hint string) string {
	switch {
	case !s.opts.Retried:
		return strings.TrimSuffix(strings.Replace(hint, hintGoesOn, "start it again when it answers", 1), hintByItself)
	case Passing(err) && !strings.Contains(hint, "goes on"):
		return hint + hintByItself
	}
	return hint
}

// Passing reports whether what kept a PostgreSQL database from being opened or
// asked may end while nothing changes here: it is away, starting or stopping,
// full, read-only, busy, out of connections, or without its standby. Then it is
// worth trying again. What takes another command line, role or binary is not.
//
// An error has the answers of all hosts of the URL: one that may come back is
// enough, unless another has said what all of them would say.
func Passing(err error) bool {
	if qgjob.KindOf(err) != qgjob.KindUnavailable {
		return false
	}
	passes := silent(err)
	for _, code := range codes(err) {
		switch code {
		case "28P01", "3D000", "42501":
			return false
		}
		passes = passes || passingCode(code)
	}
	return passes
}

// silent reports that a host was not reached or hung up, or that it is not the
// primary, or has no standby, for now.
func silent(err error) bool {
	var network net.Error
	var former *lease.FormerError
	var unknown *unknownError
	if errors.As(err, &network) || errors.As(err, &former) || errors.As(err, &unknown) {
		return true
	}
	for _, known := range []error{errStandby, errNoStandby, errUnnamedStandby, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, driver.ErrBadConn} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// codes are those of all that PostgreSQL has said in an error: errors.As finds
// the first only.
func codes(err error) (list []string) {
	switch e := err.(type) { //nolint:errorlint // it looks at every error of the tree
	case *pgconn.PgError:
		return []string{e.Code}
	case interface{ Unwrap() error }:
		return codes(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inside := range e.Unwrap() {
			list = append(list, codes(inside)...)
		}
	}
	return list
}

// passingCode is Passing for one thing that PostgreSQL says. Not 0A000: it may be a service
// that will never do what is asked of it.
func passingCode(code string) bool {
	switch code {
	case "25006", "40001", "40P01", "55P03":
		return true
	}
	switch code[:min(2, len(code))] {
	case "08", "53", "57", "58":
		return true
	}
	return false
}
