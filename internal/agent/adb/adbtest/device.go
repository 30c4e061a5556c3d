package adbtest

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"time"
)

// Device is a device as a test wants it. Zero values are those of a healthy
// phone.
type Device struct {
	Serial  string `json:"serial"`
	Model   string `json:"model,omitempty"`   // default: Pixel 8
	State   string `json:"state,omitempty"`   // default: device; offline, unauthorized, …
	Release string `json:"release,omitempty"` // default: 14
	SDK     int    `json:"sdk,omitempty"`     // default: 34
	ABI     string `json:"abi,omitempty"`     // default: x86_64 for emulators, else arm64-v8a
}

// device is a plugged one with what was done to it.
type device struct {
	Device
	id        int
	state     string
	booted    bool
	battery   int
	freeKB    int64
	offline   bool // without a network
	apps      map[string]*app
	files     map[string][]byte
	log       []string
	install   []string // what the next installs are refused with
	launch    []string // what the next launches are refused with
	slow      time.Duration
	installed int // counts installs, for paths
	gone      chan struct{}
}

// app is an installed one.
type app struct {
	name, versionName, activity string
	versionCode                 int64
	path, updated, sha256       string
	running                     bool
}

// Plug connects a device, or connects it again with the apps it had.
func (s *Server) Plug(d Device) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.Model == "" {
		d.Model = "Pixel 8"
	}
	if d.State == "" {
		d.State = "device"
	}
	if d.Release == "" {
		d.Release, d.SDK = "14", 34
	}
	if d.ABI == "" {
		d.ABI = "arm64-v8a"
		if len(d.Serial) > 9 && d.Serial[:9] == "emulator-" {
			d.ABI = "x86_64"
		}
	}
	s.nextID++
	fresh := &device{Device: d, id: s.nextID, state: d.State, booted: true, battery: 90, freeKB: 8 << 20,
		apps: map[string]*app{}, files: map[string][]byte{}, gone: make(chan struct{})}
	if old := s.drawer(d.Serial); old != nil {
		fresh.apps, fresh.files, fresh.log, fresh.installed = old.apps, old.files, old.log, old.installed
	}
	s.devices[d.Serial] = fresh
	s.announce()
}

// drawer is where an unplugged device keeps its apps.
func (s *Server) drawer(serial string) *device {
	if d := s.devices[serial]; d != nil {
		return d
	}
	d := s.unplugged[serial]
	delete(s.unplugged, serial)
	return d
}

// Unplug takes a device away; what it was doing breaks off.
func (s *Server) Unplug(serial string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[serial]
	if d == nil {
		return
	}
	delete(s.devices, serial)
	s.unplugged[serial] = d
	s.cut(d)
	s.announce()
}

// cut breaks every conversation with a device.
func (s *Server) cut(d *device) {
	close(d.gone)
	d.gone = make(chan struct{})
	for c, serial := range s.conns {
		if serial == d.Serial {
			_ = c.Close()
		}
	}
}

// SetState makes a device offline, unauthorized or device again; anything but
// device breaks off what it was doing.
func (s *Server) SetState(serial, state string) {
	s.change(serial, func(d *device) {
		d.state = state
		if state != "device" {
			s.cut(d)
		}
		s.announce()
	})
}

// FailInstalls refuses the next installs on a device, each with the next of
// the codes, such as INSTALL_FAILED_UPDATE_INCOMPATIBLE.
func (s *Server) FailInstalls(serial string, codes ...string) {
	s.change(serial, func(d *device) { d.install = append(d.install, codes...) })
}

// FailLaunches refuses the next starts of activities with these words.
func (s *Server) FailLaunches(serial string, words ...string) {
	s.change(serial, func(d *device) { d.launch = append(d.launch, words...) })
}

// Slow makes every install on a device take that long.
func (s *Server) Slow(serial string, each time.Duration) {
	s.change(serial, func(d *device) { d.slow = each })
}

// Health is what a device says of itself.
type Health struct {
	Booted  bool  `json:"booted"`
	Battery int   `json:"battery"` // percent
	FreeKB  int64 `json:"free_kb"`
	Offline bool  `json:"offline"` // without a network
}

// SetHealth changes what a device says of itself.
func (s *Server) SetHealth(serial string, h Health) {
	s.change(serial, func(d *device) { d.booted, d.battery, d.freeKB, d.offline = h.Booted, h.Battery, h.FreeKB, h.Offline })
}

// Replace puts another build on a device behind everybody's back, as a person
// with a cable would.
func (s *Server) Replace(serial, pkg string, versionCode int64) {
	s.change(serial, func(d *device) {
		d.put(&app{name: pkg, versionCode: versionCode, sha256: "by hand"})
	})
}

// Holds tells the version and the SHA-256 of a device's app; "" when it has
// none.
func (s *Server) Holds(serial, pkg string) (versionCode int64, sha256 string) {
	s.change(serial, func(d *device) {
		if a := d.apps[pkg]; a != nil {
			versionCode, sha256 = a.versionCode, a.sha256
		}
	})
	return versionCode, sha256
}

func (s *Server) change(serial string, do func(*device)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.devices[serial]; d != nil {
		do(d)
	}
}

// put installs an app under a new path.
func (d *device) put(a *app) {
	d.installed++
	a.path = "/data/app/~~" + strconv.Itoa(d.installed) + "==/" + a.name + "-" + strconv.Itoa(d.id) + "/base.apk"
	a.updated = time.Now().UTC().Format("2006-01-02 15:04:05")
	d.apps[a.name] = a
	d.say("PackageManager: installed " + a.name + " " + strconv.FormatInt(a.versionCode, 10))
}

// say writes a line to the device's log, in the form threadtime.
func (d *device) say(text string) {
	d.log = append(d.log, time.Now().UTC().Format("01-02 15:04:05.000")+"  1000  1000 I "+text)
	if len(d.log) > 2000 {
		d.log = d.log[1000:]
	}
}

// picture is a small screen whose colour follows what runs.
func (d *device) picture() []byte {
	shade := uint8(0)
	for _, a := range d.apps {
		if a.running {
			shade = uint8(a.versionCode) //nolint:gosec // any colour will do
		}
	}
	img := image.NewRGBA(image.Rect(0, 0, 54, 120))
	for y := range 120 {
		for x := range 54 {
			img.Set(x, y, color.RGBA{shade, uint8(y), uint8(x), 255}) //nolint:gosec // below 256
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err) // a buffer takes everything
	}
	return b.Bytes()
}

// WaitBusy waits until a device talks to somebody.
func (s *Server) WaitBusy(serial string) {
	for {
		s.mu.Lock()
		busy := slices.Contains(slices.Collect(maps.Values(s.conns)), serial)
		s.mu.Unlock()
		if busy {
			return
		}
		runtime.Gosched()
	}
}
