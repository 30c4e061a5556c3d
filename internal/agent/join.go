package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/disk"
	"github.com/qualgent/qgjob/internal/client"
)

// join gives the host a token of its own, when it was started without one: that
// which an earlier start got, else the one that it gets now for its join token.
// A server that is away is waited for. All processes of one name share the
// token; a lock lets one of them get it.
func (h *host) join(ctx context.Context) error {
	path := ringPath(h.StateDir, h.Name)
	if h.Server.Bears() || h.JoinToken == "" && absent(path) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("state-dir: %w", err)
	}
	lock, err := h.lockRing(ctx, path+".lock")
	if err != nil {
		return err
	}
	token, err := h.ownToken(ctx, path)
	if err := errors.Join(err, lock.Unlock()); err != nil {
		return err
	}
	if token != "" {
		h.own = true
		h.Server, h.cache.server = h.Server.WithToken(token), h.cache.server.WithToken(token)
	}
	return nil
}

func absent(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, os.ErrNotExist)
}

func (h *host) lockRing(ctx context.Context, path string) (*disk.Lock, error) {
	for {
		l, err := disk.TryLock(path)
		if _, held := errors.AsType[*disk.HeldError](err); !held {
			return l, err
		}
		if err := pause(ctx, lockPoll); err != nil {
			return nil, err
		}
	}
}

// ownToken decides between the token that is kept and a new one. Empty: there
// is none for this server.
func (h *host) ownToken(ctx context.Context, path string) (string, error) {
	r, err := readRing(path)
	if err != nil {
		return "", err
	}
	servers := h.Server.Bases()
	if h.JoinToken == "" {
		k := r.of(servers, !h.ServerFound)
		switch {
		case k == nil:
			return "", nil
		case k.Token == "":
			return "", &qgjob.Error{Kind: qgjob.KindDenied, Code: qgjob.CodeUnauthenticated, Message: fmt.Sprintf("agent %s began to join, and the server's answer never came", h.Name),
				Hint: "start it with the same join token again, in QGJOB_TOKEN or --token-file"}
		}
		return k.Token, nil
	}
	k, changed := r.widen(servers)
	if k.Token == "" || k.Join != qgjob.TokenSum(h.JoinToken) {
		return h.exchange(ctx, r, k)
	}
	if changed {
		err = r.save()
	}
	return k.Token, err
}

// exchange asks for a new token. What it asks for is on disk before: when the
// answer is lost, the next start asks for the same. A join token that is
// refused does not cost the host a token that it has.
func (h *host) exchange(ctx context.Context, r *ring, k *key) (string, error) {
	if sum := qgjob.TokenSum(h.JoinToken); k.Next == "" || k.NextJoin != sum {
		k.Next, k.NextJoin = qgjob.NewToken(qgjob.TokenAgent), sum
	}
	if err := r.save(); err != nil {
		return "", err
	}
	got, err := h.askToJoin(ctx, qgjob.JoinRequest{AgentID: qgjob.AgentID(h.Name), SHA256: qgjob.TokenSum(k.Next), Devices: h.Device == DeviceADB || h.ios()})
	switch {
	case err == nil:
		h.Log.Info("joined", "agent", h.Name, "token", got.TokenID, "org", string(got.OrgID), "expires", got.ExpiresAt)
		k.Token, k.Join, k.Next, k.NextJoin = k.Next, k.NextJoin, "", ""
		return k.Token, r.save()
	case ctx.Err() != nil:
		return "", err
	}
	k.Next, k.NextJoin = "", ""
	if k.Token != "" {
		h.Log.Warn("the join token is refused; going on with the token of an earlier one", "agent", h.Name, "error", err)
		return k.Token, r.save()
	}
	return "", errors.Join(h.notJoined(err), r.save())
}

// askToJoin asks until the server says something definite.
func (h *host) askToJoin(ctx context.Context, req qgjob.JoinRequest) (qgjob.Token, error) {
	away := false
	c := h.Server.WithToken(h.JoinToken).With(client.Retry{Budget: client.Unlimited, Max: retryCeiling, Notify: func(err error) {
		if err != nil && !away {
			away = true
			h.Log.Warn("the server does not answer; the agent keeps trying to join", "error", err)
		}
	}})
	for {
		got, err := c.Join(ctx, req)
		if err == nil || ctx.Err() != nil || !waitable(err) {
			return got, err
		}
		h.Log.Warn("tries again", "what", "join", "error", err)
		if err := pause(ctx, h.retryPause+rand.N(h.retryPause)); err != nil { //nolint:gosec // a pause is no secret
			return got, err
		}
	}
}

// notJoined says what to do about a join token that is refused.
func (h *host) notJoined(err error) error {
	e, ok := errors.AsType[*qgjob.Error](err)
	if !ok || e.Kind != qgjob.KindDenied {
		return fmt.Errorf("join as agent %s: %w", h.Name, err)
	}
	said := *e
	if e.Code != qgjob.CodeScope { // then the server's own hint says more
		said.Hint = h.joinAgain()
	}
	return fmt.Errorf("join as agent %s: %w", h.Name, &said)
}

func (h *host) joinAgain() string {
	return fmt.Sprintf("make another join token (qgjob token create --kind=agent-join --agent=%s) and start the agent with it, in QGJOB_TOKEN or --token-file", h.Name)
}

// disowned says what to do when the server takes the host's own token no more.
func (h *host) disowned(err error) error {
	e, ok := errors.AsType[*qgjob.Error](err)
	if !ok || !h.own || e.Kind != qgjob.KindDenied {
		return err
	}
	said := *e
	said.Hint = h.joinAgain()
	return fmt.Errorf("agent %s, with the token that it got when it joined: %w", h.Name, &said)
}
