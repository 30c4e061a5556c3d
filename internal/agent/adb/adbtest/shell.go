package adbtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/qualgent/qgjob/internal/agent/apk"
)

const maxAPK = 512 << 20 // bytes

// shell runs a command line and answers in the form of the service: raw, or
// packets with an exit code.
func (t *talk) shell(line string, packets bool) {
	out, code := t.run(line)
	if packets {
		for len(out) > 0 {
			n := min(len(out), 32<<10)
			t.packet(1, out[:n])
			out = out[n:]
		}
		t.packet(3, []byte{byte(code)}) //nolint:gosec // an exit code
	} else {
		_, _ = t.Write(out)
	}
	// Closing while the other side's bytes are unread would throw away what
	// was just written.
	if c, ok := t.Conn.(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
		_ = t.SetReadDeadline(time.Now().Add(2 * time.Second))
		_, _ = io.Copy(io.Discard, t.r)
	}
}

func (t *talk) packet(id byte, b []byte) {
	head := []byte{id, 0, 0, 0, 0}
	binary.LittleEndian.PutUint32(head[1:], uint32(len(b))) //nolint:gosec // at most 32 KiB
	_, _ = t.Write(append(head, b...))
}

// run obeys a command line: its commands one after the other.
func (t *talk) run(line string) (out []byte, code int) {
	for _, words := range commands(line) {
		var more []byte
		more, code = t.command(words)
		out = append(out, more...)
	}
	return out, code
}

// commands splits a line into commands and words, as a shell does, without
// variables and redirections.
func commands(line string) [][]string {
	var all [][]string
	var words []string
	var word strings.Builder
	inWord := false
	end := func() {
		if inWord {
			words = append(words, word.String())
			word.Reset()
			inWord = false
		}
	}
	quote := byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == '\'' || quote == '"' && c != '\\':
			word.WriteByte(c)
		case c == '\\' && i+1 < len(line):
			i++
			word.WriteByte(line[i])
			inWord = true
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == ' ' || c == '\t' || c == '\n':
			end()
		case c == ';' || c == '&' || c == '|':
			end()
			if len(words) > 0 {
				all, words = append(all, words), nil
			}
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	end()
	if len(words) > 0 {
		all = append(all, words)
	}
	return all
}

// command obeys one command. What it does not know prints nothing and
// succeeds: programs that drive devices ask many things.
func (t *talk) command(words []string) (out []byte, code int) {
	s, d := t.server, t.device
	if words[0] == "exec" && len(words) > 1 {
		words = words[1:]
	}
	if words[0] == "cmd" && len(words) > 2 && words[1] == "package" || words[0] == "pm" && len(words) > 1 {
		verb := slices.Index(words, "package") + 1
		if words[0] == "pm" {
			verb = 1
		}
		return t.pm(words[verb], words[verb+1:])
	}
	if words[0] == "logcat" && !slices.Contains(words, "-d") {
		t.follow()
		return nil, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch words[0] {
	case "getprop":
		return []byte(d.props(words[1:])), 0
	case "service":
		if !d.booted {
			return []byte("Service package: not found\n"), 0
		}
		return []byte("Service package: found\n"), 0
	case "dumpsys":
		return []byte(d.dumpsys(words[1:])), 0
	case "am":
		return t.am(words[1:])
	case "pidof":
		if a := d.apps[words[len(words)-1]]; a != nil && a.running {
			return []byte("4711\n"), 0
		}
		return nil, 1
	case "screencap":
		return d.picture(), 0
	case "logcat":
		return []byte(strings.Join(d.log, "\n") + "\n"), 0
	case "df":
		return fmt.Appendf(nil, "Filesystem     1K-blocks    Used Available Use%% Mounted on\n/dev/block/dm-8 116000000 9000000 %d  93%% /data\n", d.freeKB), 0
	case "date":
		return []byte(time.Now().UTC().Format("2006-01-02 15:04:05.000") + "\n"), 0
	case "echo":
		return []byte(strings.Join(words[1:], " ") + "\n"), 0
	case "wm":
		return []byte("Physical size: 1080x2400\n"), 0
	case "rm":
		delete(d.files, words[len(words)-1])
	case "false":
		return nil, 1
	}
	return nil, 0
}

func (d *device) props(words []string) string {
	boot := "0"
	if d.booted {
		boot = "1"
	}
	all := map[string]string{
		"ro.product.model": d.Model, "ro.product.manufacturer": "Google", "ro.build.version.release": d.Release,
		"ro.build.version.sdk": strconv.Itoa(d.SDK), "ro.product.cpu.abi": d.ABI, "ro.product.cpu.abilist": d.ABI,
		"ro.serialno": d.Serial, "sys.boot_completed": boot,
	}
	if len(words) > 0 {
		return all[words[0]] + "\n"
	}
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "[%s]: [%s]\n", k, all[k])
	}
	return b.String()
}

func (d *device) dumpsys(words []string) string {
	switch {
	case len(words) == 0:
		return ""
	case words[0] == "battery":
		return fmt.Sprintf("Current Battery Service state:\n  AC powered: false\n  USB powered: true\n  present: true\n  level: %d\n  scale: 100\n", d.battery)
	case words[0] == "connectivity" && d.offline:
		return "Active default network: none\n"
	case words[0] == "connectivity":
		return "Active default network: 100\n"
	case words[0] == "package" && len(words) > 1:
		a := d.apps[words[1]]
		if a == nil && strings.HasPrefix(words[1], "io.appium.") {
			a = &app{name: words[1], versionCode: 9999, versionName: "99.9.9"}
		}
		if a == nil {
			return "Unable to find package: " + words[1] + "\n"
		}
		return fmt.Sprintf("Packages:\n  Package [%s] (a1b2c3):\n    userId=10123\n    codePath=%s\n    versionCode=%d minSdk=21 targetSdk=34\n    versionName=%s\n    firstInstallTime=2026-01-01 00:00:00\n    lastUpdateTime=%s\n",
			a.name, path.Dir(a.path), a.versionCode, a.versionName, a.updated)
	}
	return ""
}

func (t *talk) am(words []string) ([]byte, int) {
	d := t.device
	verb, what := "", ""
	if len(words) > 0 {
		verb, what = words[0], words[len(words)-1]
	}
	switch verb {
	case "force-stop":
		if a := d.apps[what]; a != nil {
			a.running = false
		}
		t.server.note(Entry{Serial: d.Serial, Action: "stop", Package: what})
	case "start", "start-activity":
		if i := slices.Index(words, "-n"); i >= 0 && i+1 < len(words) {
			what = words[i+1]
		}
		pkg, activity, _ := strings.Cut(what, "/")
		if len(d.launch) > 0 {
			said := d.launch[0]
			d.launch = d.launch[1:]
			return []byte("Starting: Intent { cmp=" + what + " }\nError: " + said + "\n"), 0
		}
		a := d.apps[pkg]
		if a == nil {
			return []byte("Starting: Intent { cmp=" + what + " }\nError type 3\nError: Activity class {" + what + "} does not exist.\n"), 0
		}
		a.running = true
		d.say("ActivityTaskManager: START u0 " + what)
		t.server.note(Entry{Serial: d.Serial, Action: "launch", Package: pkg, VersionCode: a.versionCode, SHA256: a.sha256, Detail: activity})
		return []byte("Starting: Intent { cmp=" + what + " }\nStatus: ok\nComplete\n"), 0
	}
	return nil, 0
}

// follow streams the log until the other side has enough.
func (t *talk) follow() {
	t.server.mu.Lock()
	text, gone := strings.Join(t.device.log, "\n")+"\n", t.device.gone
	t.server.mu.Unlock()
	_, _ = io.WriteString(t, text)
	left := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, t.r)
		close(left)
	}()
	select {
	case <-left:
	case <-gone:
	case <-t.server.closed:
	}
}

// pm obeys the package manager's commands.
func (t *talk) pm(verb string, words []string) ([]byte, int) {
	if verb == "install" {
		return []byte(t.install(words)), 0
	}
	s, d := t.server, t.device
	s.mu.Lock()
	defer s.mu.Unlock()
	name := ""
	if len(words) > 0 {
		name = words[len(words)-1]
	}
	a := d.apps[name]
	switch verb {
	case "path":
		if a == nil {
			return nil, 1
		}
		return []byte("package:" + a.path + "\n"), 0
	case "uninstall":
		if a == nil {
			return []byte("Failure [DELETE_FAILED_INTERNAL_ERROR]\n"), 1
		}
		delete(d.apps, name)
		s.note(Entry{Serial: d.Serial, Action: "uninstall", Package: name})
		return []byte("Success\n"), 0
	case "clear":
		if a == nil {
			return []byte("Failed\n"), 1
		}
		a.running = false
		s.note(Entry{Serial: d.Serial, Action: "clear", Package: name})
		return []byte("Success\n"), 0
	case "list":
		out := "package:io.appium.settings\npackage:io.appium.uiautomator2.server\npackage:io.appium.uiautomator2.server.test\n"
		for _, name := range slices.Sorted(maps.Keys(d.apps)) {
			out += "package:" + name + "\n"
		}
		return []byte(out), 0
	}
	return nil, 0
}

// install takes an APK from the conversation (-S) or from a pushed file.
func (t *talk) install(words []string) string {
	s, d := t.server, t.device
	var file []byte
	if i := slices.Index(words, "-S"); i >= 0 && i+1 < len(words) {
		n, err := strconv.ParseInt(words[i+1], 10, 64)
		if err != nil || n < 1 || n > maxAPK {
			return "Failure [INSTALL_FAILED_INVALID_APK: size]\n"
		}
		file = make([]byte, n)
		if _, err := io.ReadFull(t.r, file); err != nil {
			return "Failure [INSTALL_FAILED_ABORTED: the connection broke]\n"
		}
	} else if len(words) > 0 {
		s.mu.Lock()
		file = d.files[words[len(words)-1]]
		s.mu.Unlock()
	}
	s.mu.Lock()
	slow, gone := d.slow, d.gone
	s.mu.Unlock()
	if slow > 0 {
		timer := time.NewTimer(slow)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-gone:
			return ""
		case <-s.closed:
			return ""
		}
	}
	sum := sha256.Sum256(file)
	e := Entry{Serial: d.Serial, Action: "install", SHA256: hex.EncodeToString(sum[:]), Bytes: int64(len(file))}
	info, err := apk.Read(bytes.NewReader(file), int64(len(file)))
	s.mu.Lock()
	defer s.mu.Unlock()
	why := d.refuse(info, err, slices.Contains(words, "-d"))
	e.Package, e.VersionCode = info.Package, info.VersionCode
	if why != "" {
		e.Action, e.Detail = "install-failed", why
		s.note(e)
		return "Failure [" + why + "]\n"
	}
	d.put(&app{name: info.Package, versionCode: info.VersionCode, versionName: info.VersionName, activity: info.Activity, sha256: e.SHA256})
	s.note(e)
	return "Success\n"
}

// refuse says why a device does not take an app, or "".
func (d *device) refuse(info apk.Info, err error, downgrade bool) string {
	if len(d.install) > 0 {
		why := d.install[0]
		d.install = d.install[1:]
		return why
	}
	have := d.apps[info.Package]
	switch {
	case err != nil:
		return "INSTALL_PARSE_FAILED_NOT_APK: Failed to parse"
	case len(info.ABIs) > 0 && !slices.Contains(info.ABIs, d.ABI):
		return "INSTALL_FAILED_NO_MATCHING_ABIS: Failed to extract native libraries, res=-113"
	case info.MinSDK > d.SDK:
		return "INSTALL_FAILED_OLDER_SDK: Requires newer sdk version #" + strconv.Itoa(info.MinSDK)
	case have != nil && have.versionCode > info.VersionCode && !downgrade:
		return "INSTALL_FAILED_VERSION_DOWNGRADE"
	}
	return ""
}

// sync obeys the file service: STAT, SEND and RECV (adb: SYNC.TXT).
func (t *talk) sync() {
	for {
		head := make([]byte, 8)
		if _, err := io.ReadFull(t.r, head); err != nil {
			return
		}
		n := binary.LittleEndian.Uint32(head[4:])
		if n > 1<<16 {
			return
		}
		arg := make([]byte, n)
		switch string(head[:4]) {
		case "STAT", "SEND", "RECV":
			if _, err := io.ReadFull(t.r, arg); err != nil {
				return
			}
		}
		switch string(head[:4]) {
		case "STAT":
			t.stat(string(arg))
		case "SEND":
			if !t.receive(string(arg)) {
				return
			}
		case "RECV":
			t.send(string(arg))
		default:
			return
		}
	}
}

func (t *talk) stat(name string) {
	t.server.mu.Lock()
	file, ok := t.device.files[name]
	t.server.mu.Unlock()
	answer := make([]byte, 16)
	copy(answer, "STAT")
	if ok {
		binary.LittleEndian.PutUint32(answer[4:], 0o100644)
		binary.LittleEndian.PutUint32(answer[8:], uint32(len(file))) //nolint:gosec // at most maxAPK
	}
	_, _ = t.Write(answer)
}

func (t *talk) receive(arg string) bool {
	name, _, _ := strings.Cut(arg, ",")
	var file bytes.Buffer
	for {
		head := make([]byte, 8)
		if _, err := io.ReadFull(t.r, head); err != nil {
			return false
		}
		n := int64(binary.LittleEndian.Uint32(head[4:]))
		switch string(head[:4]) {
		case "DATA":
			if _, err := io.CopyN(&file, t.r, n); err != nil || file.Len() > maxAPK {
				return false
			}
		case "DONE":
			t.server.mu.Lock()
			t.device.files[name] = file.Bytes()
			t.server.mu.Unlock()
			_, _ = t.Write([]byte("OKAY\x00\x00\x00\x00"))
			return true
		default:
			return false
		}
	}
}

func (t *talk) send(name string) {
	t.server.mu.Lock()
	file := t.device.files[name]
	t.server.mu.Unlock()
	part := func(word string, b []byte) {
		head := make([]byte, 8)
		copy(head, word)
		binary.LittleEndian.PutUint32(head[4:], uint32(len(b))) //nolint:gosec // at most 64 KiB
		_, _ = t.Write(append(head, b...))
	}
	for len(file) > 0 {
		n := min(len(file), 64<<10)
		part("DATA", file[:n])
		file = file[n:]
	}
	part("DONE", nil)
}
