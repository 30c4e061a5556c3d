package device

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/qualgent/qgjob/internal/agent/disk"
)

// Ports for devices come from a range that systems do not give out by
// themselves (Linux: from 32768, others: from 49152).
const (
	firstPort  = 21000
	portBlocks = 500
)

// portBase is the n-th block to try for a device: the same device gets the
// same ports after a restart, and two devices rarely meet.
func portBase(serial string, n int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(serial))
	return firstPort + (int(h.Sum32()%portBlocks)+n)%portBlocks*portBlock
}

// claimPorts takes a block of ports that nobody listens on and that no other
// device of dir has.
func claimPorts(dir, serial string) (int, *disk.Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, nil, err
	}
	for n := range portBlocks {
		base := portBase(serial, n)
		lock, err := disk.TryLock(filepath.Join(dir, strconv.Itoa(base)))
		if _, held := errors.AsType[*disk.HeldError](err); held {
			continue
		}
		if err != nil {
			return 0, nil, err
		}
		if allFree(base) {
			return base, lock, nil
		}
		if err := lock.Unlock(); err != nil {
			return 0, nil, err
		}
	}
	return 0, nil, fmt.Errorf("no %d free ports in a row between %d and %d", portBlock, firstPort, firstPort+portBlocks*portBlock)
}

func allFree(base int) bool {
	var config net.ListenConfig
	for port := base; port < base+portBlock; port++ {
		l, err := config.Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return false
		}
		if l.Close() != nil {
			return false
		}
	}
	return true
}
