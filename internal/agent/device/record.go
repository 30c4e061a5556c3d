package device

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/disk"
)

// record is what a device is believed to hold, with the proof that lets the
// belief be checked against the device.
type record struct {
	Installed qgjob.Installed `json:"installed"`
	FileName  string          `json:"file_name,omitempty"`
	Digest    string          `json:"digest,omitempty"` // over the content as it was put there
	Phone     *onPhone        `json:"phone,omitempty"`  // where the content is on a phone
	Staged    bool            `json:"-"`                // the content lies ready, and the device may hold anything; never on disk
}

const recordName = "installed.json"

// readRecord gives nil for no record and for one that cannot be read: then
// the device is asked to install again, which is always right.
func readRecord(dir string) *record {
	text, err := os.ReadFile(filepath.Join(dir, recordName))
	if err != nil {
		return nil
	}
	var r record
	if json.Unmarshal(text, &r) != nil || r.Installed.AppVersionID == "" {
		return nil
	}
	return &r
}

func (r record) write(dir string) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return disk.Replace(filepath.Join(dir, recordName), text)
}

// forget takes the record away before the content, so that a crash in between
// leaves content that nobody believes in, never a belief without content.
func forget(dir string, content ...string) error {
	err := disk.Remove(filepath.Join(dir, recordName))
	for _, name := range content {
		if rmErr := os.RemoveAll(filepath.Join(dir, name)); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
			err = errors.Join(err, rmErr)
		}
	}
	return err
}
