package device

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/qualgent/qgjob"
)

// chromiums are the names that systems give to Chromium and its close
// relatives, best first.
var chromiums = []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome"}

// FindChromium answers the browser to drive: the one that wish names (the
// value of QGJOB_CHROMIUM), else the system's, else "" for the one that the
// test framework brings itself. A wish that is not there is an error.
func FindChromium(wish string) (string, error) {
	if wish != "" {
		st, err := os.Stat(wish)
		if err != nil || st.IsDir() {
			return "", &qgjob.Error{Kind: qgjob.KindInvalid, Field: "QGJOB_CHROMIUM",
				Message: fmt.Sprintf("QGJOB_CHROMIUM names %s, which is no program", wish),
				Hint:    "set it to the path of a Chromium, or unset it"}
		}
		return filepath.Abs(wish)
	}
	for _, name := range chromiums {
		if path, err := exec.LookPath(name); err == nil && filepath.IsAbs(path) {
			return path, nil
		}
	}
	return "", nil
}
