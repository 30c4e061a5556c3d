package adb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Bounds on what takes a device longer than a question.
const (
	installTime = 10 * time.Minute
	pictureTime = 20 * time.Second
	maxPicture  = 64 << 20 // bytes
)

// Phone is one device behind a server.
type Phone struct {
	server *Client
	serial string
}

// Phone gives the device of a serial number; nobody is asked whether it is
// there.
func (c *Client) Phone(serial string) *Phone { return &Phone{c, serial} }

// Serial is the device's name at its server.
func (p *Phone) Serial() string { return p.serial }

// Server is the client of the device's server.
func (p *Phone) Server() *Client { return p.server }

func (p *Phone) sh(ctx context.Context, args ...string) (string, error) {
	return p.server.Shell(ctx, p.serial, args...)
}

// Props gives the device's properties.
func (p *Phone) Props(ctx context.Context) (map[string]string, error) {
	text, err := p.sh(ctx, "getprop")
	if err != nil {
		return nil, err
	}
	return ParseProps(text), nil
}

// Booted reports whether the system is up and its package service answers.
func (p *Phone) Booted(ctx context.Context) (bool, error) {
	text, err := p.sh(ctx, "getprop", "sys.boot_completed")
	if err != nil || strings.TrimSpace(text) != "1" {
		return false, err
	}
	text, err = p.sh(ctx, "service", "check", "package")
	return err == nil && !strings.Contains(text, "not found"), err
}

// Package asks what the device holds under a name; false when it has no such
// app.
func (p *Phone) Package(ctx context.Context, name string) (Package, bool, error) {
	if !ValidPackage(name) {
		return Package{}, false, badName(name)
	}
	text, err := p.sh(ctx, "pm", "path", name)
	if _, said := errors.AsType[*CommandError](err); err != nil && !said {
		return Package{}, false, err
	}
	path := ParsePath(text) // pm leaves with 1 for a name it does not know
	if path == "" {
		return Package{}, false, nil
	}
	if text, err = p.sh(ctx, "dumpsys", "package", name); err != nil {
		return Package{}, false, err
	}
	got, ok := ParsePackage(text, name)
	got.Path = path
	return got, ok, nil
}

// Install streams an APK of size bytes to the device's installer. It takes
// test builds, lower versions than the one before, and grants every permission
// (-r -t -d -g). A refusal is an *InstallError.
func (p *Phone) Install(ctx context.Context, apk io.Reader, size int64) error {
	out, err := p.server.Exec(ctx, p.serial, io.LimitReader(apk, size), 64<<10, installTime,
		"cmd", "package", "install", "-r", "-t", "-d", "-g", "-S", strconv.FormatInt(size, 10))
	if err != nil {
		return err
	}
	return ParseInstall(string(out))
}

// Uninstall removes an app with its data; one that is not there is no error.
func (p *Phone) Uninstall(ctx context.Context, name string) error {
	if !ValidPackage(name) {
		return badName(name)
	}
	text, err := p.server.shell(ctx, p.serial, 2*time.Minute, "pm", "uninstall", name)
	if said, ok := errors.AsType[*CommandError](err); ok {
		text, err = text+said.Output, nil
	}
	if err != nil {
		return err
	}
	if err := ParseInstall(text); err != nil && !strings.Contains(text, "DELETE_FAILED_INTERNAL_ERROR") && !strings.Contains(text, "not installed") {
		return fmt.Errorf("uninstall %s: %w", name, err)
	}
	return nil
}

// Clear deletes an app's data and stops it.
func (p *Phone) Clear(ctx context.Context, name string) error {
	if !ValidPackage(name) {
		return badName(name)
	}
	text, err := p.sh(ctx, "pm", "clear", name)
	if err == nil && strings.TrimSpace(text) != "Success" {
		err = fmt.Errorf("pm clear %s: %s", name, brief(text))
	}
	return err
}

// Stop ends an app's processes.
func (p *Phone) Stop(ctx context.Context, name string) error {
	if !ValidPackage(name) {
		return badName(name)
	}
	_, err := p.sh(ctx, "am", "force-stop", name)
	return err
}

// Launch brings an activity up and waits until it is there. activity is a
// class name of the package.
func (p *Phone) Launch(ctx context.Context, name, activity string) error {
	if !ValidPackage(name) || activity == "" {
		return badName(name + "/" + activity)
	}
	text, err := p.sh(ctx, "am", "start", "-W", "-n", name+"/"+activity)
	if err == nil && (strings.Contains(text, "Error") || strings.Contains(text, "Exception")) {
		err = fmt.Errorf("am start %s/%s: %s", name, activity, brief(text))
	}
	return err
}

// Running reports whether an app has a process.
func (p *Phone) Running(ctx context.Context, name string) (bool, error) {
	if !ValidPackage(name) {
		return false, badName(name)
	}
	text, err := p.sh(ctx, "pidof", name)
	if _, said := errors.AsType[*CommandError](err); said {
		return false, nil // pidof leaves with 1 for none
	}
	return strings.TrimSpace(text) != "", err
}

// Picture is what the screen shows, as PNG.
func (p *Phone) Picture(ctx context.Context) ([]byte, error) {
	out, err := p.server.Exec(ctx, p.serial, nil, maxPicture, pictureTime, "screencap", "-p")
	if err == nil && !bytes.HasPrefix(out, []byte("\x89PNG\r\n\x1a\n")) {
		err = fmt.Errorf("screencap on %s: %q is no picture", p.serial, brief(string(out)))
	}
	return out, err
}

// Logcat is the newest lines of the device's log, at most lines of them; with
// a time, only those after it, by the device's clock.
func (p *Phone) Logcat(ctx context.Context, lines int, since string) ([]byte, error) {
	args := []string{"logcat", "-d", "-v", "threadtime"}
	if since != "" {
		args = append(args, "-T", since)
	} else {
		args = append(args, "-t", strconv.Itoa(lines))
	}
	text, err := p.sh(ctx, args...)
	return []byte(text), err
}

// Clock is the device's time in the form that Logcat takes.
func (p *Phone) Clock(ctx context.Context) (string, error) {
	text, err := p.sh(ctx, "date", "+%Y-%m-%d %H:%M:%S.000")
	return strings.TrimSpace(text), err
}

// Free is the space left for apps, in bytes.
func (p *Phone) Free(ctx context.Context) (int64, error) {
	text, err := p.sh(ctx, "df", "-k", "/data")
	if err != nil {
		return 0, err
	}
	return ParseFree(text)
}

// Battery asks for the charge.
func (p *Phone) Battery(ctx context.Context) (Battery, error) {
	text, err := p.sh(ctx, "dumpsys", "battery")
	return ParseBattery(text), err
}

// Network reports whether the device has a default network.
func (p *Phone) Network(ctx context.Context) (bool, error) {
	text, err := p.sh(ctx, "dumpsys", "connectivity")
	return ParseNetwork(text), err
}

func badName(name string) error { return fmt.Errorf("adb: %q is no package name", brief(name)) }
