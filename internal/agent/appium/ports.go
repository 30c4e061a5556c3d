package appium

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are a device's own on loopback: two sessions on one host that share
// one of them drive each other's device.
type Ports struct {
	Server int // Appium's
	System int // uiautomator2's server on the device, forwarded
	MJPEG  int // the device's screen
	Chrome int // chromedriver, for web views
}

// The range lies below what kernels give to outgoing connections (Linux: from
// 32768), which could take a port between its choice and its use.
const (
	firstPort = 26_000
	lastPort  = 31_999
	portTries = 500
)

// claim is the right of this process to some ports of the host.
type claim struct {
	ports Ports
	held  []net.PacketConn
}

// claimPorts chooses four free ports. A UDP socket of the same number on
// loopback says to other agents of the host that the port is taken; the TCP
// port itself stays free for the program it is meant for, and the kernel ends
// the claim with the process.
func claimPorts(ctx context.Context) (*claim, error) {
	c := &claim{}
	var chosen [4]int
	for i := range chosen {
		port, err := c.next(ctx)
		if err != nil {
			return nil, errors.Join(err, c.release())
		}
		chosen[i] = port
	}
	c.ports = Ports{Server: chosen[0], System: chosen[1], MJPEG: chosen[2], Chrome: chosen[3]}
	return c, nil
}

func (c *claim) next(ctx context.Context) (int, error) {
	var listen net.ListenConfig
	for range portTries {
		port := firstPort + rand.IntN(lastPort-firstPort+1) //nolint:gosec // a port is no secret
		address := loopback(port)
		udp, err := listen.ListenPacket(ctx, "udp", address)
		if err != nil {
			continue
		}
		tcp, err := listen.Listen(ctx, "tcp", address)
		if err != nil {
			_ = udp.Close()
			continue
		}
		c.held = append(c.held, udp)
		return port, tcp.Close()
	}
	return 0, fmt.Errorf("no free port on loopback from %d to %d in %d tries", firstPort, lastPort, portTries)
}

// take waits until a port is this process's alone.
func (c *claim) take(ctx context.Context, port int) error {
	var listen net.ListenConfig
	for {
		udp, err := listen.ListenPacket(ctx, "udp", loopback(port))
		if err == nil {
			c.held = append(c.held, udp)
			c.ports.Server = port
			return nil
		}
		if err := pause(ctx, lockPoll); err != nil {
			return fmt.Errorf("wait for port %d, which one run at a time may have: %w", port, err)
		}
	}
}

func (c *claim) release() error {
	if c == nil {
		return nil
	}
	var errs []error
	for _, u := range c.held {
		errs = append(errs, u.Close())
	}
	c.held = nil
	return errors.Join(errs...)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
