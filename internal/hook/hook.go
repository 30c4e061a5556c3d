// Package hook is telling others: signed webhooks, and what GitHub shows of a
// run. It decides nothing about when; it says what to send, and sends it to
// addresses that may be asked.
//
// It imports the root package only.
package hook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"github.com/qualgent/qgjob"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const (
	sendWithin = 15 * time.Second // for one message, as Standard Webhooks advises
	maxReply   = 64 << 10         // bytes of an answer that are read
)

// Sender sends messages. It is safe for concurrent use.
type Sender struct {
	http  *http.Client
	agent string
}

// NewSender makes a sender that reaches public addresses, and those in allow.
// Which address a name stands for is looked at when it is dialled, so that no
// name can lead into the farm's own network. Redirects are not followed.
func NewSender(allow []netip.Prefix, agent string) *Sender {
	dialer := &net.Dialer{Timeout: 5 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		return reachable(address, allow)
	}}
	t := &http.Transport{
		Proxy:       nil, // a proxy would be dialled in the receiver's place
		DialContext: dialer.DialContext, TLSHandshakeTimeout: 5 * time.Second, ResponseHeaderTimeout: sendWithin,
		MaxIdleConnsPerHost: 1, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
	}
	return &Sender{agent: agent, http: &http.Client{
		Transport: t, Timeout: sendWithin,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// reserved are the networks that are nobody's to be asked on behalf of
// somebody else, beyond what netip tells itself (IANA special-purpose
// registries).
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("fec0::/10"),
}

// errUnreachable is the cause of a message that was sent to no one.
var errUnreachable = errors.New("the address is not a public one, and the server does not allow it (--webhook-allow)")

// reachable judges the address, ip:port, that is about to be dialled.
func reachable(address string, allow []netip.Prefix) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := at.Addr().Unmap().WithZone("")
	for _, p := range allow {
		if p.Contains(ip) {
			return nil
		}
	}
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() {
		return errUnreachable
	}
	for _, p := range reserved {
		if p.Contains(ip) {
			return errUnreachable
		}
	}
	return nil
}

// Send tells a webhook of something, under an id that stays the same when it
// is told again. The error says in one line why it was not taken; nil is any
// answer from 200 to 299.
func (s *Sender) Send(ctx context.Context, to qgjob.Webhook, id string, message qgjob.WebhookMessage) error {
	body, err := json.Marshal(message)
	if err != nil {
		return err
	}
	signer, err := standardwebhooks.NewWebhook(to.Secret)
	if err != nil {
		return errors.New("its secret cannot be read")
	}
	now := time.Now()
	signature, err := signer.Sign(id, now, body)
	if err != nil {
		return errors.New("it cannot be signed")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("its url cannot be used")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", s.agent)
	req.Header.Set(standardwebhooks.HeaderWebhookID, id)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	res, err := s.http.Do(req)
	if err != nil {
		return brief(err)
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, maxReply)
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return fmt.Errorf("it answered %d %s", res.StatusCode, http.StatusText(res.StatusCode))
	}
	return nil
}

// brief leaves the URL out of a network's error: it may hold a secret.
func brief(err error) error {
	var network net.Error
	switch {
	case errors.Is(err, errUnreachable):
		return errUnreachable
	case errors.As(err, &network) && network.Timeout():
		return errors.New("it did not answer in time")
	}
	for inner := err; ; {
		next := errors.Unwrap(inner)
		if next == nil {
			return errors.New("it cannot be reached: " + inner.Error())
		}
		inner = next
	}
}

// pauses are those between tries, as Standard Webhooks advises: two days and a
// half in all.
var pauses = []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour}

// Pause is how long to wait after the tries-th try in vain, the first being 1,
// and whether to try again at all. spread, from 0 to 1, moves it by up to a
// fifth to either side, so that not all come back at once.
func Pause(tries int, spread float64) (wait time.Duration, again bool) {
	if tries < 1 || tries > len(pauses) {
		return 0, false
	}
	return time.Duration(float64(pauses[tries-1]) * (0.8 + 0.4*spread)), true
}
