package proc

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const groupCaveat = "If the init of a test is itself killed, programs that left the test's process group survive it: " +
	"run the agent where it may create PID namespaces (root with CAP_SYS_ADMIN, or unprivileged user namespaces allowed)"

// selfPath is this very binary, even after an upgrade has replaced the file.
func selfPath() string { return "/proc/self/exe" }

// intoNamespaces asks for PID 1 of a new PID namespace and a mount namespace for its /proc.
//
// A user other than root needs a user namespace for that. It maps the user to itself, so that programs see no root
// (Chromium refuses its sandbox to root); the exec of a non-root init would then lose the right to mount, so that one
// capability is carried over as ambient, and given up before the test starts.
func intoNamespaces(attr *syscall.SysProcAttr) error {
	attr.Cloneflags = unix.CLONE_NEWPID | unix.CLONE_NEWNS
	// Besides the control pipe, which an init that is stopped would not read.
	attr.Pdeathsig = syscall.SIGKILL
	if uid := os.Geteuid(); uid != 0 {
		gid := os.Getegid()
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
		attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
	}
	return nil
}

// isRefusal is true for the errors by which a kernel, a container or a sysctl says no to namespaces.
func isRefusal(err error) bool {
	for _, e := range []error{unix.EPERM, unix.EACCES, unix.EINVAL, unix.ENOSPC, unix.EUSERS, unix.ENOSYS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// settle makes the init ready for its test. An error means that the isolation is not to be had.
func settle(namespace bool) error {
	if !namespace {
		// Orphans come to us instead of PID 1 of the machine: sweep finds those that left the group.
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("adopt orphans: %w", err)
		}
		return nil
	}
	if pid := os.Getpid(); pid != 1 {
		return fmt.Errorf("the init has pid %d in its namespace, not 1", pid)
	}
	// Again, because exec may have cleared it; a parent that has died in between shows as the end of the control pipe.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("parent-death signal: %w", err)
	}
	// Slave, not shared: our /proc stays in here. And not private: what the host unmounts goes away here too.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("keep mounts inside: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return dropBorrowed()
}

// dropBorrowed gives back the capability that intoNamespaces carried over, so that the test has what its agent has.
func dropBorrowed() error {
	if os.Geteuid() == 0 {
		return nil
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&head, &none[0]); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	return nil
}

// dieWithInit covers the init that is killed in a process group; in a namespace the kernel does it.
func dieWithInit(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

// sweep kills and reaps every descendant. Children of the killed become our own, as we are their subreaper, so it is
// done when there is no child left. It stops at a child that we may not kill (setuid to another user).
func sweep() {
	for {
		// Most tests leave nothing: ask before reading /proc. Somebody is there as long as this gives no ECHILD.
		if _, err := wait4(syscall.WNOHANG); errors.Is(err, syscall.ECHILD) {
			return
		}
		killed := false
		for _, pid := range children() {
			if syscall.Kill(pid, syscall.SIGKILL) == nil {
				killed = true
			}
		}
		if !killed {
			return
		}
		if _, err := wait4(0); err != nil {
			return
		}
	}
}

func wait4(options int) (pid int, err error) {
	for {
		if pid, err = syscall.Wait4(-1, nil, options, nil); err != syscall.EINTR {
			return pid, err
		}
	}
}

// children lists our direct children by the parent field of /proc/PID/stat (proc(5)): the children file of a task
// is not in every kernel.
func children() []int {
	self := os.Getpid()
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	var found []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + name + "/stat")
		if err == nil && parentOf(string(stat)) == self {
			found = append(found, pid)
		}
	}
	return found
}

// parentOf reads the fourth field of a stat line, 0 when there is none. The second, the program's name, may hold
// spaces and parentheses.
func parentOf(stat string) int {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0
	}
	ppid, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0
	}
	return ppid
}
